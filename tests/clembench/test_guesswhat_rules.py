"""The rules of Guess What: reply forms, flow, scores, any replies."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, shown, whole

from playpen.conversation import Reply
from playpen.episode import Episode
from playpen.instance import Experiment, Instance
from playpen.prompts import PromptError
from playpen.referee import Referee
from playpen.replay import replay
from playpen.scoring import episode_scores, score_episodes
from playpen_clembench.guesswhat.game import GuessWhat, speed

GAME = GuessWhat()

ITEM: dict[str, Any] = {
    "game_id": 0,
    "target_word": "Oak",
    "candidate_list": ["Oak", "Fern", "Violin", "Flute", "Ferry", "Kayak", "Bread", "Cheese"],
}
QUESTION, YES = "QUESTION: Is it a plant?", "ANSWER: yes"
OWN: dict[str, Any] = {"max_turns": 8}
GIVEN: dict[str, Any] = {
    "max_turns": 8,
    "question_tag": "QUESTION:",
    "answer_tag": "ANSWER:",
    "guess_tag": "GUESS:",
    "answer_variations": [f"ANSWER: {word}" for word in ("yes", "no", "Yes.", "Yes", "No.", "No")],
    "letter_based_pattern": "does the target word start with the letter",
    "direct_guess_pattern": "^is the target word\\s*(['\"])[^'\"]+?\u0001\\s*\\?",
    "length_question_pattern": "does the target word have exactly \\d+ letters",
    "syllable_question_pattern": "does the target word have more than \\w+ syllable",
    "pos_question_pattern": "^is the target word a\\s+(noun|verb)\\s*\\?",
    "guesser_initial_prompt": "FIND $N$ $LIST$ $HOME$",
    "answerer_initial_prompt": "KNOW $TARGET WORD$ $TARGET WORD$",
}
FORMS = pytest.mark.parametrize("config", [OWN, GIVEN], ids=["own", "given"])


def instance(config: dict[str, Any] = GIVEN, **changes: Any) -> Instance:
    experiment = {**config, **{k: v for k, v in changes.items() if k in GIVEN}}
    item = {**ITEM, **{k: v for k, v in changes.items() if k not in GIVEN}}
    return Instance(GAME.name, Experiment("Level_1", experiment), item)


played = partial(by_turns, GAME)


def finished(*replies: str, item: Instance | None = None) -> Episode:
    return whole(played(item or instance(), *replies))


def scores(episode: Episode) -> dict[str, Any]:
    return episode_scores(GAME, episode)


# --- reply forms (docs/rules/guesswhat.md, "Reply format") ----------------------------------------


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "QUESTION: Is it a plant?",
        "QUESTION:Is it a plant",
        "QUESTION:",
        "QUESTION: ?",
        "QUESTION: Is it a plant? \n",
        "QUESTION: a\nb\n\nc",
        "QUESTION: Is it Oak?",
        "QUESTION: Is it a plant. GUESS: Oak",
        "QUESTION: Does it start with the letter o?",
        "QUESTION: Does the target word have more than 3 letters?",
        "QUESTION: Does the target word have between 3 and 5 syllables?",
        "QUESTION: Is it true: is the target word a noun?",
        "QUESTION: Does the target word  start with the letter o?",
    ],
)
def test_questions_that_are_passed_on(config, text):
    result = played(instance(config), text)
    assert not result.complete
    assert shown(result.episode, "answerer")[0].endswith(f"\n\n{text}")


@FORMS
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "missing_tag"),
        ("Is it a plant?", "missing_tag"),
        ("Question: Is it a plant?", "missing_tag"),
        (" QUESTION: Is it a plant?", "missing_tag"),
        ("**QUESTION:** Is it a plant?", "missing_tag"),
        ("ANSWER: yes", "missing_tag"),
        ("QUESTION: a QUESTION: b?", "repeated_tag"),
        ("QUESTION: QUESTION: Is it a plant? no", "repeated_tag"),
        ("QUESTION: Is it a plant? Or a tool?", "more_than_a_question"),
        ("QUESTION: Is it a plant??", "more_than_a_question"),
        ("QUESTION: Is it a plant?\nGUESS: Oak", "more_than_a_question"),
        ("QUESTION: Is it a plant?.", "more_than_a_question"),
        ("QUESTION: Does the target word start with the letter o?", "forbidden_question"),
        ("QUESTION: DOES THE TARGET WORD START WITH THE LETTER O", "forbidden_question"),
        ("QUESTION: So does the target word start with the letter o?", "forbidden_question"),
        ("QUESTION: Does the target word have exactly 3 letters?", "forbidden_question"),
        ("QUESTION: Does the target word have more than one syllable?", "forbidden_question"),
        ("QUESTION: Is the target word a noun?", "forbidden_question"),
        ("QUESTION:is the target word a  verb ?", "forbidden_question"),
        ("GUESS: the Oak", "several_words"),
        ("GUESS: Oak\nI am sure", "several_words"),
        ("GUESS: QUESTION: Oak", "several_words"),
        ("GUESS: O , k", "several_words"),
    ],
)
def test_turns_that_abort(config, text, code):
    episode = finished(text, item=instance(config))
    assert (episode.outcome.code, episode.outcome.fault) == (code, "guesser")
    assert shown(episode, "answerer") == []


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        ("Does the target word contain the letter k?", True),
        ("Does the target word have the letter k?", True),
        ("Does the target word have the letter 5?", False),
        ("Is the fifth letter of the target word k?", True),
        ("Is the sixth letter of the target word k?", False),
        ("Does the target word contain less 5 letters?", True),
        ("Does the target word have more 12 letter?", True),
        ("Does the target word have exactly five letters?", False),
        ("Does the target word contain less than 2 syllables?", True),
        ("Does the target word have exactly ten syllables?", True),
        ("Does the target word have exactly eleven syllables?", False),
        ("Is the target word an adverb?", True),
        ("Is the target word an interjection", False),
        ("Is the target word a proper noun?", False),
        ("Is the target word 'Oak'?", True),
        ('Is the target word "Oak" ?', True),
        ("Is the target word Oak?", False),
        ("Is the target word 'Oak\"?", False),
    ],
)
def test_our_own_kinds_of_forbidden_questions(text, forbidden):
    assert played(instance(OWN), f"QUESTION: {text}").complete == forbidden


def test_a_dead_pattern_of_a_file_stays_dead():
    assert not played(instance(GIVEN), "QUESTION: Is the target word 'Oak'?").complete
    assert played(instance(GIVEN), "QUESTION: Is the target word 'Oak\x01?").complete


@FORMS
@pytest.mark.parametrize("text", ["oak", " Oak", ' "Oak".', "OAK", " O-ak", " oak\n\n", " (oak)!"])
def test_right_guesses(config, text):
    episode = finished(f"GUESS:{text}", item=instance(config))
    assert episode.success
    assert shown(episode, "answerer") == []


@FORMS
@pytest.mark.parametrize("text", [" Fern", " Water", "", " - Oak", " Oaks", "...", "\x00oak"])
def test_wrong_guesses(config, text):
    assert finished(f"GUESS:{text}", item=instance(config)).outcome.fault == "guesser"
    assert finished(f"GUESS:{text}", item=instance(config)).lose


def test_a_hyphenated_target_cannot_be_won():
    item = instance(target_word="Cha-cha")
    assert finished("GUESS: Cha-cha", item=item).lose
    assert finished("GUESS: chacha", item=item).lose


@FORMS
@pytest.mark.parametrize("word", ["yes", "Yes", "Yes.", "no", "No", "No."])
def test_answers_that_are_passed_on(config, word):
    result = played(instance(config), QUESTION, f"ANSWER: {word}")
    assert not result.complete
    assert shown(result.episode, "guesser")[1] == f"ANSWER: {word}"


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "ANSWER: yes.",
        "ANSWER: no.",
        "ANSWER: YES",
        "ANSWER:yes",
        "ANSWER: Yes, it is",
        "yes",
        "ANSWER: yes\n",
        " ANSWER: yes",
        "",
    ],
)
def test_answers_that_abort(config, text):
    episode = finished(QUESTION, text, item=instance(config))
    assert (episode.outcome.code, episode.outcome.fault) == ("invalid_answer", "answerer")


def test_tags_and_answers_of_the_instance_count():
    item = instance(question_tag="FRAGE:", guess_tag="TIPP:", answer_variations=["JA", ""])
    assert finished("FRAGE: a?", "JA", "FRAGE: b? ", "", "TIPP: oak", item=item).success
    assert finished("QUESTION: a?", item=item).aborted
    assert finished("FRAGE: a?", "ANSWER: yes", item=item).aborted


def test_a_language_without_a_folder_is_named():
    with pytest.raises(PromptError, match=r"prompts/xx/form\.json"):
        played(instance(OWN, lang="xx"))


# --- flow ----------------------------------------------------------------------------------------


def test_messages_with_given_prompts():
    episode = finished(QUESTION, YES, "QUESTION:b", "ANSWER: No.", "GUESS: Oak")
    assert shown(episode, "guesser") == [
        "FIND 7 ['Oak', 'Fern', 'Violin', 'Flute', 'Ferry', 'Kayak', 'Bread', 'Cheese'] $HOME$",
        "ANSWER: yes",
        "ANSWER: No.",
    ]
    assert shown(episode, "answerer") == [f"KNOW Oak Oak\n\n{QUESTION}", "QUESTION:b"]


def test_messages_with_our_own_prompts():
    episode = finished(QUESTION, YES, "GUESS: Oak", item=instance(OWN))
    first, answer = shown(episode, "guesser")
    assert "['Oak', 'Fern', 'Violin', 'Flute', 'Ferry', 'Kayak', 'Bread', 'Cheese']" in first
    assert "7 questions" in first and answer == YES
    (only,) = shown(episode, "answerer")
    assert only.endswith(f"\n\nTarget word: Oak\n\n{QUESTION}")


@FORMS
def test_the_game_is_lost_after_the_last_answer(config):
    item = instance(config)
    assert finished(*[QUESTION, YES] * 8, item=item).outcome.fault is None
    assert finished(*[QUESTION, YES] * 8, item=item).lose
    assert finished(*[QUESTION, YES] * 7, QUESTION, "no", item=item).aborted
    assert finished(*[QUESTION, YES] * 7, "GUESS: oak", item=item).success


# --- scores (docs/rules/guesswhat.md, "Scores") ---------------------------------------------------


@pytest.mark.parametrize(
    ("number", "score"),
    [*((n, 100) for n in range(1, 6)), (6, 200 / 3), (7, 100 / 3), (8, 0)],
)
@pytest.mark.parametrize("name", ["Level_1", "Level_3", "Abs_Level_2"])
def test_score_of_a_win(number, score, name):
    item = instance()
    item.experiment.name = name
    episode = finished(*[QUESTION, YES] * (number - 1), "GUESS: Oak", item=item)
    assert scores(episode) == {
        "Violated Request Count": 0,
        "Parsed Request Count": number,
        "Request Count": number,
        "Request Success Ratio": 1,
        "Aborted": 0,
        "Success": 1,
        "Lose": 0,
        "Speed": pytest.approx(score),
        "Main Score": pytest.approx(score),
        **NO_VIOLATION,
    }
    rounds = GAME.metrics(episode).rounds
    assert [r["Accuracy"] for r in rounds.values()] == [0] * (number - 1) + [1]
    assert list(rounds) == [str(n) for n in range(number)]


NO_VIOLATION = {
    "Invalid format guesser response": 0,
    "Invalid format answerer response": 0,
    "Invalid content guesser response": 0,
    "Invalid content answerer response": 0,
}


@pytest.mark.parametrize(
    ("replies", "rounds"),
    [
        (["GUESS: Fern"], 1),
        ([QUESTION, YES, "GUESS:"], 2),
        ([QUESTION, YES] * 8, 8),
    ],
)
def test_scores_of_a_loss(replies, rounds):
    episode = finished(*replies)
    assert scores(episode) == {
        "Violated Request Count": 0,
        "Parsed Request Count": rounds,
        "Request Count": rounds,
        "Request Success Ratio": 1,
        "Aborted": 0,
        "Success": 0,
        "Lose": 1,
        "Main Score": 0,
        **NO_VIOLATION,
    }
    assert (
        list(GAME.metrics(episode).rounds.values())
        == [
            {
                "Accuracy": 0,
                "Violated Request Count": 0,
                "Parsed Request Count": 1,
                "Request Count": 1,
            }
        ]
        * rounds
    )


@pytest.mark.parametrize(
    ("replies", "rounds", "violation"),
    [
        (["no"], 1, "Invalid format guesser response"),
        ([QUESTION, YES, "GUESS: two words"], 2, "Invalid format guesser response"),
        ([QUESTION, YES, "QUESTION: a? b"], 2, "Invalid format guesser response"),
        ([QUESTION, "no"], 1, "Invalid format answerer response"),
        ([*[QUESTION, YES] * 7, QUESTION, "no"], 8, "Invalid format answerer response"),
        (["QUESTION: Is the target word a noun?"], 1, "Invalid content guesser response"),
    ],
)
def test_scores_of_an_aborted_game(replies, rounds, violation):
    episode = finished(*replies)
    assert scores(episode) == {
        "Violated Request Count": 1,
        "Parsed Request Count": rounds - 1,
        "Request Count": rounds,
        "Request Success Ratio": (rounds - 1) / rounds,
        "Aborted": 1,
        "Main Score": None,
        "Success": None,
        "Lose": None,
        **NO_VIOLATION,
        violation: 1,
    }
    by_round = [*GAME.metrics(episode).rounds.values()]
    assert [r["Violated Request Count"] for r in by_round] == [0] * (rounds - 1) + [1]
    assert [r["Parsed Request Count"] for r in by_round] == [1] * (rounds - 1) + [0]
    assert all(r["Accuracy"] == 0 and r["Request Count"] == 1 for r in by_round)


@pytest.mark.parametrize(("number", "last", "score"), [(3, 3, 100), (6, 7, 50), (20, 20, 0)])
def test_speed_with_another_number_of_rounds(number, last, score):
    assert speed(number, last) == score


def test_aborted_episodes_count_as_not_played_only():
    episodes = [finished("GUESS: Oak"), finished("GUESS: Elm"), finished("Oak")]
    for number, episode in enumerate(episodes):
        episode.repeat = number
    (table,) = score_episodes(episodes, {GAME.name: GAME}).games
    assert (table.aborted, table.success, table.lose, table.quality) == (1, 1, 1, 50)


# --- any reply -----------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="oakOAK'\"?.- \n", max_size=12),
    st.sampled_from(["", "\x00", "İ", "$LIST$", "Is the target word 'Oak'?", "Oak", "a? b"]),
)
TURNS = st.one_of(
    st.just(QUESTION),
    st.builds(
        "{}{}".format,
        st.sampled_from(["QUESTION:", "QUESTION: ", "GUESS: ", "GUESS:", "question: "]),
        HOSTILE,
    ),
    HOSTILE,
)
ANSWERS = st.one_of(
    st.sampled_from([YES, "ANSWER: No."]),
    st.sampled_from([YES, YES, YES, "ANSWER: yes.", "ANSWER: Yes ", "yes"]),
    HOSTILE,
)


@FORMS
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_replies_end_in_an_outcome(config, data):
    item = instance(config)
    referee = Referee(GAME, item)
    pending = referee.advance()
    valid = data.draw(st.integers(0, 16))
    while pending is not None:
        fitting = QUESTION if pending.role == "guesser" else YES
        if len(referee.episode.replies()) >= valid:
            fitting = data.draw(TURNS if pending.role == "guesser" else ANSWERS)
        pending = referee.advance(Reply(fitting))
    episode = referee.episode
    numbers = scores(episode)
    assert numbers["Aborted"] + (numbers["Success"] or 0) + (numbers["Lose"] or 0) == 1
    assert numbers["Request Count"] == (len(episode.replies()) + 1) // 2
    assert sum(numbers[key] for key in NO_VIOLATION) == numbers["Aborted"]
    assert (numbers["Main Score"] is None) == episode.aborted
    assert replay(GAME, item, episode).divergences == []


HUGE = 2_000_000


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "QUESTION:" + "?" * HUGE,
        "QUESTION:" * HUGE,
        "GUESS: " + "a " * HUGE,
        "x" * HUGE,
        "QUESTION: is the target word '" + "a" * HUGE + "'? x",
    ],
    ids=["marks", "tags", "words", "no tag", "quotes"],
)
def test_huge_replies_abort(config, text):
    assert finished(text, item=instance(config)).aborted
    assert finished(QUESTION, text, item=instance(config)).aborted


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "is the target word" + " " * HUGE,
        "is the target word '" + "a\x01 " * HUGE,
        "does the target word have exactly " + "1" * HUGE,
        "does the target word have the letter" + "\n" * HUGE + "5",
        "does the target word have the letter5 " * (HUGE // 20),
    ],
    ids=["blanks", "quotes", "digits", "lines", "repeated"],
)
def test_huge_questions_are_checked_in_linear_time(config, text):
    """A pattern that tries quadratically many ways would take hours here."""
    assert not played(instance(config), f"QUESTION: {text}").complete
