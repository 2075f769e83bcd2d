"""Making runs of what clemcore recorded: every episode is played again by our rules.

A model folder becomes a run, since clemcore's scores are per model folder.  Beside the usual files
a run that was imported has ``recorded.jsonl``: line by line to ``episodes.jsonl``, what clemcore
itself wrote (see `RecordedEpisode`).
"""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from playpen.episode import Episode, Failure
from playpen.files import write_folder_atomically
from playpen.game import Game
from playpen.instance import Instance
from playpen.interop.clemcore.played_instances import (
    InstancesFiles,
    PlayedInstances,
    UnknownInstance,
)
from playpen.interop.clemcore.reading import (
    EpisodeFolder,
    RecordedEpisode,
    RecordingError,
    draws_of,
    find_episodes,
    read_recorded,
    script_of,
    time_of,
)
from playpen.interop.clemcore.vocabulary import INSTANCE, INTERACTIONS
from playpen.interop.recordings import TOLERANCE
from playpen.moves import Ask
from playpen.plugins import PluginError, get_game
from playpen.referee import new_episode
from playpen.replay import Divergence, replay_script
from playpen.runner import versions
from playpen.scoring import episode_scores
from playpen.store import MAX_ATTEMPTS, EpisodeWriter, Run, RunConfig, RunError

RECORDED = "recorded.jsonl"
_FLAGS = ("Aborted", "Success", "Lose")


class ImportedRun(msgspec.Struct):
    """One run that was made.

    Attributes:
        model: name of the model folder.
        episodes: how many episodes the run has, failed ones included.
        failed: name of an episode to the reason why it has no outcome.
        differing: name of an episode to the scores that differ from the recorded ones.
        unscored: how many episodes came without recorded scores to compare with.
    """

    path: Path
    model: str
    episodes: int = 0
    failed: dict[str, str] = {}
    differing: dict[str, list[Divergence]] = {}
    unscored: int = 0


class LeftOut(NamedTuple):
    """A game that cannot be played here: how many of its episodes were left out, and why."""

    game: str
    episodes: int
    reason: str


class Imported(msgspec.Struct, frozen=True):
    """What an import made, and what it could not.

    Attributes:
        runs: one for each model folder.
        left_out: games that cannot be played here.
        lost: folders of episodes that crashed before it was recorded what was played.
    """

    runs: list[ImportedRun]
    left_out: list[LeftOut]
    lost: list[str]


class _Item(NamedTuple):
    """An episode to be imported."""

    place: EpisodeFolder
    game: Game
    instance: Instance


def import_results(
    root: Path,
    output: Path,
    *,
    instances: Sequence[Path] = (),
    command: Sequence[str] = (),
) -> Imported:
    """Make runs of a results tree of clemcore, or of a part of one.

    Args:
        root: the tree, or a folder of it.
        output: the run directory; if there are several model folders, the directory of their
            runs, which keep the folders' places.
        instances: instances files for experiments whose settings were not recorded.
        command: the command line, for the record.

    Raises:
        RecordingError: there are no episodes, or it is not known what replies answered.
        PluginError: none of the games is installed.
        RunError: a run directory exists already, or cannot be written.
    """
    places = find_episodes(root)
    if not places:
        raise RecordingError(
            f"{root}: no recorded episodes; expected folders MODEL/GAME/EXPERIMENT/EPISODE with "
            f"{INSTANCE} and {INTERACTIONS}"
        )
    games, left_out = installed((place.game for place in places), root)
    base = root.resolve()
    played_instances = PlayedInstances(root, InstancesFiles(instances))
    models: dict[Path, list[_Item]] = {}
    lost = []
    for place in places:
        if place.game not in games:
            continue
        try:
            played = played_instances.find(place)
        except UnknownInstance:
            if (place.path / INTERACTIONS).is_file():
                raise
            lost.append(os.path.relpath(place.path, base))
            continue
        instance = Instance(place.game, played.experiment, played.instance)
        item = _Item(place, games[place.game], instance)
        models.setdefault(place.model, []).append(item)
    # Whether games are installed must not decide where runs are.
    only = len({place.model for place in places}) == 1
    targets = {folder: output if only else output / folder.relative_to(base) for folder in models}
    for target in targets.values():
        refuse_occupied(target)
    runs = [
        _import_model(folder.name, models[folder], root, target, command)
        for folder, target in targets.items()
    ]
    return Imported(runs, left_out, lost)


