"""What the checks of one game have in common: its instances, its oracles, and plays of both."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from playpen.conversation import Conversation
from playpen.game import Game, Program
from playpen.hookspecs import GameSpec
from playpen.instance import SPLITS, Experiment, Instance, content_hash
from playpen.instance_sets import READY_SEED, Checker, parse_instances
from playpen.plugins import registry
from playpen.referee import new_episode
from playpen.testing.driver import (
    OracleError,
    PlayedEpisode,
    Stuck,
    drive,
    first_difference,
    global_chance,
    lines_of,
    reciter,
    time_limit,
)
from playpen.testing.findings import fault, quoted, reason, spot
from playpen.testing.replies import (
    Action,
    Plan,
    PlayWell,
    perform,
    plans,
    strange_actions,
)


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is tried.

    Attributes:
        per_split: instances of each level and split on which oracles play.
        examples: strange plays that hypothesis tries in each check that uses it.
        seeds: seeds of the generator, besides that of the ready splits.
        most: the largest number of instances of a level that is asked for.
        processes: fresh processes whose results are compared.
        huge: characters of a huge reply.
        anew: hypothesis tries other plays in every run.
    """

    per_split: int = 2
    examples: int = 60
    seeds: tuple[int, ...] = (1,)
    most: int = 120
    processes: int = 1
    huge: int = 10_000_000
    anew: bool = False


QUICK = Effort()
THOROUGH = Effort(per_split=10, examples=1000, seeds=(1, 2, 3, 4), most=500, processes=4, anew=True)


Speech: TypeAlias = Callable[[Conversation, list[OracleError]], str]
"""Whoever answers; what went wrong with an oracle on the way goes into the list."""


