"""Where the episodes of a run belong in a results tree of clemcore.

The tree is ``<model>/<game>/<experiment>/<episode>``; clemcore's tables name their rows after
these folders.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence

import msgspec

from playpen.episode import Episode
from playpen.instance import Instance
from playpen.store import EpisodeName, Run, RunError

_LONGEST = 200
"""Bytes of a folder's name; file systems take 255, and a number may be added."""


def safe_name(wish: str) -> str:
    """A name for one file or folder: no separators, nothing hidden, nothing invisible.

    What clemcore itself puts into names (dots, colons, commas, spaces) stays as it is.
    """
    shown = "".join(c if c.isprintable() and c not in '/\\<>"|?*' else "_" for c in wish.strip())
    if shown.startswith("."):
        shown = f"_{shown[1:]}"
    return shown.encode()[:_LONGEST].decode(errors="ignore").rstrip(" .") or "_"


def model_folder(names: Sequence[str]) -> str:
    """The folder of one or more models, as clemcore 3.4 to 3.7 names it.

    See docs/rules/formats.md, "Names of model folders".
    """
    joined = "--".join(names)
    if len(names) > 2:
        digest = hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
        return f"group-{len(names)}p-{digest[:8]}"
    return safe_name(joined)


class FolderNames:
    """Gives different things different folders, though their names may be made safe alike."""

    def __init__(self) -> None:
        self._given: dict[Hashable, str] = {}
        self._taken: set[str] = set()

    def of(self, thing: Hashable, wish: str) -> str:
        """The folder of a thing: the name it wants, or that name with a number."""
        if thing not in self._given:
            base = name = safe_name(wish)
            number = 2
            while name in self._taken:
                name, number = f"{base}-{number}", number + 1
            self._taken.add(name)
            self._given[thing] = name
        return self._given[thing]


class Placed(msgspec.Struct, frozen=True):
    """An episode with its instance and the names of its folders."""

    episode: Episode
    instance: Instance
    model: str
    game: str
    experiment: str
    folder: str

    @property
    def path(self) -> str:
        """The folder of the episode, from the root of the tree."""
        return f"{self.model}/{self.game}/{self.experiment}/{self.folder}"


class Places:
    """Gives the episodes of a run their places, in the order in which they ended.

    Episodes are named ``instance_<game id>`` where that name is unique, as in a run of clemcore; a
    run that plays an instance more than once numbers all its episodes, as clemcore does in
    training.
    """

    def __init__(self, run: Run, model: str | None = None) -> None:
        """Look at what is in the run.

        Args:
            run: whose episodes.
            model: the model folder; by default it is named after the players of the run.

        Raises:
            RunError: the run is damaged.
        """
        self._run = run
        self._instances = {(instance.game, instance.hash): instance for instance in run.instances()}
        self._top = model_folder(list(run.config.players)) if model is None else safe_name(model)
        self._progress = run.progress()
        names = (entry for entry in run.names() if self._is_last(entry))
        self._once = _each_played_once(names)
        self._games = FolderNames()
        self._experiments: dict[str, FolderNames] = {}
        self._number = 0

    def place(self, episode: Episode) -> Placed | None:
        """The place of the run's next episode.

        Returns:
            `None` for an attempt at a unit of work that was tried again: only the last counts.

        Raises:
            RunError: the run has no such instance.
        """
        if not self._is_last(episode):
            return None
        self._number += 1
        instance = self._instances.get((episode.game, episode.instance))
        if instance is None:
            raise RunError(
                f"{self._run.path}: instances.jsonl lacks the instance of {episode.name}"
            )
        # Two experiments of a game may share a name and differ in their settings.
        settings = (episode.experiment, instance.experiment.hash)
        folders = self._experiments.setdefault(episode.game, FolderNames())
        return Placed(
            episode,
            instance,
            self._top,
            self._games.of(episode.game, episode.game),
            folders.of(settings, episode.experiment),
            f"instance_{episode.instance_id:05d}" if self._once else f"episode_{self._number:05d}",
        )

    def _is_last(self, attempt: Episode | EpisodeName) -> bool:
        key = attempt.key
        return attempt.failure is None or (
            key not in self._progress.done and self._progress.failed[key] == attempt.attempts
        )


def placed_episodes(run: Run, model: str | None = None) -> Iterator[Placed]:
    """The episodes of a run with their places: see `Places`.

    Raises:
        RunError: the run is damaged.
    """
    places = Places(run, model)
    for episode in run.episodes(failed=True):
        placed = places.place(episode)
        if placed is not None:
            yield placed


def _each_played_once(episodes: Iterable[EpisodeName]) -> bool:
    """Whether the game ids tell the episodes of every experiment apart."""
    seen = Counter((e.game, e.experiment, e.instance_id) for e in episodes)
    return all(count == 1 and isinstance(game_id, int) for (*_, game_id), count in seen.items())
