"""Colour feedback and what is measured on it (docs/rules/wordle.md, "Flow" and "Scores")."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playpen_clembench.wordle import feedback

LETTERS = st.text(alphabet="abc", min_size=5, max_size=5)


@pytest.mark.parametrize(
    ("guess", "target", "shown"),
    [
        ("stoop", "boost", "s<yellow> t<yellow> o<green> o<yellow> p<red>"),
        ("llama", "label", "l<green> l<yellow> a<yellow> m<red> a<red>"),
        ("eerie", "three", "e<yellow> e<red> r<green> i<red> e<green>"),
        ("boost", "boost", "b<green> o<green> o<green> s<green> t<green>"),
        ("crane", "moody", "c<red> r<red> a<red> n<red> e<red>"),
        ("speed", "abide", "s<red> p<red> e<yellow> e<red> d<yellow>"),
    ],
)
def test_feedback_of_known_pairs(guess, target, shown):
    marks = feedback.colours(guess, target)
    assert feedback.written(guess, marks) == shown
    assert feedback.read(shown) == list(zip(guess, marks, strict=True))


def counted_feedback(guess: str, target: str) -> list[str]:
    """An independent way: per letter, as many non-red marks as the two words share copies."""
    result = ["green" if g == t else "" for g, t in zip(guess, target, strict=True)]
    left = Counter(target) - Counter(g for g, t in zip(guess, target, strict=True) if g == t)
    for letter in set(guess):
        for place in [p for p in range(len(guess)) if guess[p] == letter and not result[p]]:
            result[place] = "yellow" if left[letter] > 0 else "red"
            left[letter] -= 1
    return result


@given(guess=LETTERS, target=LETTERS)
def test_feedback_agrees_with_an_independent_implementation(guess, target):
    assert list(feedback.colours(guess, target)) == counted_feedback(guess, target)


@given(guess=LETTERS, target=LETTERS)
def test_marks_that_are_not_red_count_the_shared_letters(guess, target):
    marks = feedback.colours(guess, target)
    shared = (Counter(guess) & Counter(target)).total()
    assert sum(mark != "red" for mark in marks) == shared
    assert (feedback.closeness(marks) == 25) == (guess == target)


def test_closeness_and_strategy_of_the_example():
    guesses, target = ["stoop", "roost", "boost"], "boost"
    marked = [feedback.read(feedback.written(g, feedback.colours(g, target))) for g in guesses]
    assert [feedback.closeness(colour for _, colour in m) for m in marked] == [14, 20, 25]
    assert feedback.strategy(marked[0], guesses[1]) == 50
    assert feedback.strategy(marked[1], guesses[2]) == 60


@pytest.mark.parametrize(
    ("shown", "guess", "value"),
    [
        # o is green and yellow: 20 + 10; its second copy in the guess adds nothing.
        ("s<yellow> t<yellow> o<green> o<yellow> p<red>", "oozed", 30),
        # e is green, yellow and red at once.
        ("e<yellow> e<red> r<green> i<red> e<green>", "geese", 10),
        ("c<red> r<red> a<red> n<red> e<red>", "crane", -100),
        ("c<red> r<red> a<red> n<red> e<red>", "moody", 0),
        # the position of a green letter does not matter
        ("b<green> o<red> n<red> u<red> s<red>", "climb", 20),
    ],
)
def test_strategy_uses_sets_of_letters_and_ignores_positions(shown, guess, value):
    assert feedback.strategy(feedback.read(shown), guess) == value


def test_closeness_gain_is_a_share_of_full_marks():
    all_green, all_red = ("green",) * 5, ("red",) * 5
    assert feedback.closeness_gain(all_green, 0) == 1
    assert feedback.closeness_gain(all_red, 25) == -1
    assert feedback.closeness_gain(("yellow", "red", "red", "red", "red"), 0) == 3 / 25
