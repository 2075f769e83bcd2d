"""The rules of the reference game: reply forms, flow, scores, hostile replies."""

from __future__ import annotations

import tracemalloc
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, shown, whole

from playpen import Episode, Experiment, Instance
from playpen.prompts import PromptError
from playpen.scoring import episode_scores, score_episodes
from playpen_clembench.referencegame.game import ReferenceGame
from playpen_clembench.referencegame.replies import reader

GAME = ReferenceGame()

TARGET = "X X X X X\nX □ □ □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X"
SECOND = "X X X X X\nX □ □ □ X\nX □ X □ X\nX □ □ □ X\nX X X X X"
THIRD = "X X X X X\nX □ X □ X\nX □ X □ X\nX □ □ □ X\nX X X X X"

OWN: dict[str, Any] = {
    "game_id": 0,
    "player_1_target_grid": TARGET,
    "player_1_second_grid": SECOND,
    "player_1_third_grid": THIRD,
    "player_2_first_grid": TARGET,
    "player_2_second_grid": SECOND,
    "player_2_third_grid": THIRD,
    "target_grid_name": ["first", "1"],
    "lang": "en",
    "p1_mode": "strict",
    "p2_mode": "strict",
}
GIVEN: dict[str, Any] = {
    **OWN,
    "player_1_prompt_header": "Tell $TAG$ about it.",
    "player_2_prompt_header": "Which one? TARGET_EXPRESSION / TARGET_EXPRESSION",
    "player_1_response_pattern": (
        "^(?P<tag>expression:\\s*)(?P<content>(?P<response>.+)\n*(?P<remainder>(.|\n)*))"
    ),
    "player_2_response_pattern": (
        "^(?P<tag>answer:\\s*)(?P<content>(?P<response>first|second|third|1|2|3).*\n*"
        "(?P<remainder>(.|\n)*))"
    ),
}
ESCAPED = {
    **GIVEN,
    "player_1_response_pattern": GIVEN["player_1_response_pattern"].replace("\n", "\\n"),
    "player_2_response_pattern": GIVEN["player_2_response_pattern"].replace("\n", "\\n"),
}
FORMS = pytest.mark.parametrize("data", [OWN, GIVEN, ESCAPED], ids=["own", "given", "escaped"])


def instance(data: dict[str, Any], **changes: Any) -> Instance:
    return Instance(GAME.name, Experiment("letter_grids", {}), {**data, **changes})


played = partial(by_turns, GAME)


def finished(item: Instance, *replies: str) -> Episode:
    return whole(played(item, *replies))


# --- reply forms (docs/rules/referencegame.md, "Reply format") ------------------------------------

ACCEPTED_EXPRESSIONS = [
    "Expression: the frame with a gap",
    "EXPRESSION: x",
    "Expression:x",
    "Expression:\nthe one",
    "Expression: a\n\n",
    "Expression: ",
    "Expression: a\rb",
    "Expression:\r",
]
EXPRESSIONS_WITH_MORE = ["Expression: a\nb", "Expression: a\n \n", "Expression: a\n\r\n"]
REJECTED_EXPRESSIONS = [
    "",
    "Expression:",
    "Expression:\n\n",
    "The frame with a gap",
    " Expression: a",
    "\nExpression: a",
    "Expression : a",
    "**Expression:** a",
]


@FORMS
@pytest.mark.parametrize("mode", ["strict", "liberal"])
@pytest.mark.parametrize("text", ACCEPTED_EXPRESSIONS)
def test_expressions_that_are_accepted(data: dict[str, Any], mode: str, text: str) -> None:
    result = played(instance(data, p1_mode=mode), text)
    assert not result.complete
    (prompt,) = shown(result.episode, "follower")
    assert text in prompt


@FORMS
@pytest.mark.parametrize("text", EXPRESSIONS_WITH_MORE)
def test_only_the_liberal_mode_takes_more_than_an_expression(
    data: dict[str, Any], text: str
) -> None:
    assert finished(instance(data), text).outcome.code == "extra_text"  # type: ignore[union-attr]
    assert not played(instance(data, p1_mode="liberal"), text).complete