def installed(names: Iterable[str], source: Path) -> tuple[dict[str, Game], list[LeftOut]]:
    """The games that can be played, and the others.

    Args:
        names: the game of each episode.
        source: of the episodes, for the message.

    Raises:
        PluginError: none of the games is installed.
    """
    games, left_out = {}, []
    for name, count in Counter(names).items():
        try:
            games[name] = get_game(name)
        except PluginError as error:
            left_out.append(LeftOut(name, count, str(error)))
    if not games:
        reasons = " ".join(game.reason for game in left_out)
        raise PluginError(f"{source}: none of its games can be played here: {reasons}")
    return games, left_out


def refuse_occupied(target: Path) -> None:
    """Refuse to make a run in a directory that holds something.

    Raises:
        RunError: it does.
    """
    if target.is_dir() and any(target.iterdir()):
        raise RunError(f"{target} exists and is not empty; choose another directory with -o")


def _import_model(
    model: str, items: Sequence[_Item], root: Path, target: Path, command: Sequence[str]
) -> ImportedRun:
    result = ImportedRun(target, model)
    cast = _cast(model, items, root)
    with new_run_folder(target) as folder:
        run = Run.create(
            folder,
            _config(items, cast, root, target, command),
            (item.instance for item in items),
        )
        played: Counter[tuple[object, ...]] = Counter()
        with EpisodeWriter(run) as writer, (folder / RECORDED).open("wb") as notes:
            for item in items:
                recorded = read_recorded(item.place, root)
                players = {**cast.players[item.game.name], **recorded.models(item.game)}
                episode = new_episode(item.game, item.instance, players)
                first = episode.key
                episode.repeat = played[first]
                played[first] += 1
                _import_episode(item, episode, recorded, result)
                writer.append(episode)
                notes.write(msgspec.json.encode(recorded) + b"\n")
    return result


def _import_episode(
    item: _Item, episode: Episode, recorded: RecordedEpisode, result: ImportedRun
) -> None:
    """Play an episode as it was recorded, and note how that went."""
    result.episodes += 1
    scores: dict[str, Any] = {}
    try:
        fault = _replay(item, episode, recorded)
        if fault is None:
            scores = episode_scores(item.game, episode)
    except Exception as error:  # a recording that breaks the game must not hide the others
        fault = Failure("game", f"the game {item.game.name} raised {type(error).__name__}: {error}")
    if fault is not None:
        episode.outcome, episode.failure = None, fault
        # The same replies would fail again, so nobody is to try.
        episode.attempts = MAX_ATTEMPTS
        result.failed[_name(episode, recorded)] = fault.message
    elif recorded.episode_scores is None:
        result.unscored += 1
    elif differences := _differences(item.game, recorded.episode_scores, scores):
        result.differing[_name(episode, recorded)] = differences


def _replay(item: _Item, episode: Episode, recorded: RecordedEpisode) -> Failure | None:
    """Play the recorded replies; what is wrong if they do not make the episode."""
    if recorded.interactions is None:
        return Failure("recording", _crash(recorded))
    try:
        events = recorded.events()
        script = script_of(item.game, events)
    except RecordingError as error:
        return Failure("recording", str(error))
    times = [time for event in events if (time := time_of(event)) is not None]
    if times:
        episode.started, episode.seconds = times[0], max(times[-1] - times[0], 0.0)
    again = replay_script(
        item.game, item.instance, script, draws=draws_of(item.game, events), episode=episode
    )
    if again.divergences:
        first = again.divergences[0]
        return Failure(
            "recording", f"the replies are not in the order in which the rules ask: {first}"
        )
    if not again.complete:
        (*_, asked) = (event.role for event in episode.events if isinstance(event, Ask))
        return Failure(
            "recording",
            f"the recording ends after {len(script)} replies, and the rules ask for one more",
            asked,
        )
    if again.unused:
        return Failure(
            "recording",
            f"by the rules the game is over after {len(script) - again.unused} of the "
            f"{len(script)} recorded replies",
        )
    return None


