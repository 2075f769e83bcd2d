"""Which recorded episodes a training learns from, and which roles of them."""

from __future__ import annotations

from collections import Counter
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
    runs: Sequence[Run], config: TrainConfig, *, any_outcome: bool = False, any_split: bool = False
) -> list[tuple[Episode, tuple[str, ...]]]:
    """The episodes that pass ``[data]``, each with the roles to learn, ordered by identity.

    Args:
        runs: recordings.
        config: has the filters.
        any_outcome: take them however they ended and whatever they scored.
        any_split: take them whatever their split (but the test split): for what was played for
            this training.

    Raises:
        ConfigError: nothing is left after filtering, or an episode is of a test split.
    """
    chosen: list[tuple[Episode, tuple[str, ...]]] = []
    splits: Counter[str] = Counter()
    for run in runs:
        for episode in run.episodes():
            split = episode.split or "unknown"
            splits[split] += 1
            if split == "test":
                raise ConfigError(
                    f"{run.path}: {episode.name} is of the test split; "
                    "train on other episodes, or the test means nothing"
                )
            if not (any_split or split in config.data.splits):
                continue
            roles = _learned_roles(episode, config)
            if roles and _wanted(episode, config, any_outcome=any_outcome):
                chosen.append((episode, roles))
    if not chosen:
        raise ConfigError(_nothing_left(splits, config, any_split=any_split))
    # A run holds episodes as they ended, which is a matter of timing.
    chosen.sort(key=lambda pair: pair[0].key)
    return chosen


def _nothing_left(splits: Counter[str], config: TrainConfig, *, any_split: bool) -> str:
    wanted = config.data.splits
    total = splits.total()
    if any_split or not total or any(splits[split] for split in wanted):
        left = sum(count for split, count in splits.items() if any_split or split in wanted)
        told = f" ({left} are of data.splits)" if left < total else ""
        filters = f"the filters of [data] and [learner] roles{told}"
        return f"none of the {total} episodes passes {filters}"
    counts = ", ".join(f"{count} of {split}" for split, count in sorted(splits.items()))
    return (
        f"data.splits = {list(wanted)}: none of the {total} recorded episodes is of these splits "
        f"({counts}).  Record with `playpen play --split train`, or name the splits that the "
        "learner may see; what is named cannot measure it any more"
    )


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
