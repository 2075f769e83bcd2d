"""Whether a run was recorded by the rules and packs that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from playpen.plugins import PluginError, get_game, registry
from playpen.store import Run, RunConfig, RunError


class OtherRules(NamedTuple):
    """A game whose rules are others now than when a run was recorded."""

    game: str
    recorded: str
    installed: str


def other_rules(config: RunConfig) -> Iterator[OtherRules]:
    """The games of a run that have other rules now; games that are not installed are left out."""
    for name, recorded in sorted(config.rules.items()):
        try:
            installed = get_game(name).rules
        except PluginError:
            continue
        if recorded and recorded != installed:
            yield OtherRules(name, recorded, installed)


def version_notes(run: Run) -> list[str]:
    """A line for each game with other rules, and for each pack with another version."""
    config = run.config
    notes = [
        f"{game} was played by rules {recorded} and is scored by rules {installed} ({run.path})"
        for game, recorded, installed in other_rules(config)
    ]
    games = {registry().distribution_of(name) for name in config.assignments}
    installed = {pack.distribution: pack.version for pack in registry().packs}
    for pack in sorted(games & config.versions.keys() & installed.keys()):
        if config.versions[pack] != installed[pack]:
            notes.append(
                f"recorded with {pack} {config.versions[pack]}, and {installed[pack]} is "
                f"installed ({run.path})"
            )
    return notes


def refuse_other_rules(run: Run) -> None:
    """Refuse to play on by other rules: one score would be over both.

    Raises:
        RunError: a game of the run has other rules now.
    """
    changed = list(other_rules(run.config))
    if not changed:
        return
    told = ", ".join(
        f"{game} was played by rules {recorded} and has rules {installed} now"
        for game, recorded, installed in changed
    )
    packs = sorted({registry().distribution_of(rules.game) for rules in changed})
    wanted = " and ".join(f"{pack} {run.config.versions.get(pack, '')}".strip() for pack in packs)
    raise RunError(
        f"{run.path}: {told}; install what recorded it ({wanted}) to go on, or play anew into "
        "another directory with -o"
    )
