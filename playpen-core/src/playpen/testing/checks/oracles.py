"""The oracles: one for each role, that keeps to the rules, wins, and sees only its own chat."""

from __future__ import annotations

import math
import random

import pytest

from playpen.conversation import Conversation, Message
from playpen.moves import Abort
from playpen.testing.driver import OracleError, PlayedEpisode
from playpen.testing.findings import fault, place, quoted, reason
from playpen.testing.game_under_test import GameUnderTest

SURPRISE = 0.001
"""A number of wins is too small if fewer than this share of samples would have so few."""


class OracleChecks:
    """Programs play the game as it should be played, from what a model would see."""

    def test_every_role_has_an_oracle(self, subject: GameUnderTest) -> None:
        """`oracle(role)` gives a program for each role."""
        for role in subject.game.role_names():
            where = f"{subject.game.name}, role {role!r}"
            try:
                program = subject.game.oracle(role)
            except Exception as error:
                fault(
                    where,
                    f"oracle({role!r}) raised {reason(error)}",
                    "write a program that plays the role: a function from the role's conversation "
                    "to a text.",
                )
            if not callable(program):
                fault(where, f"its oracle is {program!r}", "return a function, not called yet.")

    def test_oracles_keep_to_the_rules(self, subject: GameUnderTest) -> None:
        """Among themselves the oracles break no rule, and always say something."""
        game = subject.game
        for played in _complete(subject):
            where = place(game, played.instance)
            outcome = played.episode.outcome
            if isinstance(outcome, Abort):
                fault(
                    where,
                    f"the oracles' play was aborted ({outcome.code}: {outcome.message}) "
                    f"{played.after()}",
                    "let the oracle keep to the form of replies that the prompt asks for.",
                )
            for error in played.oracle_errors:
                fault(
                    f"{where}, oracle of {error.role!r}",
                    f"asked {error.asked} {error.cause}",
                    "let it return a text for every conversation that the game can lead to.",
                )

    def test_oracles_win(self, subject: GameUnderTest) -> None:
        """Of their episodes the oracles win at least the share `oracle_wins` (default: all)."""
        plays = [played for played in _complete(subject) if played.finished]
        wins = sum(played.episode.success for played in plays)
        share = subject.game.oracle_wins
        if (
            not plays
            or wins == len(plays)
            or _chance_of_at_most(wins, len(plays), share) > SURPRISE
        ):
            return
        lost = next(played for played in plays if not played.episode.success)
        fault(
            place(subject.game, lost.instance),
            f"the oracles won {wins} of {len(plays)} episodes; "
            f"declared is a share of {share:g}. This one they lost {lost.after()}",
            "mend the oracle or the rules; where perfect play cannot be computed, declare the "
            "share that the oracles do win: oracle_wins = 0.9 on the game's class.",
        )

    def test_oracles_need_only_their_conversation(self, subject: GameUnderTest) -> None:
        """Asked again, in another order, with the bare messages, an oracle says the same."""
        asked = [
            (played, conversation, said.reply.text)
            for played in _complete(subject)
            for conversation, said in zip(played.asked, played.episode.replies(), strict=False)
        ]
        random.Random(0).shuffle(asked)
        for played, conversation, answer in asked:
            if conversation.role in subject.slow_oracles:
                pytest.skip("an oracle does not come to an end; another check says where")
            errors: list[OracleError] = []
            again = subject.consult(_bare(conversation), errors)
            if again == answer and not errors:
                continue
            difference = f"{quoted(again)} instead of {quoted(answer)}"
            fault(
                f"{place(subject.game, played.instance)}, oracle of {conversation.role!r}",
                f"asked again with the messages of turn {conversation.turn} alone, "
                + (errors[0].cause if errors else f"it said {difference}"),
                "let it use the texts of conversation.messages and conversation.seed (for chance) "
                "only, and remember nothing from one call to the next.",
            )

    def test_oracles_answer_any_partner(self, subject: GameUnderTest) -> None:
        """Whatever was said before, by itself or by others, an oracle returns a text."""
        if not subject.oracles:
            pytest.skip("no role has an oracle; another check says so")

        def check(played: PlayedEpisode) -> None:
            for error in played.oracle_errors:
                fault(
                    f"{place(subject.game, played.instance)}, oracle of {error.role!r}",
                    f"asked {error.asked} {error.cause} {played.after()}",
                    "let it answer something whatever its partner said: a model's partner may be "
                    "an oracle, and models say anything.",
                )

        subject.search(check)


def _complete(subject: GameUnderTest) -> list[PlayedEpisode]:
    """The oracles' plays; the running check is skipped if a role has no oracle."""
    if not subject.has_all_oracles:
        pytest.skip("not every role has an oracle; another check says which")
    return subject.oracle_plays


def _bare(conversation: Conversation) -> Conversation:
    """What may be needed of a conversation: texts, role, game, and what its seed is made of."""
    return Conversation(
        conversation.role,
        [Message(message.role, message.content) for message in conversation.messages],
        game=conversation.game,
        turn=conversation.turn,
        sampling_seed=conversation.sampling_seed,
    )


def _chance_of_at_most(wins: int, plays: int, share: float) -> float:
    """Probability of so few wins, or fewer, if each episode is won with this probability."""
    return sum(math.comb(plays, k) * share**k * (1 - share) ** (plays - k) for k in range(wins + 1))
