"""The program that plays the answerer."""

from __future__ import annotations

from functools import partial

import pytest
from tests.clembench.games_kit import consult, oracles

from playpen import Experiment, Instance, play
from playpen_clembench.privateshared.game import PrivateShared

GAME = PrivateShared()
PLAYERS = oracles(GAME)
OPENING = "You buy a shirt.\n\nWHAT: Shirt\nSIZE: Large\nCOLOUR: Teal\n\nGood: luck."


say = partial(consult, GAME, "answerer")


def test_the_oracle_understands_other_words_by_the_names_of_the_slots():
    shown = [OPENING, "Ok.", "CLERK: Which size?", "ANSWER: Large"]
    assert say(OPENING, "Ok.", "CLERK: And the colour, please?") == "ANSWER: Teal"
    assert say(*shown, "ME: Is the size known?") == "ASIDE: yes"
    assert say(*shown, "ME: Is the colour known?") == "ASIDE: no"


def test_what_was_told_unasked_is_known():
    shown = [OPENING, "Ok.", "CLERK: Which size?", "ANSWER: large and teal"]
    assert say(*shown, "ME: Is the colour known?") == "ASIDE: yes"


def test_a_slot_that_was_asked_for_counts_as_known():
    shown = [OPENING, "Ok.", "CLERK: Which size?", "No comment."]
    assert say(*shown, "ME: Is the size known?") == "ASIDE: yes"


@pytest.mark.parametrize("opening", ["", "hello", "WHAT: x", "WHAT: x\n\ny: z", OPENING])
@pytest.mark.parametrize("question", ["", "ME:", "ME: what?", "?", "CLERK: " + "x " * 10**5])
def test_the_oracle_replies_to_anything(opening, question):
    tag = "ASIDE: " if question.startswith("ME:") else "ANSWER: "
    assert say(opening, "Ok.", question).startswith(tag)


def test_values_that_contain_each_other_are_no_problem():
    slots = ("from", "to", "by", "class", "when")
    values = ("Bern", "Bernburg", "Bus", "Business", "Busy")
    data = {
        "game_id": 0,
        "slots": dict(zip(slots, values, strict=True)),
        "request_order": ["class", "when", "to", "from", "by"],
        "requests": dict.fromkeys(slots, 0),
        "probes": {str(n): dict.fromkeys(slots, 0) for n in range(6)},
    }
    item = Instance("privateshared", Experiment("travel-booking", {}), data)
    (episode,) = play(GAME, PLAYERS, [item])
    assert episode.success
