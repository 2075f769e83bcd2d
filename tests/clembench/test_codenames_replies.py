"""Codenames: replies (docs/rules/codenames.md, "Reply format" and "Violations")."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from playpen.moves import Violation
from playpen_clembench.codenames.board import Board
from playpen_clembench.codenames.generate import FLAGS
from playpen_clembench.codenames.lemmas import lemma, related_word
from playpen_clembench.codenames.replies import LONGEST_REPLY, Clue, Reader

TEAM = ["apple", "tiger", "mouse"]
OPPONENT = ["cloud", "piano", "river"]
INNOCENT = ["stone", "lemon"]
ASSASSIN = ["crown", "glass"]
WORDS = [*TEAM, *OPPONENT, *INNOCENT, *ASSASSIN]
ZOO = Clue("zoo", ["tiger", "mouse"])


def reader(board: Board | None = None, /, **flags: bool) -> Reader:
    assignments = {
        "team": TEAM,
        "opponent": OPPONENT,
        "innocent": INNOCENT,
        "assassin": ASSASSIN,
    }
    names = {name.replace(" ", "_"): name for name in FLAGS}
    chosen = {**FLAGS, **{names[name]: value for name, value in flags.items()}}
    return Reader(board or Board(WORDS, assignments), chosen, "en")


def engaged(of: Reader, role: str) -> dict[str, int]:
    return {flag: count for flag, count in of.engaged[role].items() if count}


def code(call: Any, *arguments: Any) -> str:
    with pytest.raises(Violation) as caught:
        call(*arguments)
    assert caught.value.retry is None
    assert len(caught.value.message) < 200
    return caught.value.code


# --- the clue ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "word", "targets"),
    [
        ("CLUE: zoo\nTARGETS: tiger, mouse", "zoo", ["tiger", "mouse"]),
        ("TARGETS: tiger\nCLUE: zoo", "zoo", ["tiger"]),
        ('CLUE: "Zoo."\nTARGETS: Tiger, <mouse>', "zoo", ["tiger", "mouse"]),
        ("CLUE: zoo\nTARGETS: tiger,mouse", "zoo", ["tiger", "mouse"]),
        ("CLUE: zoo\nTARGETS: tiger,", "zoo", ["tiger"]),
        ("CLUE: zoo\nTARGETS: cloud", "zoo", ["cloud"]),
        ("CLUE: zoo\nTARGETS: crown", "zoo", ["crown"]),
        ("CLUE: zoo2\nTARGETS: tiger", "zoo", ["tiger"]),
        ("CLUE: 42\nTARGETS: tiger", "", ["tiger"]),
        ("CLUE: wild-cat\nTARGETS: tiger", "wild-cat", ["tiger"]),
        ("CLUE: \nTARGETS: tiger", "", ["tiger"]),
        # The number hides the relation from the check, but not the word from the guesser.
        ("CLUE: tiger1\nTARGETS: mouse", "tiger", ["mouse"]),
        ("CLUE: zoo.\nTARGETS: tiger", "zoo", ["tiger"]),
        ("CLUE: tigerish\nTARGETS: tiger", "tigerish", ["tiger"]),
        ("CLUE: zoo, \nTARGETS: tiger", "zoo", ["tiger"]),
        # \r neither ends a line nor is stripped.
        ("CLUE: zoo\r\nTARGETS: tiger", "zoo\r", ["tiger"]),
        ("CLUE: CLUE: \nTARGETS: tiger", "clue:", ["tiger"]),
        ("CLUE: zo\x00o\u2028\nTARGETS: tiger", "zo\x00o\u2028", ["tiger"]),
    ],
)
def test_accepted_clues(reply: str, word: str, targets: list[str]) -> None:
    assert reader().clue(reply) == (word, targets)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("", "missing_prefix"),
        ("CLUE: zoo\n\nTARGETS: tiger", "rambling"),
        ("CLUE: zoo\nTARGETS: tiger\n", "rambling"),
        ("clue: zoo\nTARGETS: tiger", "missing_prefix"),
        ("CLUE:zoo\nTARGETS: tiger", "missing_prefix"),
        (" CLUE: zoo\nTARGETS: tiger", "missing_prefix"),
        ("CLUE: zoo TARGETS: tiger", "missing_prefix"),
        ("CLUE: zoo", "missing_prefix"),
        ("CLUE: zoo\nTARGETS: tiger\r\nmouse", "rambling"),
        ("CLUE: zoo, 2\nTARGETS: tiger", "number_with_clue"),
        ("CLUE: zoo,2\nTARGETS: tiger", "number_with_clue"),
        ("CLUE: big cat, 2\nTARGETS: lion", "number_with_clue"),
        ("CLUE: wild cat\nTARGETS: tiger", "several_words"),
        ("CLUE: wild cat\nTARGETS: lion", "several_words"),
        ("CLUE: tiger\nTARGETS: tiger", "related_clue"),
        ("CLUE: TIGERS.\nTARGETS: tiger", "related_clue"),
        ("CLUE: mice\nTARGETS: lion", "related_clue"),
        ("CLUE: glasses\nTARGETS: tiger", "related_clue"),
        ("CLUE: zoo\nTARGETS: tiger and mouse", "unknown_target"),
        ("CLUE: zoo\nTARGETS: tiger, lion", "unknown_target"),
        ("CLUE: zoo\nTARGETS: tiger\r", "unknown_target"),
        ("CLUE: zoo\nTARGETS: ", "unknown_target"),
        ("CLUE: zoo\nTARGETS: tiger, , mouse", "unknown_target"),
        ("CLUE: zoo\nTARGETS: tiger, Tiger", "double_target"),
        ("CLUE: zoo\nTARGETS: tiger, tiger, lion", "double_target"),
        ("CLUE: zoo\nTARGETS: lion, lion", "unknown_target"),
    ],
)
def test_refused_clues(reply: str, expected: str) -> None:
    assert code(reader().clue, reply) == expected


def test_a_target_that_was_uncovered() -> None:
    board = Board(["a", "b", "c"], {"team": "a", "opponent": "b", "innocent": "c", "assassin": ""})
    board.uncover("a", "team")
    board.uncover("b", "opponent")
    # Only what the team itself uncovered counts as known.
    assert code(reader(board).clue, "CLUE: zoo\nTARGETS: a") == "repeated_target"
    assert code(reader(board).clue, "CLUE: zoo\nTARGETS: b") == "unknown_target"
    # An uncovered word may be a clue.
    assert reader(board).clue("CLUE: a\nTARGETS: c") == ("a", ["c"])


# --- the guesses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "guesses"),
    [
        ("GUESS: tiger, mouse", ["tiger", "mouse"]),
        ("GUESS: Tiger", ["tiger"]),
        ("GUESS: tiger,mouse", ["tiger", "mouse"]),
        ('GUESS: "tiger", <mouse>', ["tiger", "mouse"]),
        ("GUESS: tiger.", ["tiger"]),
        ("GUESS: mouse, crown", ["mouse", "crown"]),
    ],
)
def test_accepted_guesses(reply: str, guesses: list[str]) -> None:
    assert reader().guesses(reply, ZOO) == guesses


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("", "missing_prefix"),
        ("guess: tiger", "missing_prefix"),
        ("GUESS:tiger", "missing_prefix"),
        ("My GUESS: tiger", "missing_prefix"),
        ("GUESS: tiger\nGUESS: mouse", "rambling"),
        ("\nGUESS: tiger", "rambling"),
        ("GUESS: tiger, mouse, apple", "too_many_guesses"),
        ("GUESS: lion, tiger, tiger", "too_many_guesses"),
        ("GUESS: tiger mouse", "unknown_guess"),
        ("GUESS: tiger, ", "unknown_guess"),
        ("GUESS: tiger\r", "unknown_guess"),
        ("GUESS: tiger, tiger", "double_guess"),
        ("GUESS: zoo", "guess_is_clue"),
        ("GUESS: lion, zoo", "unknown_guess"),
    ],
)
def test_refused_guesses(reply: str, expected: str) -> None:
    assert code(reader().guesses, reply, ZOO) == expected


def test_a_guess_that_was_uncovered_and_a_clue_on_the_board() -> None:
    board = Board(["a", "b", "c"], {"team": "a", "opponent": "b", "innocent": "c", "assassin": ""})
    board.uncover("a", "team")
    board.uncover("b", "opponent")
    clue = Clue("c", ["c"])
    assert code(reader(board).guesses, "GUESS: a", clue) == "repeated_guess"
    assert code(reader(board).guesses, "GUESS: b", clue) == "unknown_guess"
    assert code(reader(board).guesses, "GUESS: c", clue) == "guess_is_clue"


# --- flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "stripped"),
    [
        ("CLUE: zoo\nTARGETS: tiger, mouse", 0),
        ("CLUE: <zoo>\nTARGETS: tiger, mouse.", 2),
        ("CLUE: <zoo>\nTARGETS: <tiger>, 'mouse'", 3),
        ("CLUE: <zoo>\n\nTARGETS: <tiger>", 0),  # rambling comes first
        ("CLUE: <zoo>\nMICE: <tiger>", 0),  # and so does the prefix
        ("CLUE: <zoo, 2>\nTARGETS: <tiger>", 1),  # the number comes before the targets
        ("CLUE: wild cat\nTARGETS: <tiger>", 2),  # the other checks do not
        ("CLUE: tigers\nTARGETS: <tiger>", 1),
        ("CLUE: zoo\nTARGETS: lion, <tiger>, big cat", 2),
    ],
)
def test_what_was_stripped_is_counted_even_in_refused_clues(reply: str, stripped: int) -> None:
    read = reader()
    with suppress(Violation):
        read.clue(reply)
    assert engaged(read, "cluegiver") == ({"STRIP WORDS": stripped} if stripped else {})
    assert engaged(read, "guesser") == {}


@pytest.mark.parametrize(
    ("reply", "stripped"),
    [
        ("GUESS: 'tiger', mouse.", 2),
        ("GUESS: <tiger>, <mouse>, <apple>", 3),
        ("GUESS: 'tiger'\n", 0),
        ("My GUESS: 'tiger'", 0),
    ],
)
def test_what_was_stripped_is_counted_even_in_refused_guesses(reply: str, stripped: int) -> None:
    read = reader()
    with suppress(Violation):
        read.guesses(reply, ZOO)
    assert engaged(read, "guesser") == ({"STRIP WORDS": stripped} if stripped else {})


def test_without_stripping_words_must_be_bare() -> None:
    read = reader(STRIP_WORDS=False)
    assert read.clue("CLUE: zoo\nTARGETS: Tiger, mouse") == ("zoo", ["tiger", "mouse"])
    assert read.guesses("GUESS: Tiger", ZOO) == ["tiger"]
    assert code(read.clue, "CLUE: zoo.\nTARGETS: tiger") == "odd_characters"
    assert code(read.clue, "CLUE: zoo\nTARGETS: tiger.") == "unknown_target"
    assert code(read.guesses, "GUESS: tiger.", ZOO) == "odd_characters"
    assert engaged(read, "cluegiver") == engaged(read, "guesser") == {}


def test_rambling_is_ignored_if_the_flag_says_so() -> None:
    read = reader(IGNORE_RAMBLING=True)
    reply = "Well.\nTARGETS: tiger\n\nCLUE: zoo\nCLUE: cat"
    assert read.clue(reply) == ("zoo", ["tiger"])
    assert read.guesses("I say:\nGUESS: tiger\nGUESS: mouse", ZOO) == ["tiger"]
    assert code(read.guesses, "I say\ntiger", ZOO) == "missing_prefix"
    assert engaged(read, "cluegiver") == {"IGNORE RAMBLING": 1}
    assert engaged(read, "guesser") == {"IGNORE RAMBLING": 2}


def test_a_number_with_the_clue_is_ignored_if_the_flag_says_so() -> None:
    read = reader(IGNORE_NUMBER_OF_TARGETS=True)
    assert read.clue("CLUE: zoo, 2\nTARGETS: tiger") == ("zoo", ["tiger"])
    # The number is gone before the clue is compared with the board.
    assert code(read.clue, "CLUE: tiger, 2\nTARGETS: tiger") == "related_clue"
    assert engaged(read, "cluegiver") == {"IGNORE NUMBER OF TARGETS": 2, "STRIP WORDS": 2}


def test_false_words_are_dropped_if_the_flag_says_so() -> None:
    read = reader(IGNORE_FALSE_TARGETS_OR_GUESSES=True)
    flag = "IGNORE FALSE TARGETS OR GUESSES"
    clue = read.clue("CLUE: zoo\nTARGETS: tiger, lion, tiger, lion")
    assert clue == ("zoo", ["tiger", "tiger"])
    assert engaged(read, "cluegiver") == {flag: 6}  # lion: twice unknown, twice double
    assert read.guesses("GUESS: zoo, tiger", clue) == ["tiger"]
    assert engaged(read, "guesser") == {flag: 2}  # the clue itself, and not on the board
    # False words still count as guesses.
    assert code(read.guesses, "GUESS: lion, tiger, mouse", clue) == "too_many_guesses"
    assert code(read.guesses, "GUESS: lion", clue) == "no_correct_guess"
    assert code(read.clue, "CLUE: zoo\nTARGETS: lion") == "no_correct_target"


# --- forms of a word -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("tigers", "tiger"),
        ("boxes", "box"),
        ("cherries", "cherry"),
        ("churches", "church"),
        ("wolves", "wolf"),
        ("firemen", "fireman"),
        ("mice", "mouse"),
        ("children", "child"),
        ("teeth", "teeth"),  # a noun of its own, and as short as tooth
        ("boss", "bos"),  # odd, but both sides are treated alike
        ("running", "running"),
        ("tigerish", "tigerish"),
        ("glass", "glass"),
        ("qqqs", "qqqs"),
        ("", ""),
        ("s", "s"),
        ("Tigers", "Tigers"),
    ],
)
def test_lemmas(form: str, expected: str) -> None:
    assert lemma(form) == expected


def test_a_language_without_nouns_compares_the_words_themselves() -> None:
    assert lemma("tigers", "xx") == "tigers"
    assert related_word("tigers", ["tiger"], "xx") is None
    assert related_word("tiger", ["mouse", "tiger"], "xx") == "tiger"


# --- size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        "x" * 10_000_000,
        "," * 10_000_000,
        "\n" * (LONGEST_REPLY + 1),
        "CLUE: zoo\nTARGETS: " + "tiger, " * 1_000_000,
        "CLUE: zoo\nTARGETS: " + "tiger, " * 14_000,
        "CLUE: zoo\nTARGETS: " + "," * 49_000,
        "CLUE: " + "s" * 90_000 + "\nTARGETS: lion",
        "GUESS: " + "lion, " * 16_000,
        "GUESS: " + "'" * 90_000,
    ],
    ids=range(9),
)
@pytest.mark.parametrize("flags", [{}, {"IGNORE_FALSE_TARGETS_OR_GUESSES": True}])
def test_huge_replies_are_refused_with_a_short_message(reply: str, flags: dict[str, bool]) -> None:
    read = reader(**flags)
    if not (flags and "tiger" in reply and len(reply) <= LONGEST_REPLY):
        code(read.clue, reply)
    code(read.guesses, reply, ZOO)
