"""An episode is a function of instance and replies: not of chance, time, process or others."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence

import pytest

from playpen.conversation import Conversation, Reply
from playpen.episode import Episode
from playpen.instance import SPLITS
from playpen.instance_sets import READY_SEED
from playpen.player import Player
from playpen.rollout import play
from playpen.testing.driver import PlayedEpisode, first_difference, global_chance, lines_of
from playpen.testing.findings import fault, place
from playpen.testing.game_under_test import GameUnderTest
from playpen.testing.other_process import (
    Generate,
    SelfPlay,
    Work,
    observe,
    observe_elsewhere,
    recite,
    self_play,
)


class ConstancyChecks:
    """The same seeds and replies give the same episodes."""

    def test_instances_are_left_alone(self, subject: GameUnderTest) -> None:
        """Playing does not change the instance."""
        instance = subject.altered
        if instance is not None:
            fault(
                place(subject.game, instance),
                "play() changed the content of the instance",
                "copy what you change: words = list(instance['words']).",
            )

    def test_playing_again_gives_the_same(self, subject: GameUnderTest) -> None:
        """The same replies give the same episode; no global chance is used."""
        subject.need_unaltered()
        if subject.unsteady is not None:
            played, wrong = subject.unsteady
            fault(
                place(subject.game, played.instance),
                wrong,
                "let play() depend on the instance and the replies alone: for chance yield "
                "Draw(options) instead of calling random, ask no clock, and keep nothing on self.",
            )

    def test_another_process_gives_the_same(self, subject: GameUnderTest) -> None:
        """Neither hash seed, clock, time zone nor folder make a difference to game or oracles."""
        game = subject.game
        work: list[Work] = [
            Generate(split, source, READY_SEED) for source in subject.sources() for split in SPLITS
        ]
        for played in subject.samples_of_plays():
            work.append(recite(played.instance, played.episode.replies()))
            if subject.has_all_oracles:
                work.append(self_play(played.instance))
        # What differs within this process is reported by other checks.
        with global_chance(1):
            here = [observe(game, piece) for piece in work]
        with global_chance(2):
            steady = [
                observe(game, piece) == lines for piece, lines in zip(work, here, strict=True)
            ]
        for number in range(subject.effort.processes):
            answer = observe_elsewhere(game, work, _hash_seed(number))
            if answer.impossible is not None:
                pytest.skip(f"the game cannot be made in another process: {answer.impossible}")
            if answer.failed is not None:
                fault(
                    game.name,
                    f"another process did not get through it: {answer.failed}",
                    "let the game's module be imported and played anywhere, in any folder.",
                )
            for piece, mine, theirs, known in zip(work, here, answer.lines, steady, strict=True):
                difference = first_difference(mine, theirs)
                if difference is not None and known:
                    fault(
                        _what(subject, piece),
                        f"another process got something else: {difference}",
                        "look for a set of texts that is gone through in its own order (sort it), "
                        "for the clock, and for files looked up in the current folder.",
                    )

    def test_concurrent_episodes_do_not_mix(self, subject: GameUnderTest) -> None:
        """Players that answer late get the same episodes, whatever else is being played."""
        subject.need_steady()
        plays = [played for played in subject.oracle_plays if played.finished][:25]
        instances = [played.instance for played in plays]
        alone, together = (
            play(
                subject.game,
                _LatePlayer(plays),
                instances,
                episodes=2 * len(instances),
                concurrency=concurrency,
            )
            for concurrency in (1, 50)
        )
        for number, (one, other) in enumerate(zip(alone, together, strict=True)):
            difference = first_difference(_everything(one), _everything(other))
            if difference is not None:
                fault(
                    place(subject.game, instances[number % len(instances)]),
                    f"played beside other episodes it is another one: {difference}",
                    "keep what belongs to an episode in local variables of play(), not on self, "
                    "on the class or in the module; one game object plays all episodes.",
                )


class _LatePlayer(Player):
    """Says what was said in other plays, after a number of turns of the event loop."""

    def __init__(self, plays: Sequence[PlayedEpisode]) -> None:
        self._said = {
            (played.episode.instance, role): [said.reply for said in played.episode.replies(role)]
            for played in plays
            for role in {said.role for said in played.episode.replies()}
        }

    async def reply(self, conversation: Conversation) -> Reply:
        for _ in range(random.Random(conversation.seed).randrange(6)):
            await asyncio.sleep(0)
        said = self._said.get((conversation.instance, conversation.role), [])
        return said[conversation.turn] if conversation.turn < len(said) else Reply("")


def _everything(episode: Episode) -> Sequence[str]:
    return [*lines_of(episode), str(episode.failure)]


def _hash_seed(number: int) -> int:
    """A seed that this process was not started with."""
    mine = os.environ.get("PYTHONHASHSEED")
    return number + 1 if mine != str(number + 1) else number + 1001


def _what(subject: GameUnderTest, work: Work) -> str:
    if isinstance(work, Generate):
        level = "" if work.level is None else f", level={work.level!r}"
        return f"{subject.game.name}, generate({work.split!r}, seed={work.seed}{level})"
    who = "the oracles on " if isinstance(work, SelfPlay) else ""
    number = work.data.get("game_id", "")
    return f"{subject.game.name}, {who}level {work.experiment!r}, instance {number}"