def _crash(recorded: RecordedEpisode) -> str:
    if INTERACTIONS in recorded.damaged:
        return recorded.damaged[INTERACTIONS]
    if recorded.error is not None:
        kind, message = recorded.error.get("error"), recorded.error.get("message")
        return f"it crashed while clemcore recorded it: {kind}: {message}"
    return f"it has no {INTERACTIONS}: it crashed, or was interrupted, while it was recorded"


def _differences(
    game: Game, recorded: Mapping[str, Any], replayed: Mapping[str, Any]
) -> list[Divergence]:
    """Recorded scores that come out differently.  A flag without a value is not compared."""
    differences = []
    for name, old in recorded.items():
        if name in game.unstable_scores or (name in _FLAGS and old is None):
            continue
        new = replayed.get(name, "nothing")
        numbers = isinstance(old, int | float) and isinstance(new, int | float)
        if abs(old - new) > TOLERANCE if numbers else old != new:
            differences.append(Divergence(name, "score", old, new))
    return differences


def _name(episode: Episode, recorded: RecordedEpisode) -> str:
    return f"{episode.name} ({recorded.folder})"


# --- the run -------------------------------------------------------------------------------------


class _Cast(NamedTuple):
    """Per game the players of its roles, and per player what is known about it."""

    players: dict[str, dict[str, str]]
    descriptions: dict[str, dict[str, Any]]


def _cast(model: str, items: Sequence[_Item], root: Path) -> _Cast:
    """Who played, from the first episode of each game that tells; else the model folder did."""
    cast = _Cast({}, {})
    told = set()
    for item in items:
        game = item.game
        if game.name in told:
            continue
        recorded = read_recorded(item.place, root)
        known = recorded.models(game)
        if known:
            told.add(game.name)
        cast.players[game.name] = {role: known.get(role, model) for role in game.role_names()}
        for label in cast.players[game.name].values():
            cast.descriptions.setdefault(label, _description(label, recorded))
    return cast


def _description(label: str, recorded: RecordedEpisode) -> dict[str, Any]:
    """What a recording says about a model, in the words of our players."""
    described: dict[str, Any] = {"model": label}
    meta = recorded.meta
    if writer := meta.get("written_by"):  # an export of ours
        described["recorded_with"] = writer
    elif version := meta.get("clem_version"):
        described["recorded_with"] = f"clemcore {version}"
    models = (recorded.interactions or {}).get("player_models")
    for entry in models.values() if isinstance(models, dict) else ():
        specification = entry.get("model_spec", entry) if isinstance(entry, dict) else {}
        if isinstance(specification, dict) and specification.get("model_name") == label:
            described["specification"] = specification
            settings = entry.get("gen_args")
            names = {"temperature": "temperature", "max_tokens": "max_new_tokens"}
            for upstream, ours in names.items():
                if isinstance(settings, dict) and upstream in settings:
                    described[ours] = settings[upstream]
    return described


def _config(
    items: Sequence[_Item], cast: _Cast, root: Path, target: Path, command: Sequence[str]
) -> RunConfig:
    games = {item.game.name: item.game for item in items}
    episodes = dict.fromkeys(games, 0)
    for item in items:
        episodes[item.game.name] += 1
    labels = dict.fromkeys(name for players in cast.players.values() for name in players.values())
    return RunConfig(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=list(command),
        players=dict.fromkeys(labels, f"replay:{target}"),
        assignments=cast.players,
        episodes=episodes,
        source=str(root),
        descriptions={label: cast.descriptions[label] for label in labels},
        prompts=dict.fromkeys(games, "imported"),
        rules={name: game.rules for name, game in games.items()},
        versions=versions(list(games)),
    )


@contextmanager
def new_run_folder(target: Path) -> Iterator[Path]:
    """A folder that gets the name `target` once everything is written; else it is removed.

    Raises:
        RunError: the target cannot be written.
    """
    try:
        with write_folder_atomically(target) as folder:
            yield folder
    except OSError as error:
        raise RunError(f"{target} cannot be written: {error.strerror}") from None
