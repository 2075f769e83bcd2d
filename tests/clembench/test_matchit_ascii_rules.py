"""The rules of match it: reply tables, flow, texts, scores, leaks, hostile replies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import whole

from playpen import Abort, Ask, Experiment, Instance, Lose, Reply, Reward, Round, Success, Violated
from playpen.episode import Episode
from playpen.prompts import PromptError
from playpen.replay import replay, replay_script
from playpen.scoring import episode_scores
from playpen_clembench.matchit_ascii.game import MatchItAscii

GAME = MatchItAscii()
A, B = "player_a", "player_b"
GRID_A = "X ▢ ▢ ▢ X\n▢ X ▢ X ▢\n▢ ▢ X ▢ ▢\n▢ X ▢ X ▢\nX ▢ ▢ ▢ X"
GRID_B = "▢ ▢ X ▢ ▢\n▢ ▢ X ▢ ▢\nX X X X X\n▢ ▢ X ▢ ▢\n▢ ▢ X ▢ ▢"
SAME, OTHER = "DECISION: same grid", "DECISION: different grids"

FLAGS = {
    "description": "DESCRIPTION:",
    "question": "QUESTION:",
    "answer": "ANSWER:",
    "decision": "DECISION:",
}
GIVEN = {
    "initial_prompt": "FIRST\n$GRID$",
    "desc_intro": "Mine is ",
    "q_reprompt": "ASK!",
    "a_request": " ANSWER!",
    "d_reprompt": "DECIDE!\n",
    "flags": FLAGS,
}
SOLUTIONS = {"solution": "different grids", "wrong_solution": "same grid"}
FORMS = pytest.mark.parametrize("texts", [GIVEN, {}], ids=["given", "own"])


def grids(texts=GIVEN, questions=3, grid_a=GRID_A, grid_b=GRID_B, **more):
    config = {**SOLUTIONS, **texts, **more}
    data = {"game_id": 0, "grid_a": grid_a, "grid_b": grid_b, "decision_turn": questions}
    return Instance("matchit_ascii", Experiment("different_grid", config), data)


def order(questions):
    """Who speaks, and in which form."""
    turns = [(A, "DESCRIPTION:"), (B, "DESCRIPTION:"), (B, "QUESTION:")]
    for number in range(questions):
        turns += [(A, "ANSWER:"), (A, "QUESTION:"), (B, "ANSWER:")]
        turns.append((B, "QUESTION:") if number < questions - 1 else (B, "DECISION:"))
    return [*turns, (A, "DECISION:")]


def script(questions=3, by_a=OTHER, by_b=OTHER, **changed):
    """A complete game; `changed` maps ``_<number>`` of a reply to another text."""
    replies = []
    for number, (role, flag) in enumerate(order(questions)):
        text = f"{flag} {role[-1]}{number}"
        if flag == "DECISION:":
            text = by_a if role == A else by_b
        replies.append((role, Reply(changed.get(f"_{number}", text))))
    return replies


def finished(item, replies) -> Episode:
    return whole(replay_script(GAME, item, replies))


def until(number, text, item=None, questions=3):
    """The game up to the reply of that number, which is `text`."""
    replies = script(questions)[:number]
    role = order(questions)[number][0]
    item = item or grids(questions=questions)
    return replay_script(GAME, item, [*replies, (role, Reply(text))])


def asked(episode, role=None):
    return [e.text for e in episode.events if isinstance(e, Ask) and role in (None, e.role)]


def violations(episode):
    return [(e.role, e.code) for e in episode.events if isinstance(e, Violated)]


# --- reply forms (docs/rules/matchit_ascii.md, "Reply format") ------------------------------------

FLAGGED = [
    ("{} X on top", True),
    ("  {} x", True),
    ("\n\n{} x", True),
    ("{}\nX X", True),
    ("{}", True),
    ("{} \n", True),
    ("{} a\nQUESTION: b\nDECISION: c", True),
    ("{} x<|end_of_text|>", True),
    ("\u00a0{} x", True),
    ("{}x", False),
    ("**{}** x", False),
    ("{}\tx", False),
    ("{}\u00a0x", False),
    ("{}\r\nx", False),
    ("Sure!\n{} x", False),
    ("Sure! {} x", False),
    ('"{} x"', False),
    ("WRONG: {}", False),
]


@pytest.mark.parametrize("number", range(16))
@pytest.mark.parametrize(("form", "valid"), FLAGGED)
def test_what_begins_with_the_flag(number, form, valid):
    role, flag = order(3)[number]
    if flag == "DECISION:":
        # The flag decides about the first of two checks, the wording about the second.
        episode = until(number, form.format(flag)).episode
        code = "unknown_decision" if valid else "missing_flag"
        assert violations(episode) == [(role, code)]
        return
    result = until(number, form.format(flag))
    assert result.complete == (not valid)
    assert violations(result.episode) == ([] if valid else [(role, "missing_flag")])
    if not valid:
        assert isinstance(result.episode.outcome, Abort)
        assert result.episode.outcome.fault == role


@pytest.mark.parametrize("number", [0, 2, 3, 14])
@pytest.mark.parametrize("text", ["", " ", "\n", "\t\r\n \u2003"])
def test_blank_replies_abort(number, text):
    episode = until(number, text).episode
    assert violations(episode) == [(order(3)[number][0], "empty_reply")]


@pytest.mark.parametrize(
    "text", ["Description: x", "description: x", "QUESTION: x", "DESCRIPTION x"]
)
def test_the_flag_is_compared_exactly(text):
    assert violations(until(0, text).episode) == [(A, "missing_flag")]


DECISIONS = [
    ("DECISION: same grid", "same"),
    ("DECISION: Same Grid.", "same"),
    ("DECISION: SAME GRID...\n", "same"),
    ("\nDECISION: same grid", "same"),
    ("DECISION: same grid\n.\n", "same"),
    ("DECISION: different grids.\n", "different"),
    ("DECISION: DIFFERENT grids", "different"),
    ("DECISION: same grid ", "unknown_decision"),
    (" DECISION: same grid", "unknown_decision"),
    ("DECISION:  same grid", "unknown_decision"),
    ("DECISION: different grid", "unknown_decision"),
    ("DECISION: same grids", "unknown_decision"),
    ("DECISION: same grid!", "unknown_decision"),
    ("DECISION: same grid. ", "unknown_decision"),
    ("DECISION: same grid\nThey match.", "unknown_decision"),
    ("DECISION: same grid<|end_of_text|>", "unknown_decision"),
    ("DECISION:\nsame grid", "unknown_decision"),
    ("DECISION:", "unknown_decision"),
    ("\tDECISION: same grid", "unknown_decision"),
    (".DECISION: same grid", "missing_flag"),
    ("DECISION:same grid", "missing_flag"),
    ("decision: same grid", "missing_flag"),
    ("Decision: same grid", "missing_flag"),
    ("same grid", "missing_flag"),
    ("", "empty_reply"),
]


@pytest.mark.parametrize("number", [14, 15])
@pytest.mark.parametrize(("text", "verdict"), DECISIONS)
def test_what_a_decision_may_be(number, text, verdict):
    episode = until(number, text).episode
    role = order(3)[number][0]
    if verdict in ("same", "different"):
        assert not violations(episode)
        rewards = {e.role: e.value for e in episode.events if isinstance(e, Reward)}
        assert rewards[role] == (verdict == "different")
    else:
        assert violations(episode) == [(role, verdict)]
        assert isinstance(episode.outcome, Abort)


# --- flow ----------------------------------------------------------------------------------------


def test_messages_with_given_texts():
    episode = finished(grids(questions=2), script(2))
    assert asked(episode, A) == [
        f"FIRST\n{GRID_A}",
        "Mine is DESCRIPTION: b1\nQUESTION: b2 ANSWER!",
        "ASK!",
        "ANSWER: b5\nQUESTION: b6 ANSWER!",
        "ASK!",
        "ANSWER: b9\nDECIDE!\n",
    ]
    assert asked(episode, B) == [
        f"FIRST\n{GRID_B}",
        "Mine is DESCRIPTION: a0\nASK!",
        "ANSWER: a3\nQUESTION: a4 ANSWER!",
        "ASK!",
        "ANSWER: a7\nQUESTION: a8 ANSWER!",
        "DECIDE!\n",
    ]


@FORMS
@pytest.mark.parametrize("questions", [1, 2, 3, 5])
def test_who_speaks_when(texts, questions):
    episode = finished(grids(texts, questions), script(questions))
    assert [said.role for said in episode.replies()] == [role for role, _ in order(questions)]
    assert len(episode.replies()) == 4 + 4 * questions
    rounds, spoken = [], 0
    for event in episode.events:
        if isinstance(event, Ask):
            spoken += 1
        elif isinstance(event, Round):
            rounds.append(spoken)
            spoken = 0
    assert [*rounds, spoken] == [3, *[4] * questions, 1]


def test_texts_are_passed_on_stripped_and_otherwise_unchanged():
    odd = "DESCRIPTION:  a \n\nQUESTION: $GRID$ $TAG$"
    episode = finished(grids(questions=1), script(1, _0=f"\n {odd}\t\n"))
    assert asked(episode, B)[1] == f"Mine is {odd}\nASK!"
    # The player itself keeps what it wrote.
    assert episode.conversation(A)[1].content == f"\n {odd}\t\n"


def test_our_own_texts():
    episode = finished(grids({}), script())
    first, answer, question, *_, decision = asked(episode, A)
    assert f"\n\n{GRID_A}\n\n" in first and " 3 each way" in first
    assert first.count("DESCRIPTION:") == 1
    assert answer.startswith("What my grid looks like:\nDESCRIPTION: b1\nQUESTION: b2\n\nNow ")
    assert answer.count("ANSWER:") == 1
    assert question.count("QUESTION:") == 1
    assert decision.startswith("ANSWER: b13\n")
    assert decision.endswith(f"\n\n{OTHER}\n{SAME}")
    assert "$" not in "".join(asked(episode))
    # The order of the choices does not tell which one is right.
    swapped = {"solution": "same grid", "wrong_solution": "different grids"}
    assert asked(finished(grids({}, **swapped), script())) == asked(episode)


def test_our_own_texts_name_the_given_flags():
    flags = {
        "description": "SEEN:",
        "question": "ASK:",
        "answer": "SAY:",
        "decision": "END:",
    }
    words = dict(zip(FLAGS.values(), flags.values(), strict=True))
    replies = [
        (role, Reply(words[flag] + (" Same grid" if flag == "DECISION:" else "")))
        for role, flag in order(1)
    ]
    episode = finished(grids({"flags": flags}, 1), replies)
    assert episode.outcome == Lose(0)
    text = "\n".join(asked(episode))
    assert not any(flag in text for flag in FLAGS.values())
    assert all(flag in text for flag in flags.values())


def test_a_language_that_we_do_not_speak():
    german = {
        **GIVEN,
        "solution": "gleich",
        "wrong_solution": "verschieden",
        "lang": "de",
    }
    replies = script(by_a="DECISION: Gleich.", by_b="DECISION: gleich")
    assert finished(grids(german), replies).success
    with pytest.raises(PromptError, match="no words for language 'de'"):
        replay_script(GAME, grids({"lang": "de"}), script())


# --- outcome and scores (docs/rules/matchit_ascii.md, "Ends" and "Scores") ------------------------


def counts(requests, violated):
    return {
        "Violated Request Count": violated,
        "Parsed Request Count": requests - violated,
        "Request Count": requests,
    }


@pytest.mark.parametrize(
    ("by_a", "by_b", "outcome", "main", "player"),
    [
        (OTHER, OTHER, Success(100), 100, 100),
        (OTHER, SAME, Lose(0, fault=B), 0, 50),
        (SAME, OTHER, Lose(0, fault=A), 0, 50),
        (SAME, SAME, Lose(0), 0, 0),
    ],
)
def test_scores_of_a_complete_game(by_a, by_b, outcome, main, player):
    episode = finished(grids(), script(by_a=by_a, by_b=by_b))
    assert episode.outcome == outcome
    assert episode_scores(GAME, episode) == {
        **counts(16, 0),
        "Aborted": 0,
        "Success": int(main == 100),
        "Lose": int(main == 0),
        "Main Score": main,
        "Player Score": player,
    }
    assert GAME.metrics(episode).rounds == {
        "0": counts(3, 0),
        "1": counts(4, 0),
        "2": counts(4, 0),
        "3": counts(4, 0),
        "4": counts(1, 0),
    }


@pytest.mark.parametrize("number", range(16))
@pytest.mark.parametrize("text", ["", "no flag"])
def test_scores_of_an_aborted_game(number, text):
    episode = until(number, text).episode
    assert episode_scores(GAME, episode) == {
        **counts(number + 1, 1),
        "Aborted": 1,
        "Success": 0,
        "Lose": 0,
        "Main Score": None,
        "Player Score": None,
    }
    # Rounds of 3, 4, 4, 4 and 1 replies; the last one holds the violation.
    sizes = [3, 4, 4, 4, 1]
    expected, left = {}, number + 1
    for key, size in enumerate(sizes):
        if left > 0:
            expected[str(key)] = counts(min(left, size), int(left <= size))
        left -= size
    assert GAME.metrics(episode).rounds == expected


@pytest.mark.parametrize(("number", "key", "before"), [(14, "3", 3), (15, "4", 0)])
def test_a_decision_in_other_words_counts_twice(number, key, before):
    episode = until(number, "DECISION: perhaps").episode
    scores = episode_scores(GAME, episode)
    assert {name: scores[name] for name in counts(0, 0)} == counts(number + 2, 1)
    assert GAME.metrics(episode).rounds[key] == counts(before + 2, 1)


def test_a_wrong_decision_does_not_end_the_game():
    result = until(14, SAME)
    assert not result.complete
    assert asked(result.episode)[-1] == "ANSWER: b13\nDECIDE!\n"


# --- any reply -----------------------------------------------------------------------------------

NEAR = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "", "", " ", "\n", "\x00", "."]),
    st.sampled_from([*FLAGS.values(), "Decision:", ""]),
    st.sampled_from([" ", " ", "", "\n", "\t", "  "]),
    st.sampled_from(["x", "same grid", "Different grids", "same grid.", ".\n", "", "▢", "$GRID$"]),
)


@FORMS
@settings(max_examples=200, deadline=None)
@given(st.lists(NEAR | st.text(max_size=30), max_size=18), st.integers(0, 16), st.integers(1, 4))
def test_any_replies_end_in_an_outcome_and_replay_identically(texts, odd, well, questions):
    item = grids(texts, questions)
    replies = [*script(questions)[:well], *((None, Reply(text)) for text in odd)]
    replies += [(None, Reply("no flag"))]
    result = replay_script(GAME, item, replies)
    assert result.complete and not result.divergences
    episode = result.episode
    scores = episode_scores(GAME, episode)
    assert scores["Aborted"] + scores["Success"] + scores["Lose"] == 1
    assert (scores["Main Score"] is None) == (scores["Player Score"] is None) == episode.aborted
    assert scores["Violated Request Count"] == episode.aborted
    assert 0 <= scores["Request Count"] - len(episode.replies()) <= 1
    assert replay(GAME, item, episode).divergences == []


@FORMS
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_player_learns_the_other_grid_but_from_the_other_player(texts, data):
    item = grids(texts, grid_a="canary-a", grid_b="canary-b")
    replies = [
        (role, Reply(f"{flag} {data.draw(st.text(max_size=10))}")) for role, flag in order(3)[:-2]
    ]
    episode = replay_script(GAME, item, replies).episode
    for role, other in ((A, "canary-b"), (B, "canary-a")):
        assert not any(other in text for text in asked(episode, role))


HUGE = 10_000_000


@pytest.mark.parametrize(
    "text",
    ["x" * HUGE, " " * HUGE, "\n" * HUGE, ".\n" * (HUGE // 2), "\0" * HUGE, "x " * (HUGE // 2)],
    ids=["x", "blanks", "lines", "stops", "zeros", "words"],
)
def test_huge_replies_end_in_an_outcome(text):
    assert until(0, text).episode.aborted
    assert until(14, f"DECISION: {text}").episode.aborted
    # Only line feeds and full stops may surround a decision.
    accepted = not until(14, f"{text}DECISION: same grid").complete
    assert accepted == (text[0] == "\n")
    replies = script(1, _0=f"DESCRIPTION: {text}", _4=f"QUESTION:\n{text}")
    assert finished(grids(questions=1), replies).success


def test_replies_that_no_text_file_can_hold():
    assert until(0, "\ud800").episode.aborted
    assert finished(grids(), script(_0="DESCRIPTION: \ud800")).success
