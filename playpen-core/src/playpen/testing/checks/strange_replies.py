"""Whatever is said: an outcome, metrics, and an end in time."""

from __future__ import annotations

import itertools

import msgspec

from playpen.conversation import Conversation
from playpen.episode import Episode
from playpen.game import Metrics
from playpen.instance import Instance
from playpen.moves import Abort, Lose
from playpen.referee import GameError
from playpen.testing.driver import PlayedEpisode, Speaker, Stuck, drive, reciter, time_limit
from playpen.testing.findings import fault, not_json, place, reason, spot
from playpen.testing.game_under_test import GameUnderTest
from playpen.testing.replies import HUGE, LONG, Say

CAPS = (
    "cap the length of what you work on (reply[:10_000]) before edit distances, conversions, "
    "nested loops and regular expressions, and use no pattern that can match the same text in "
    "many ways, such as (a+)+."
)


class ReplyChecks:
    """Models say anything; the game must take it."""

    def test_any_reply_ends_in_an_outcome(self, subject: GameUnderTest) -> None:
        """Hostile replies, and altered good ones, end in an outcome of the game's own making."""

        def check(played: PlayedEpisode) -> None:
            where = place(subject.game, played.instance)
            if played.stuck is not None:
                fault(where, str(played.trouble()), f"end every loop; {CAPS}")
            if isinstance(played.raised, GameError):
                fault(
                    where,
                    str(played.trouble()),
                    "keep to what Playpen asks of every move and outcome, whatever was said.",
                )
            if trouble := played.trouble():
                fault(
                    where,
                    trouble,
                    "raise playpen.Violation for a reply that breaks a rule, and return an "
                    "outcome for everything else.",
                )
            if played.cut_off:
                fault(
                    where,
                    f"it asked {len(played.asked)} times and had to be cut off {played.after()}",
                    "count rounds and re-prompts, and end the episode by the rules; if it is a "
                    "long game, raise max_replies.",
                )

        subject.search(check)

    def test_outcomes_name_roles_of_the_game(self, subject: GameUnderTest) -> None:
        """Who is at fault is a role, or nobody."""
        roles = subject.game.role_names()

        def check(played: PlayedEpisode) -> None:
            outcome = played.episode.outcome
            if isinstance(outcome, Abort | Lose) and outcome.fault not in (None, *roles):
                fault(
                    place(subject.game, played.instance),
                    f"the outcome {type(outcome).__name__} names {outcome.fault!r}; "
                    f"the roles are {', '.join(roles)}",
                    "name a role, or nobody (fault=None).",
                )

        subject.search(check)

    def test_metrics_work_for_every_episode(self, subject: GameUnderTest) -> None:
        """`metrics` takes every episode, gives JSON values, and the same from the record alone."""

        def check(played: PlayedEpisode) -> None:
            if played.finished:
                _check_metrics(subject, played)

        subject.search(check)
        _check_memory(subject)

    def test_huge_replies_take_bounded_work(self, subject: GameUnderTest) -> None:
        """Ten million characters, of any kind and by any role, are dealt with in time."""
        instance = subject.sample()[0]
        for role in subject.game.role_names():
            for kind in HUGE:
                _check_work(subject, instance, role, kind)


def _check_metrics(subject: GameUnderTest, played: PlayedEpisode) -> None:
    game, episode = subject.game, played.episode
    where = f"{place(game, played.instance)}, metrics()"
    end = f"for an episode that ended with {type(episode.outcome).__name__} {played.after()}"
    before = msgspec.json.encode(episode)
    try:
        with time_limit(subject.seconds):
            metrics = game.metrics(episode)
    except Stuck as stuck:
        fault(where, f"it {stuck}{spot(stuck)} {end}", CAPS)
    except Exception as error:
        fault(
            where,
            f"it raised {reason(error)} {end}",
            "let it work for episodes that end anywhere, aborts at the first reply included.",
        )
    if not isinstance(metrics, Metrics):
        fault(where, f"it returned {metrics!r}", "return playpen.Metrics(episode=..., rounds=...).")
    if wrong := not_json({"episode": metrics.episode, "rounds": metrics.rounds}):
        fault(where, f"{wrong}, {end}", "give JSON values; use None where a number is missing.")
    if game.metrics(episode) != metrics:
        fault(where, f"asked twice, it gave two results {end}", "compute them from the record.")
    if msgspec.json.encode(episode) != before:
        fault(where, f"it changed the record {end}", "leave the episode as it is.")
    if game.metrics(msgspec.json.decode(before, type=Episode)) != metrics:
        fault(
            where,
            f"when the record was written down and read, it gave another result {end}",
            "use what stands in the events, replies and outcome of the episode, and nothing else.",
        )


def _check_memory(subject: GameUnderTest) -> None:
    """The metrics of an episode are the same after another one has been played."""
    for one, other in itertools.pairwise(subject.sample()):
        played = subject.play(one, subject.consult)
        if not played.finished:
            continue
        metrics = subject.game.metrics(played.episode)
        subject.play(other, subject.strange(Say(""), None))
        if subject.game.metrics(played.episode) != metrics:
            fault(
                f"{place(subject.game, one)}, metrics()",
                "after another episode was played, it gave another result for the same record",
                "compute them from the record: a run is scored long after it was played.",
            )


def _check_work(subject: GameUnderTest, instance: Instance, culprit: str, kind: str) -> None:
    """One role says something huge where it is first asked; what follows is what oracles said."""
    game, size = subject.game, subject.effort.huge
    script = subject.play(instance, subject.consult).episode.replies()
    where = f"{place(game, instance)}, role {culprit!r}"
    story = f"a reply of {size:,} characters ({kind})"
    played = drive(
        game,
        instance,
        _lengthened(reciter(script), culprit, kind, size),
        seconds=subject.seconds,
    )
    if played.stuck is not None:
        fault(where, f"after {story} play() {played.stuck}{spot(played.stuck)}", CAPS)
    if played.raised is not None:
        small = drive(game, instance, _lengthened(reciter(script), culprit, kind, LONG))
        if small.raised is None:  # else it is not the size; test_any_reply_... reports it
            fault(
                where,
                f"after {story} play() raised {reason(played.raised)}",
                f"raise playpen.Violation for a reply that is too long; {CAPS}",
            )
    try:
        with time_limit(subject.seconds):
            game.metrics(played.episode)
    except Stuck as stuck:
        fault(where, f"after {story} metrics() {stuck}{spot(stuck)}", CAPS)
    except Exception:  # what metrics() cannot take is reported by a check of its own
        return


def _lengthened(script: Speaker, culprit: str, kind: str, size: int) -> Speaker:
    """A script in which the first reply of a role is made long."""
    done = False

    def speak(conversation: Conversation) -> str:
        nonlocal done
        good = script(conversation)
        if done or conversation.role != culprit:
            return good
        done = True
        return HUGE[kind](good, size)

    return speak