@FORMS
@pytest.mark.parametrize("mode", ["strict", "liberal"])
@pytest.mark.parametrize("text", REJECTED_EXPRESSIONS)
def test_expressions_that_are_rejected(data: dict[str, Any], mode: str, text: str) -> None:
    episode = finished(instance(data, p1_mode=mode), text)
    assert episode.aborted
    assert episode.outcome.code == "invalid_format"  # type: ignore[union-attr]
    assert episode.outcome.fault == "giver"  # type: ignore[union-attr]
    assert shown(episode, "follower") == []


RIGHT_ANSWERS = [
    "Answer: first",
    "answer:FIRST",
    "Answer: First.",
    "Answer: 1st grid",
    "Answer: 10",
    "Answer: firstly the second",
    "Answer:\nfirst",
    "Answer: first\n\n",
    "Answer: first\rsecond",
]
WRONG_ANSWERS = [
    "Answer: second",
    "Answer: 2",
    "answer: Third!",
    "Answer: 31",
    "Answer: \u017fecond",
]
ANSWERS_WITH_MORE = ["Answer: first\nbecause", "Answer: first\n \n"]
REJECTED_ANSWERS = [
    "",
    "first",
    "Answer:",
    "Answer: the first",
    'Answer: "first"',
    "Answer: Grid 1",
    "Answer: two",
    " Answer: first",
]


@FORMS
@pytest.mark.parametrize("mode", ["strict", "liberal"])
@pytest.mark.parametrize("text", RIGHT_ANSWERS)
def test_answers_that_are_right(data: dict[str, Any], mode: str, text: str) -> None:
    episode = finished(instance(data, p2_mode=mode), "Expression: a", text)
    assert episode.success
    assert episode.main_score == 100


@FORMS
@pytest.mark.parametrize("mode", ["strict", "liberal"])
@pytest.mark.parametrize("text", WRONG_ANSWERS)
def test_answers_that_are_wrong(data: dict[str, Any], mode: str, text: str) -> None:
    episode = finished(instance(data, p2_mode=mode), "Expression: a", text)
    assert episode.lose
    assert episode.main_score == 0


@FORMS
@pytest.mark.parametrize("text", ANSWERS_WITH_MORE)
def test_only_the_liberal_mode_takes_more_than_an_answer(data: dict[str, Any], text: str) -> None:
    strict = finished(instance(data), "Expression: a", text)
    assert strict.outcome.code == "extra_text"  # type: ignore[union-attr]
    assert strict.outcome.fault == "follower"  # type: ignore[union-attr]
    assert finished(instance(data, p2_mode="liberal"), "Expression: a", text).success


@FORMS
@pytest.mark.parametrize("mode", ["strict", "liberal"])
@pytest.mark.parametrize("text", REJECTED_ANSWERS)
def test_answers_that_are_rejected(data: dict[str, Any], mode: str, text: str) -> None:
    episode = finished(instance(data, p2_mode=mode), "Expression: a", text)
    assert episode.aborted
    assert episode.outcome.code == "invalid_format"  # type: ignore[union-attr]
    assert episode.outcome.fault == "follower"  # type: ignore[union-attr]


def test_the_modes_are_those_of_the_player() -> None:
    mixed = instance(OWN, p1_mode="liberal")
    assert finished(mixed, "Expression: a\nb", "Answer: first\nb").outcome.fault == "follower"  # type: ignore[union-attr]


def test_a_pattern_of_the_instance_replaces_tag_and_labels() -> None:
    item = instance(
        GIVEN,
        target_grid_name=["drittes", "3"],
        lang="de",
        player_1_response_pattern=(
            "^(?P<tag>ausdruck:\\s*)(?P<content>(?P<response>.+)\n*(?P<remainder>(.|\n)*))"
        ),
        player_2_response_pattern=(
            "^(?P<tag>antwort:\\s*)(?P<content>(?P<response>erstes|drittes|3).*\n*"
            "(?P<remainder>(.|\n)*))"
        ),
    )
    assert finished(item, "Ausdruck: ein Ring", "ANTWORT: Drittes").success
    assert finished(item, "Expression: a ring").aborted


