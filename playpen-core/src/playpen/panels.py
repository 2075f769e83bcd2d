"""Panels: sets of games whose scores are averaged.  Whatever shows such a score takes it from here.

Dialogue games and static benchmarks are never averaged together.  Dialogue games may be divided
into those that a player was trained on (on instances it has not seen) and others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from playpen.plugins import registry
from playpen.provenance import InstanceSet, together
from playpen.scoring import RunScore, score_games
from playpen.store import RunError

DIALOGUE, STATIC = "dialogue games", "static benchmarks"
SEEN, UNSEEN, OTHER = "seen games", "unseen games", "other games"
OFFICIAL_NAMES = {DIALOGUE: "clemscore", STATIC: "statscore"}
"""The names of scores that promise published instances."""


class PanelScore(msgspec.Struct):
    """The score of some games together, as upstream defines and rounds it.

    Attributes:
        title: what the games are.
        games: their names.
        score: `None` if no episode has a main score.
        played: average % played over games.
        quality: average quality over games.
        over: the instances and the rules.
    """

    title: str
    games: list[str]
    score: float | None
    played: float | None
    quality: float | None
    over: InstanceSet

    @property
    def name(self) -> str:
        """``clemscore`` or ``statscore`` over published instances; else what the games are."""
        return OFFICIAL_NAMES.get(self.title, self.title) if self.over.official else self.title

    @property
    def basis(self) -> str:
        """A line that says what the score is over."""
        return f"{self.name}: over {self.over}"


def panel_scores(
    score: RunScore,
    sets: Mapping[str, InstanceSet],
    *,
    seen: Collection[str] | None = None,
    unseen: Collection[str] | None = None,
) -> list[PanelScore]:
    """The scores of all panels that have a game.

    Args:
        score: of the games.
        sets: per game that was planned, what its score is over.
        seen: games that the player was trained on; the complement of `unseen` if only that is
            given.  With neither, dialogue games are not divided.
        unseen: games that it was not trained on.
    """
    panels = []
    for title, names in panel_games(sorted(sets), seen, unseen).items():
        average = score_games(game for game in score.games if game.game in names)
        panels.append(
            PanelScore(
                title,
                names,
                average.clemscore,
                average.played,
                average.quality,
                together(sets[name] for name in names),
            )
        )
    return panels


def panel_games(
    games: Sequence[str],
    seen: Collection[str] | None = None,
    unseen: Collection[str] | None = None,
) -> dict[str, list[str]]:
    """The games of each panel, panels without a game left out."""
    static = [name for name in games if is_static(name)]
    dialogue = [name for name in games if name not in static]
    panels = {DIALOGUE: dialogue}
    if seen is not None or unseen is not None:
        if seen is None:
            seen = [name for name in dialogue if name not in (unseen or ())]
        if unseen is None:
            unseen = [name for name in dialogue if name not in seen]
        panels[SEEN] = [name for name in dialogue if name in seen]
        panels[UNSEEN] = [name for name in dialogue if name in unseen]
        panels[OTHER] = [name for name in dialogue if name not in seen and name not in unseen]
    panels[STATIC] = static
    return {title: names for title, names in panels.items() if names}


def is_static(game: str) -> bool:
    """Whether a game is a static benchmark: one of its suites is called ``static...``."""
    claims = registry().games.get(game, [])
    return any(suite.startswith("static") for spec, _ in claims for suite in spec.suites)


def check_panels(seen: Iterable[str], unseen: Iterable[str]) -> None:
    """Refuse lists of games that contradict each other, or name static benchmarks.

    Raises:
        RunError: a game is in both, or is a static benchmark.
    """
    both = sorted(set(seen) & set(unseen))
    if both:
        raise RunError(f"{', '.join(both)}: seen and unseen at once; name a game in one list only")
    static = sorted(name for name in {*seen, *unseen} if is_static(name))
    if static:
        raise RunError(
            f"{', '.join(static)}: static benchmarks have a panel of their own; take them out of "
            "the lists of seen and unseen games"
        )
