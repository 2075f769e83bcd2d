"""Which recorded episodes a training learns from, and which roles of them."""

from __future__ import annotations

from collections.abc import Sequence

from playpen.episode import Episode
from playpen.plugins import get_game
from playpen.store import Run
from playpen.training.config import ConfigError, TrainConfig
from playpen.training.contamination import HeldOut


def refuse_held_out(run: Run, held_out: HeldOut) -> None:
    """Refuse a recording of instances that are held out, however they are called there.

    Raises:
        ConfigError: some of them are.
    """
    wanted = {(episode.game, episode.instance) for episode in run.episodes()}
    played = [i for i in run.instances() if (i.game, i.hash) in wanted and i.split != "test"]
    held_out.refuse(
        played,
        {name: get_game(name) for name in run.config.assignments},
        str(run.path),
        tests=True,
        remedy="train on other episodes, or the test means nothing",
    )


def episodes_to_learn(
    runs: Sequence[Run], config: TrainConfig, *, any_outcome: bool = False
) -> list[tuple[Episode, tuple[str, ...]]]:
    """The episodes that pass ``[data]``, each with the roles to learn, ordered by identity.

    Args:
        runs: recordings.
        config: has the filters.
        any_outcome: take them however they ended and whatever they scored.

    Raises:
        ConfigError: nothing is left after filtering, or an episode is of a test split.
    """
    chosen: list[tuple[Episode, tuple[str, ...]]] = []
    seen = 0
    for run in runs:
        for episode in run.episodes():
            seen += 1
            if episode.split == "test":
                raise ConfigError(
                    f"{run.path}: {episode.name} is of the test split; "
                    "train on other episodes, or the test means nothing"
                )
            roles = _learned_roles(episode, config)
            if roles and _wanted(episode, config, any_outcome=any_outcome):
                chosen.append((episode, roles))
    if not chosen:
        raise ConfigError(
            f"none of the {seen} episodes passes the filters of [data] and [learner] roles"
        )
    # A run holds episodes as they ended, which is a matter of timing.
    chosen.sort(key=lambda pair: pair[0].key)
    return chosen


def _wanted(episode: Episode, config: TrainConfig, *, any_outcome: bool) -> bool:
    data, names = config.data, config.games.names
    if names and episode.game not in names:
        return False
    score = episode.main_score
    return any_outcome or (
        episode.ending in data.outcomes
        and (data.min_score is None or (score is not None and score >= data.min_score))
    )


def _learned_roles(episode: Episode, config: TrainConfig) -> tuple[str, ...]:
    wanted, players = config.learner.roles, config.data.players
    return tuple(
        role
        for role, player in episode.players.items()
        if (wanted is None or role in wanted) and (players is None or player in players)
    )