def test_a_very_old_target_name_is_tested_as_a_part() -> None:
    assert finished(
        instance(GIVEN, target_grid_name="first1"), "Expression: a", "Answer: 1"
    ).success
    assert finished(instance(GIVEN, target_grid_name="first"), "Expression: a", "Answer: 1").lose


def test_a_language_without_a_folder_is_named() -> None:
    with pytest.raises(PromptError, match=r"prompts/xx/words\.json"):
        played(instance(OWN, lang="xx"))


# --- prompts -------------------------------------------------------------------------------------


def test_given_prompts_are_used_unchanged() -> None:
    episode = finished(instance(GIVEN), "Expression: a ring", "Answer: 1")
    assert shown(episode, "giver") == ["Tell $TAG$ about it."]
    assert shown(episode, "follower") == ["Which one? Expression: a ring / Expression: a ring"]


@pytest.mark.parametrize("data", [OWN, GIVEN], ids=["own", "given"])
def test_a_placeholder_inside_the_expression_stays(data: dict[str, Any]) -> None:
    tricky = "Expression: TARGET_EXPRESSION and $FIRST_GRID$ \\1"
    (plain,) = shown(played(instance(data), "Expression: @").episode, "follower")
    (prompt,) = shown(played(instance(data), tricky).episode, "follower")
    assert prompt == plain.replace("Expression: @", tricky)


def test_our_own_prompts_show_the_grids_in_each_players_order() -> None:
    item = instance(OWN, player_2_first_grid=THIRD, player_2_third_grid=TARGET)
    episode = played(item, "Expression: a ring").episode
    (giver,), (follower,) = shown(episode, "giver"), shown(episode, "follower")
    assert giver.index(TARGET) < giver.index(SECOND) < giver.index(THIRD)
    assert follower.index(THIRD) < follower.index(SECOND) < follower.index(TARGET)
    assert "Expression: a ring" in follower.splitlines()
    for prompt in (giver, follower):
        assert "X stands for a filled cell, □ for an empty one" in prompt
        assert "▢" not in prompt


# --- scores (docs/rules/referencegame.md, "Scores") -----------------------------------------------

COMPLETED_COUNTS = {
    "Aborted at Player 1": 0,
    "Aborted at Player 2": 0,
    "Request Count": 2,
    "Parsed Request Count": 2,
    "Violated Request Count": 0,
    "Aborted": 0,
    "Request Success Ratio": 1.0,
}
SIZE = {"Generated Expression Length": 19, "Generated Expression Number of Tokens": 4}
NO_SIZE: dict[str, Any] = dict.fromkeys(SIZE)


@pytest.mark.parametrize(
    ("replies", "expected", "expected_round"),
    [
        (
            ("Expression: a  ring", "Answer: 1"),
            {**SIZE, **COMPLETED_COUNTS, "Success": 1, "Lose": 0, "Main Score": 100},
            {**SIZE, "Success": 1},
        ),
        (
            ("Expression: a  ring", "Answer: 2"),
            {**SIZE, **COMPLETED_COUNTS, "Success": 0, "Lose": 1, "Main Score": 0},
            {**SIZE, "Success": 0},
        ),
        (
            ("Expression: a  ring", "no"),
            {
                **SIZE,
                "Aborted at Player 1": 0,
                "Aborted at Player 2": 1,
                "Request Count": 2,
                "Parsed Request Count": 1,
                "Violated Request Count": 1,
                "Aborted": 1,
                "Success": None,
                "Lose": None,
                "Main Score": None,
                "Request Success Ratio": 0.5,
            },
            {**SIZE, "Success": 0},
        ),
        (
            ("a  ring",),
            {
                **NO_SIZE,
                "Aborted at Player 1": 1,
                "Aborted at Player 2": 0,
                "Request Count": 1,
                "Parsed Request Count": 0,
                "Violated Request Count": 1,
                "Aborted": 1,
                "Success": None,
                "Lose": None,
                "Main Score": None,
                "Request Success Ratio": 0.0,
            },
            {**NO_SIZE, "Success": 0},
        ),
    ],
    ids=["won", "lost", "aborted by the follower", "aborted by the giver"],
)
def test_scores(
    replies: tuple[str, ...], expected: dict[str, Any], expected_round: dict[str, Any]
) -> None:
    episode = finished(instance(OWN), *replies)
    assert episode_scores(GAME, episode) == expected
    counts = {key: value for key, value in expected.items() if key.endswith("Request Count")}
    assert GAME.metrics(episode).rounds == {"0": {**expected_round, **counts}}


