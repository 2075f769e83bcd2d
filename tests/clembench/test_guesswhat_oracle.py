"""The programs that play Guess What."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clembench.games_kit import consult, generated, oracles

from playpen import play
from playpen.instance import SPLITS, Experiment, Instance
from playpen.instance_sets import ready_instances
from playpen_clembench.guesswhat import taxonomy
from playpen_clembench.guesswhat.game import GuessWhat

GAME = GuessWhat()
PLAYERS = oracles(GAME)


def instance(target, words):
    item = {"game_id": 0, "target_word": target, "candidate_list": words}
    return Instance("guesswhat", Experiment("x", {"max_turns": 8}), item)


def questions(episode):
    return [said.reply.text.removeprefix("QUESTION: ") for said in episode.replies("guesser")]


say = partial(consult, GAME)


@pytest.mark.parametrize("split", SPLITS)
def test_the_oracles_win_every_ready_instance_with_three_questions(split):
    for episode in play(GAME, PLAYERS, ready_instances(GAME, split)):
        assert episode.main_score == 100
        assert len(episode.replies()) == 7


def test_the_oracles_win_whatever_is_generated():
    episodes = play(GAME, PLAYERS, generated(GAME, "train", seed=5, n=100))
    assert [episode.main_score for episode in episodes] == [100] * 600


WORDS = st.sampled_from(sorted(taxonomy.labels())) | st.text(
    alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8
)


@given(st.lists(WORDS, min_size=2, max_size=12, unique=True), st.data())
def test_the_oracles_win_with_any_list_of_words(words, data):
    (episode,) = play(GAME, PLAYERS, [instance(data.draw(st.sampled_from(words)), words)])
    assert episode.success
    assert len(questions(episode)) <= 5


def test_the_guesser_asks_about_groups_first():
    words = ["Oak", "Tulip", "Salmon", "Ant", "Brie", "Banana", "Harp", "Oboe"]
    (episode,) = play(GAME, PLAYERS, [instance("Ant", words)])
    assert questions(episode) == [
        "Does it belong under plants or animals?",
        "Does it belong under plants?",
        "Does it belong under fish?",
        "GUESS: Ant",
    ]


def test_the_guesser_names_words_that_it_cannot_tell_apart():
    words = ["Oak", "Elm", "Salmon", "Trout"]
    (episode,) = play(GAME, PLAYERS, [instance("Elm", words)])
    assert questions(episode) == [
        "Does it belong under plants?",
        "Is the word among these: Oak?",
        "GUESS: Elm",
    ]


def test_the_guesser_survives_contradictions():
    prompt = "['Oak', 'Elm']"
    asked = "QUESTION: Is the word among these: Oak?"
    assert say("guesser", prompt, asked, "ANSWER: no", asked, "ANSWER: yes") == "GUESS: Elm"
    assert say("guesser", "no list at all") == "GUESS: "
    assert say("guesser", "[1] ['Oak']") == "GUESS: Oak"


PROMPT = "You know the word: Salmon, and answer.\n\nTarget Word: Salmon"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is it an animal?", "yes"),
        ("Is it a fish", "yes"),
        ("Is it a plant?", "no"),
        ("Is it one of the things that others of the parts have?", "no"),
        ("Is it salmon?", "yes"),
        ("Does it belong under fish or birds?", "yes"),
        ("Does it belong under birds or mammals?", "no"),
        ("Is the word among these: Trout, Salmon?", "yes"),
        ("Is the word among these: Trout, Fish?", "no"),
        ("Target word: Oak\n\nQUESTION: Is it a fish?", "yes"),
        ("", "no"),
        ("fish " * 100_000, "yes"),
    ],
)
def test_the_answerer_makes_the_best_of_questions(question, answer):
    first = f"{PROMPT}\n\nQUESTION: {question}"
    assert say("answerer", first) == f"ANSWER: {answer}"
    opening = f"{PROMPT}\n\nQUESTION: Is it a plant?"
    assert say("answerer", opening, "ANSWER: no", f"QUESTION: {question}") == f"ANSWER: {answer}"


def test_the_answerer_without_a_word_answers():
    assert say("answerer", "") == "ANSWER: no"
