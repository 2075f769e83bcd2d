"""The rules of the static benchmarks: the tables of docs/rules/static.md, scores, any reply."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, noted, whole

from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Experiment, Instance
from playpen.moves import Ask
from playpen.replay import replay
from playpen.scoring import episode_scores, score_episodes
from playpen_clembench.static.bbh import Bbh
from playpen_clembench.static.cladder import Cladder
from playpen_clembench.static.eqbench import EqBench, closeness
from playpen_clembench.static.mmlu_pro import MmluPro

MMLU, CLADDER, EQ, BBH = MmluPro(), Cladder(), EqBench(), Bbh()
CONFIGS: dict[str, dict[str, Any]] = {
    "mmlu_pro": {
        "choices": list("ABCDEFGHIJ"),
        "regex_pattern": r"answer is \(?([ABCDEFGHIJ])\)?",
    },
    "cladder": {"choices": ["yes", "no"]},
    "eqbench": {},
    "bbh": {},
}
TARGETS: dict[str, Any] = {
    "mmlu_pro": "C",
    "cladder": "yes",
    "eqbench": {"Calm": 2, "Proud": 7, "Bitter": 0, "Tired": 3},
    "bbh": "(B)",
}
FULL_MARKS = {
    "mmlu_pro": "The answer is (C)",
    "cladder": "Yes.",
    "eqbench": "Calm: 2\nProud: 7\nBitter: 0\nTired: 3",
    "bbh": "(B)",
}
GAMES = pytest.mark.parametrize("game", [MMLU, CLADDER, EQ, BBH], ids=lambda game: game.name)


def instance(game: Game, **changes: Any) -> Instance:
    fields = {"game_id": 5, "input": "What is it?", "target": TARGETS[game.name], **changes}
    item = {name: fields.pop(name) for name in ("game_id", "input", "target")}
    return Instance(game.name, Experiment("x", {**CONFIGS[game.name], **fields}), item)


def answered(game: Game, reply: str, **changes: Any) -> Episode:
    return whole(by_turns(game, instance(game, **changes), reply))


def asked(game: Game, **changes: Any) -> str:
    return answered(game, "", **changes).conversation("answerer")[0].content


def only_note(episode: Episode, kind: str) -> Any:
    (data,) = noted(episode, kind)
    return data


# --- mmlu_pro ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("The answer is (C)", "C"),
        ("I would say the answer is C.", "C"),
        ("answer is Definitely B", "D"),
        ("The answer is (B", "B"),
        ("The answer is J)", "J"),
        ("First\nsecond\nThe answer is (A)<|end_of_text|>", "A"),
        ("the answer is (C), not: the answer is c", "C"),
    ],
)
def test_letters_that_are_found(reply, letter):
    episode = answered(MMLU, reply)
    assert only_note(episode, "parsed") == letter
    assert episode.main_score == (100 if letter == "C" else 0)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("The answer is (C). So the answer is (C)", "several_answers"),
        ("The answer is (C). So the answer is (D), so the answer is (E)", "several_answers"),
        ("The Answer is (C)", "no_answer"),
        ("The answer is: (C)", "no_answer"),
        ("The answer is  (C)", "no_answer"),
        ("(C)", "no_answer"),
        ("The answer is (c)", "no_answer"),
        ("The answer is ((C))", "no_answer"),
        ("The answer is K", "no_answer"),
        ("", "no_answer"),
    ],
)
def test_replies_without_one_letter_abort(reply, code):
    outcome = answered(MMLU, reply).outcome
    assert (outcome.code, outcome.fault) == (code, "answerer")


def test_choices_come_from_the_experiment_not_from_the_question():
    question = "Question:\nWhich?\nOptions:\nA. one\nB. two\n"
    assert answered(MMLU, "The answer is (J)", input=question).lose
    assert answered(MMLU, "The answer is (J)", choices=["A", "C"]).outcome.code == "unknown_choice"


def test_the_pattern_comes_from_the_experiment():
    pattern = "Antwort: ([A-C])"
    assert answered(MMLU, "Antwort: C", regex_pattern=pattern).success
    assert answered(MMLU, "The answer is (C)", regex_pattern=pattern).aborted
    optional = "Antwort: ([A-C])?"
    assert answered(MMLU, "Antwort: ?", regex_pattern=optional).outcome.code == "unknown_choice"


# --- cladder -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("Yes, because …", "Yes"),
        ("**No**\nas I said", "No"),
        (" no.", "no"),
        ('"YES!"', "YES"),
        ("Y-e-s", "Yes"),
        ("Yes:no", None),
        ("\u2003\nyes\u00a0indeed", "yes"),
        ("Answer: yes", None),
        ("Yes/No", None),
        ("", None),
        (" \n\t", None),
        ("... yes", None),
        ("The answer is no", None),
        ("No\u2019s", None),
        ("„Yes“", None),
        ("Yes<|end_of_text|>", None),
    ],
)
def test_the_first_word_counts(reply, word):
    episode = answered(CLADDER, reply)
    if word is None:
        assert episode.aborted
        assert episode.outcome.fault == "answerer"
    else:
        assert only_note(episode, "parsed") == word
        assert episode.success == (word.lower() == "yes")
        assert episode.lose == (word.lower() == "no")


def test_case_does_not_matter_in_the_target():
    assert answered(CLADDER, "YES", target="Yes").success


# --- eqbench -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "ratings"),
    [
        (FULL_MARKS["eqbench"], [2, 7, 0, 3]),
        ("Calm: 2, Proud: 7, Bitter: 0, Tired: 3", [2, 7, 0, 3]),
        ("Calm: 2 Proud: 7 Bitter: 0 Tired: 3", [2, 7, 0, 3]),
        ("Tired: 3\nI think Calm:  2\nthough\nBitter:\n\n0\nProud: 7!", [2, 7, 0, 3]),
        ("Calm: 7.9 Proud: 7 Bitter: 0 Tired: 3", [7, 7, 0, 3]),
        ("Calm: 2/10 Proud: 10 Bitter: 00 Tired: 003", [2, 10, 0, 3]),
        ("Calm: 9 Proud: 7 Bitter: 0 Tired: 3 Calm: 2", [2, 7, 0, 3]),
        ("Calm: 2x Proud: 7 Bitter: 0 Tired: 3", [2, 7, 0, 3]),
        ("1Calm: 2 Calm: ٣ Proud: 7 Bitter: 0 Tired: 3", None),
        ("Calm: ٣ Proud: 7 Bitter: 0 Tired: 3", [3, 7, 0, 3]),
        ("«Calm: 2» (Proud: 7) -Bitter: 0 Ti-Tired: 3", [2, 7, 0, 3]),
        ("Calm: 2 Proud: 7 Bitter: 0 Tired: 3 Confidence: 90", None),
        ("calm: 2 Proud: 7 Bitter: 0 Tired: 3", None),
        ("Calm:2 Proud: 7 Bitter: 0 Tired: 3", None),
        ("**Calm**: 2 Proud: 7 Bitter: 0 Tired: 3", None),
        ("Calm: -2 Proud: 7 Bitter: 0 Tired: 3", None),
        ("Calm: 11 Proud: 7 Bitter: 0 Tired: 3", None),
        ("Calm: 0 Proud: 0 Bitter: 0 Tired: 0", None),
        ("Calm: 2 Proud: 7 Bitter: 0", None),
        ("very_Calm: 2 Proud: 7 Bitter: 0 Tired: 3", None),
        ("Calm : 2 Proud: 7 Bitter: 0 Tired: 3", None),
        (f"Calm: {'9' * 5000} Proud: 7 Bitter: 0 Tired: 3", None),
        ("Calm: ² Proud: 7 Bitter: 0 Tired: 3", None),
        ("", None),
    ],
)
def test_ratings(reply, ratings):
    episode = answered(EQ, reply)
    if ratings is None:
        assert episode.aborted
        assert episode.outcome.fault == "answerer"
    else:
        target = TARGETS["eqbench"]
        found = dict(zip(target, ratings, strict=True))
        assert only_note(episode, "parsed") == found
        assert episode.main_score == pytest.approx(closeness(found, target))
        assert episode.success == (found == target)


def test_a_rating_may_follow_another_directly():
    """The digits end the first rating, in the middle of a word."""
    assert answered(EQ, "Calm: 2Proud: 7 Bitter: 0 Tired: 3").success


@pytest.mark.parametrize(
    ("distance", "penalty"),
    [
        (0, 0.0),
        (1, 6.5 / (1 + math.exp(3.6))),
        (4, 3.25),
        (5, 6.5 / (1 + math.exp(-1.2))),
        (6, 6.0),
        (10, 10.0),
    ],
)
def test_the_penalty_of_a_distance(distance, penalty):
    score = closeness({"Calm": distance}, {"Calm": 0})
    assert score == pytest.approx(100 - 7.477 * penalty)
    assert score == closeness({"Calm": 0}, {"Calm": distance})


def test_the_worst_answer_has_a_negative_score_and_is_a_loss():
    target = {"Calm": 10, "Proud": 0, "Bitter": 0, "Tired": 0}
    episode = answered(EQ, "Calm: 0 Proud: 10 Bitter: 10 Tired: 10", target=target)
    assert episode.lose
    assert episode.main_score == pytest.approx(-199.08)
    nearly = answered(EQ, "Calm: 9 Proud: 0 Bitter: 0 Tired: 0", target=target)
    assert nearly.lose
    assert nearly.main_score > 98


RATINGS = st.lists(
    st.sampled_from(["Calm", "Proud", "7", "x", "é", "_", ":", ": ", " ", "\n", "3", "1", "*"]),
    max_size=30,
).map("".join)


@given(RATINGS)
def test_words_with_numbers_are_found_as_a_plain_search_finds_them(text):
    text += "\nSad: 5"  # so that there is a rating, and one that was not to be found is too many
    plain = {word: int(digits) for word, digits in re.findall(r"(\w+):\s+(\d+)", text)}
    episode = answered(EQ, text, target=dict.fromkeys(plain, 1))
    if max(plain.values()) <= 10:
        assert only_note(episode, "parsed") == plain
    else:
        assert episode.aborted


# --- bbh -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply", ["(B) ", "B", "(b)", "The answer is (B)", "(B)\n", "", " (B)", "(B)<|eot_id|>"]
)
def test_only_the_exact_answer_counts(reply):
    assert answered(BBH, "(B)").main_score == 100
    assert answered(BBH, reply).main_score == 0
    assert answered(BBH, reply).lose


# --- what they have in common --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "variable"), [(MMLU, "input"), (CLADDER, "prompt"), (BBH, "input")]
)
def test_the_input_is_put_into_the_template(game, variable):
    text = "first\\1\n$INPUT$ {{input}} {{prompt}}\n"
    template = f"before\n{{{{{variable}}}}}after\n\n"
    assert asked(game, input=text, initial_prompt=template) == f"before\n{text}after\n"
    assert asked(game, input=text, initial_prompt=f"{{{{ {variable} }}}}\n") == text


@pytest.mark.parametrize("game", [MMLU, CLADDER, BBH], ids=lambda game: game.name)
def test_without_a_template_the_input_is_put_into_our_own_prompt(game):
    prompt = asked(game, input="What is $NAME$ {{input}}?")
    assert "What is $NAME$ {{input}}?" in prompt
    assert len(prompt) > 50


def test_the_dialogue_of_eqbench_is_the_whole_prompt():
    assert asked(EQ, input="\nAll of it.\n") == "\nAll of it.\n"


@GAMES
def test_scores_of_each_outcome(game):
    won = episode_scores(game, answered(game, FULL_MARKS[game.name]))
    assert won == {
        "Aborted": 0,
        "Success": 1,
        "Lose": 0,
        "Main Score": 100,
        "Request Count": 1,
        "Parsed Request Count": 1,
        "Violated Request Count": 0,
        "Request Success Ratio": 1.0,
    }
    other = episode_scores(game, answered(game, ""))
    violated = int(game is not BBH)
    assert other == {
        "Aborted": violated,
        "Success": 0,
        "Lose": 1 - violated,
        "Main Score": None if violated else 0,
        "Request Count": 1,
        "Parsed Request Count": 1 - violated,
        "Violated Request Count": violated,
        "Request Success Ratio": 1.0 - violated,
    }
    assert game.metrics(answered(game, "")).rounds == {}


def test_aborted_episodes_do_not_count_for_the_quality():
    episodes = [answered(MMLU, reply) for reply in ("the answer is C", "the answer is D", "")]
    table = score_episodes(episodes, {"mmlu_pro": MMLU}).games[0]
    assert (table.played, table.quality) == (66.67, 50.0)


@GAMES
def test_there_is_one_question_and_no_second_try(game):
    episode = answered(game, "?")
    assert sum(isinstance(event, Ask) for event in episode.events) == 1
    assert [role.name for role in game.roles] == ["answerer"]


# --- any reply -----------------------------------------------------------------------------------

PARTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["answer is ", "(C)", "C", "yes", "No", "Calm", "Proud", ": ", "7", "\n", "."]),
    st.sampled_from(list(FULL_MARKS.values())),
)


@GAMES
@settings(deadline=None)
@given(reply=st.lists(PARTS, max_size=8).map("".join))
def test_any_reply_ends_in_an_outcome(game, reply):
    episode = answered(game, reply)
    scores = episode_scores(game, episode)
    assert scores["Aborted"] + scores["Success"] + scores["Lose"] == 1
    assert (scores["Main Score"] is None) == episode.aborted
    assert (scores["Main Score"] == 100) == episode.success
    stored = msgspec.json.decode(msgspec.json.encode(episode), type=Episode)
    assert replay(game, instance(game), stored).divergences == []


HUGE = 1_000_000


@GAMES
@pytest.mark.parametrize(
    "text",
    [
        "a" * HUGE,
        "a: " * (HUGE // 3),
        "a:" + " " * HUGE,
        ("a:" + " " * 999) * (HUGE // 1000),
        "answer is (C) " * (HUGE // 14),
        "Calm: " + "0" * HUGE,
        "".join(f"w{number}: 1 " for number in range(HUGE // 10)),
        "." * HUGE,
    ],
    ids=["letters", "colons", "blanks", "runs", "answers", "digits", "ratings", "dots"],
)
def test_huge_replies_are_dealt_with_in_linear_time(game, text):
    """A pattern that tries quadratically many ways would take hours here."""
    assert not answered(game, text).success