def test_the_expression_is_measured_with_its_tag_and_all_white_space() -> None:
    episode = finished(instance(OWN), "Expression:  a\n\n", "Answer: 1")
    scores = GAME.metrics(episode).episode
    assert scores["Generated Expression Length"] == 16
    assert scores["Generated Expression Number of Tokens"] == 3


def test_an_episode_without_replies_has_no_ratio() -> None:
    scores = GAME.metrics(played(instance(OWN)).episode).episode
    assert scores["Request Count"] == 0
    assert scores["Request Success Ratio"] is None


def test_aborted_episodes_count_as_not_played_only() -> None:
    item = instance(OWN)
    episodes = [
        finished(item, "Expression: a", answer) for answer in ("Answer: 1", "Answer: 2", "1")
    ]
    for number, episode in enumerate(episodes):
        episode.repeat = number
    (table,) = score_episodes(episodes, {GAME.name: GAME}).games
    assert (table.aborted, table.success, table.lose) == (1, 1, 1)
    assert table.quality == 50.0


# --- any reply -----------------------------------------------------------------------------------

REPLIES = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="expressionanswer: \n\r12first", max_size=40),
    st.builds(str.__add__, st.sampled_from(["Expression:", "Answer:"]), st.text(max_size=40)),
)


@settings(max_examples=150)
@given(st.sampled_from([OWN, GIVEN]), REPLIES, REPLIES, st.sampled_from(["strict", "liberal"]))
def test_any_replies_end_in_an_outcome(
    data: dict[str, Any], first: str, second: str, mode: str
) -> None:
    item = instance(data, p1_mode=mode, p2_mode=mode)
    result = played(item, first, second)
    assert result.complete
    scores = episode_scores(GAME, result.episode)
    assert scores["Parsed Request Count"] + scores["Violated Request Count"] in (1, 2)
    assert (scores["Main Score"] is None) == bool(scores["Aborted"])


HUGE = 1_000_000


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "Expression:" + "\n" * HUGE,
        "Expression:" + "\r\n" * HUGE,
        "Expression: a" + "\n" * HUGE + "b",
        "Expression: a" + "\nb" * HUGE,
        "Expression: " + "a" * HUGE,
        "Expression:" + "\x1c" * HUGE,
        "\0" * HUGE,
    ],
    ids=["newlines", "returns", "late rest", "lines", "line", "separators", "zeros"],
)
def test_huge_replies_end_in_an_outcome(data: dict[str, Any], text: str) -> None:
    """A match that tries quadratically many ways would take hours here."""
    result = played(instance(data), text, text.replace("Expression", "Answer"))
    assert result.complete
    assert result.episode.aborted


@FORMS
def test_a_huge_reply_takes_no_more_memory_than_its_length(data: dict[str, Any]) -> None:
    text = "Expression: a" + "\nb" * (HUGE // 2)
    read = reader(instance(data, p1_mode="liberal"), 1)
    tracemalloc.start()
    try:
        read(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(text)