class GameUnderTest:
    """A game, and everything that more than one check needs of it, made once."""

    def __init__(self, game: Game, effort: Effort, seconds: float) -> None:
        self.game = game
        self.effort = effort
        self.seconds = seconds
        self.stuck = False
        self.slow_oracles: set[str] = set()
        self._documents: dict[tuple[str, str | None, int], dict[str, Any] | Exception] = {}
        self._untouched: dict[Instance, tuple[str, str]] = {}

    # -- instances ----------------------------------------------------------------------------

    @cached_property
    def spec(self) -> GameSpec | None:
        """What an installed plug-in says about the game."""
        claims = registry().games.get(self.game.name)
        return claims[0][0] if claims else None

    def document(
        self, split: str, level: str | None = None, seed: int = READY_SEED
    ) -> dict[str, Any]:
        """What the generator makes, made once.

        Raises:
            Exception: whatever the generator raised.
        """
        key = (split, level, seed)
        if key not in self._documents:
            try:
                self._documents[key] = self.game.generate(split, seed=seed, level=level)
            except Exception as error:
                self._documents[key] = error
        made = self._documents[key]
        if isinstance(made, Exception):
            raise made
        return made

    def sources(self) -> list[str | None]:
        """What to ask the generator for to see every level: the regular ones, then the others."""
        regular = {i.experiment.name for split in SPLITS for i in self.instances(split, None)}
        return [None, *(level for level in self.game.levels() if level not in regular)]

    def instances(self, split: str, level: str | None, seed: int = READY_SEED) -> list[Instance]:
        """Parsed instances; none if the generator or the schema does not give them."""
        try:
            return parse_instances(self.document(split, level, seed), self.game, split=split)
        except Exception:  # the checks of the generator say what is wrong
            return []

    @cached_property
    def checker(self) -> Checker:
        """Validates instances against the game's schema."""
        return Checker(self.game)

    @cached_property
    def levels(self) -> dict[str, list[Instance]]:
        """Per level, some instances of each split."""
        levels: dict[str, list[Instance]] = {}
        for split in SPLITS:
            for source in self.sources():
                by_level: dict[str, list[Instance]] = {}
                for instance in self.instances(split, source):
                    by_level.setdefault(instance.experiment.name, []).append(instance)
                for level, instances in by_level.items():
                    number = min(self.effort.per_split, len(instances))
                    chosen = _copies(random.Random(f"{split} {level}").sample(instances, number))
                    levels.setdefault(level, []).extend(chosen)
                    self._untouched.update((instance, _content(instance)) for instance in chosen)
        return levels

    def sample(self) -> list[Instance]:
        """Instances of every level and split; the running check is skipped if there are none."""
        sample = [instance for instances in self.levels.values() for instance in instances]
        if not sample:
            pytest.skip("there are no instances to play on; other checks say why")
        return sample

    # -- players ------------------------------------------------------------------------------

    @cached_property
    def oracles(self) -> Mapping[str, Program]:
        """The oracles of the roles that have one."""
        oracles: dict[str, Program] = {}
        for role in self.game.role_names():
            with suppress(Exception):  # test_every_role_has_an_oracle reports it
                oracles[role] = self.game.oracle(role)
        return oracles

    @property
    def has_all_oracles(self) -> bool:
        """Whether every role has an oracle."""
        return self.oracles.keys() == set(self.game.role_names())

    def consult(self, conversation: Conversation, errors: list[OracleError]) -> str:
        """What the oracle of the role says; nothing if there is none or if it fails."""
        role = conversation.role
        program = self.oracles.get(role)
        if program is None or role in self.slow_oracles:
            return ""
        try:
            with time_limit(self.seconds):
                text = program(conversation)
        except Stuck as stuck:
            self.slow_oracles.add(role)
            cause = f"it {stuck}{spot(stuck)}"
        except Exception as error:
            cause = f"it raised {reason(error)}"
        else:
            if isinstance(text, str):
                return text
            cause = f"it returned {text!r}, which is no text"
        errors.append(OracleError(role, quoted(conversation.last, 300), cause))
        return ""

    def planned(self, plan: Plan) -> Speech:
        """Whoever is asked follows a plan."""
        turn = 0

        def speak(conversation: Conversation, errors: list[OracleError]) -> str:
            nonlocal turn
            action = plan[turn % len(plan)]
            turn += 1
            return perform(action, conversation, lambda: self.consult(conversation, errors))

        return speak

    def strange(self, action: Action, culprit: str | None) -> Speech:
        """One role, or everybody, does the same thing all the time; the others play well."""

        def speak(conversation: Conversation, errors: list[OracleError]) -> str:
            mine = action if culprit in (None, conversation.role) else PlayWell()
            return perform(mine, conversation, lambda: self.consult(conversation, errors))

        return speak

    def play(self, instance: Instance, speech: Speech) -> PlayedEpisode:
        """Play one episode; the running check is skipped if an earlier one never came to an end."""
        if self.stuck:
            pytest.skip("play() does not come to an end; another check says where")
        errors: list[OracleError] = []
        played = drive(
            self.game,
            instance,
            lambda conversation: speech(conversation, errors),
            seconds=self.seconds,
        )
        played.oracle_errors = errors
        self.stuck = played.stuck is not None
        return played

    # -- plays --------------------------------------------------------------------------------

    @cached_property
    def oracle_plays(self) -> list[PlayedEpisode]:
        """The oracles among themselves, on the whole sample."""
        return self._all_plays((instance, self.consult) for instance in self.sample())

    @cached_property
    def strange_plays(self) -> list[PlayedEpisode]:
        """Every strange action, by everybody and by each role alone; the levels take turns."""
        self.sample()
        instances = itertools.cycle([instances[0] for instances in self.levels.values()])
        roles = self.game.role_names()
        culprits = [None, *roles] if len(roles) > 1 else [None]
        return self._all_plays(
            (next(instances), self.strange(action, culprit))
            for culprit in culprits
            for action in strange_actions()
        )

    def _all_plays(self, games: Iterable[tuple[Instance, Speech]]) -> list[PlayedEpisode]:
        """One play after the other, up to the first that does not come to an end."""
        plays: list[PlayedEpisode] = []
        for instance, speech in games:
            if self.stuck:
                break
            plays.append(self.play(instance, speech))
        return plays

    def finished(self) -> list[PlayedEpisode]:
        """All plays that came to an outcome; the running check is skipped if none did."""
        plays = [p for p in [*self.oracle_plays, *self.strange_plays] if p.finished]
        if not plays:
            pytest.skip("no episode came to an outcome; other checks say why")
        return plays

    def samples_of_plays(self, number: int = 12) -> list[PlayedEpisode]:
        """Some finished plays, half of them the oracles', for checks that take long."""
        self.finished()
        rng = random.Random(0)
        chosen: list[PlayedEpisode] = []
        for plays in (self.oracle_plays, self.strange_plays):
            ended = [played for played in plays if played.finished]
            chosen += rng.sample(ended, min(number // 2, len(ended)))
        return chosen

    # -- what other checks build on -----------------------------------------------------------

    @cached_property
    def altered(self) -> Instance | None:
        """An instance whose content is another one since it was played on."""
        self.finished()
        changed = (i for i in self.sample() if _content(i) != self._untouched[i])
        return next(changed, None)

    @cached_property
    def unsteady(self) -> tuple[PlayedEpisode, str] | None:
        """A play that is another one when its replies are given again, and how it differs."""
        for played in self.finished():
            with global_chance(1) as used:
                first = self._again(played)
                touched = used()
            with global_chance(2):
                second = self._again(played)
            recorded = lines_of(played.episode)
            difference = first_difference(first, second) or first_difference(recorded, first)
            if difference is not None:
                return played, f"the same replies gave another episode: {difference}"
            if touched:
                return played, "play() used the global generator of random numbers"
        return None

    def _again(self, played: PlayedEpisode) -> list[str]:
        speaker = reciter(played.episode.replies())
        blank = new_episode(self.game, played.instance, {})
        again = drive(self.game, played.instance, speaker, episode=blank, seconds=self.seconds)
        return lines_of(again.episode)

    def need_unaltered(self) -> None:
        """Skip the running check if the game changes what it is played on."""
        if self.altered:
            pytest.skip("play() changes its instance; another check says where")

    def need_steady(self) -> None:
        """Skip the running check if the game is not a function of instance and replies."""
        self.need_unaltered()
        if self.unsteady:
            pytest.skip("play() depends on more than the replies; another check says where")

    def search(self, check: Callable[[PlayedEpisode], None]) -> None:
        """Look for a play that fails a check: all that were played, then with hypothesis.

        Args:
            check: fails for a play that is not as it should be.
        """
        for played in [*self.oracle_plays, *self.strange_plays]:
            check(played)
        sample = self.sample()

        @settings(
            max_examples=self.effort.examples,
            derandomize=not self.effort.anew,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
        )
        @given(st.sampled_from(sample), plans())
        def go_on(instance: Instance, plan: Plan) -> None:
            played = self.play(instance, self.planned(plan))
            if played.stuck is not None:
                raise _TooSlow(played)
            check(played)

        try:
            go_on()
        except _TooSlow as slow:
            check(slow.played)
        except pytest.fail.Exception as failure:
            pytest.fail(str(failure.msg), pytrace=False)
        except Flaky:
            fault(
                self.game.name,
                "a play failed once and did not when it was repeated with the same replies",
                "make play() a function of the instance and the replies alone.",
            )


def _copies(instances: list[Instance]) -> list[Instance]:
    """Instances of one level that share nothing with what the generator made."""
    experiment = instances[0].experiment
    own = Experiment(experiment.name, copy.deepcopy(experiment.config))
    return [
        Instance(instance.game, own, copy.deepcopy(dict(instance.data)), instance.split)
        for instance in instances
    ]


def _content(instance: Instance) -> tuple[str, str]:
    """The content as it is now; `Instance.hash` keeps what it was."""
    return content_hash(instance.data), content_hash(instance.experiment.config)


class _TooSlow(BaseException):
    """Not caught by hypothesis: to make a play smaller that must be interrupted takes too long."""

    def __init__(self, played: PlayedEpisode) -> None:
        super().__init__()
        self.played = played


_latest: list[GameUnderTest] = []


def material_of(game: Game, effort: Effort, seconds: float) -> GameUnderTest:
    """The subject of the game that is being checked; that of the game before is let go."""
    for subject in _latest:
        if subject.game is game and (subject.effort, subject.seconds) == (
            effort,
            seconds,
        ):
            return subject
    _latest[:] = [GameUnderTest(game, effort, seconds)]
    return _latest[0]
