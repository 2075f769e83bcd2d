"""The rules of the image game: reply forms, flow, comparison of drawings, scores, any replies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, shown, whole

from playpen.conversation import Reply
from playpen.episode import Episode
from playpen.instance import Experiment, Instance
from playpen.moves import Reward
from playpen.referee import Referee
from playpen.replay import replay
from playpen.scoring import episode_scores
from playpen_clembench.imagegame.drawing import blank, changed_cells, shape, similarity
from playpen_clembench.imagegame.game import ImageGame

GAME = ImageGame()

TARGET = "K K K K K\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\nK K K K K"
TOP = "K K K K K\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢"
EMPTY = blank(5)
FULL = EMPTY.replace("▢", "K")
CORNER = "K ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢"
DONE = "Command: DONE"

OWN: dict[str, Any] = {"game_id": 0, "grid_dimension": 5, "target_grid": TARGET}
GIVEN: dict[str, Any] = {
    **OWN,
    "player_1_prompt_header": "GIVER $TARGET$",
    "player_2_prompt_header": "FOLLOWER $5",
    "player_1_question": "NEXT?",
    "number_of_letters": 0,
    "fill_row": False,
    "fill_column": False,
    "player_1_response_pattern": "^command: [^\n]+$",
    "player_1_terminate_pattern": "^\\s*command\\s*:\\s*done\\s*$",
    "player_2_response_pattern": "^\n*" + "\n".join(["([A-Z▢]\\s){4}[A-Z▢]"] * 5) + "\n*$",
}
FORMS = pytest.mark.parametrize("data", [OWN, GIVEN], ids=["own", "given"])


def instance(data: dict[str, Any] = GIVEN, **changes: Any) -> Instance:
    return Instance(GAME.name, Experiment("compact_grids", {}), {**data, **changes})


def finished(*replies: str, item: Instance | None = None, game: ImageGame = GAME) -> Episode:
    return whole(by_turns(game, item or instance(), *replies))


def scores(episode: Episode) -> dict[str, Any]:
    return episode_scores(GAME, episode)


def rounds(episode: Episode) -> dict[str, dict[str, Any]]:
    return GAME.metrics(episode).rounds


# --- reply forms (docs/rules/imagegame.md, "Reply format") ----------------------------------------


@FORMS
@pytest.mark.parametrize(
    ("text", "passed_on"),
    [
        ("Command: fill row one with B", "Command: fill row one with B"),
        ("COMMAND: put an A top left", "COMMAND: put an A top left"),
        ("Command: x\n", "Command: x"),
        ("Command: DONE.", "Command: DONE."),
        ("Command: done with row one", "Command: done with row one"),
        ("Command:  x ", "Command:  x "),
        ("Command: x\rmore", "Command: x\rmore"),
    ],
)
def test_commands_that_are_passed_on(data, text, passed_on):
    result = by_turns(GAME, instance(data), text)
    assert not result.complete
    (prompt,) = shown(result.episode, "follower")
    assert prompt.endswith(f"\n\n{passed_on}")


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "Command: DONE",
        "command:done",
        "  Command :  Done  ",
        "Command: DONE\n\n",
        "\nCOMMAND:\nDONE",
    ],
)
def test_commands_that_end_the_game(data, text):
    episode = finished(text, item=instance(data))
    assert not episode.aborted
    assert shown(episode, "follower") == []


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "",
        "DONE",
        "Command:fill",
        "Command : fill",
        "Command: ",
        " Command: x",
        "\nCommand: x",
        "Command: x\nmore",
        "Command: x\n\n",
        "Command: \n",
        "Command: DONE\nmore",
        "Instruction: x",
        "**Command:** x",
    ],
)
def test_commands_that_abort(data, text):
    episode = finished(text, item=instance(data))
    assert episode.outcome.code == "invalid_command"
    assert episode.outcome.fault == "giver"


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        TOP,
        f"\n\n{TOP}\n\n\n",
        TOP.replace(" ", "\t"),
        TOP.replace(" ", "\u3000"),
        TOP.replace(" ", "\n", 1),
        FULL,
        EMPTY,
    ],
)
def test_grids_that_are_accepted(data, text):
    assert not finished("Command: x", text, DONE, item=instance(data)).aborted


@FORMS
@pytest.mark.parametrize(
    "text",
    [
        "",
        TOP.lower(),
        " " + TOP,
        TOP + " ",
        TOP.replace("\n", " \n", 1),
        "Here you are:\n" + TOP,
        f"```\n{TOP}\n```",
        f"Command: x\n{TOP}",
        TOP.replace("▢", "□"),
        TOP.replace("▢", "_"),
        TOP.replace("K", "1", 1),
        TOP.replace("K", "KK", 1),
        TOP.replace("K", "É", 1),
        TOP.rpartition("\n")[0],
        TOP + "\n▢ ▢ ▢ ▢ ▢",
        TOP.replace("\n", "\n\n", 1),
        TOP.replace(" ", "  ", 1),
        TOP.replace("\n", "\r\n"),
    ],
)
def test_grids_that_abort(data, text):
    episode = finished("Command: x", text, item=instance(data))
    assert episode.outcome.code == "invalid_grid"
    assert episode.outcome.fault == "follower"


def test_the_instances_own_patterns_count():
    item = instance(
        player_1_response_pattern="^befehl: .+$",
        player_1_terminate_pattern="^befehl: fertig$",
        player_2_response_pattern="^[A-Z▢ \n]+$",
    )
    assert not finished("BEFEHL: x", TOP, "Befehl: FERTIG", item=item).aborted
    assert finished("Command: x", item=item).aborted
    assert finished("Befehl: x", TOP.lower(), item=item).aborted


# --- flow ----------------------------------------------------------------------------------------


def test_messages_with_given_prompts():
    episode = finished("Command: a", TOP, "Command: b\n", TARGET, DONE)
    assert shown(episode, "giver") == [f"GIVER $TARGET$\n{TARGET}\nNEXT?", "NEXT?", "NEXT?"]
    assert shown(episode, "follower") == ["FOLLOWER $5\n\nCommand: a", "Command: b"]


def test_messages_with_our_own_prompts():
    episode = finished("Command: a", TOP, "Command: b", TARGET, DONE, item=instance(OWN))
    first, *later = shown(episode, "giver")
    assert len(set(later)) == 1 and first.endswith(f"\n{TARGET}\n{later[0]}")
    first, second = shown(episode, "follower")
    assert first.endswith("\n\nCommand: a") and second == "Command: b"
    assert EMPTY in first


@FORMS
def test_no_role_learns_what_only_the_other_was_shown(data):
    item = instance(data, target_grid=TARGET.replace("K", "Q"))
    episode = finished("Command: a", CORNER, "Command: b", EMPTY, DONE, item=item)
    assert "Q" not in "".join(shown(episode, "follower"))
    assert CORNER not in "".join(shown(episode, "giver"))


def test_fifty_complete_rounds_end_the_game():
    episode = finished(*["Command: x", TARGET] * 50)
    assert episode.success
    assert len(rounds(episode)) == 50
    assert finished(*["Command: x", TOP] * 50).lose
    assert finished(*["Command: x", TARGET] * 49, "Command: x", "no").aborted
    assert finished(*["Command: x", TARGET] * 49, DONE).success


def test_the_number_of_rounds_follows_the_size_of_the_grid():
    item = instance(
        grid_dimension=2, target_grid="A ▢\n▢ A", player_2_response_pattern="^[A-Z▢ \n]+$"
    )
    assert finished(*["Command: x", "A ▢\n▢ ▢"] * 8, item=item).main_score == 67


# --- comparison of drawings (docs/rules/imagegame.md, "Scores") -----------------------------------


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (TARGET, (100, 100, 100)),
        (f"\n{TARGET}\n\n", (100, 100, 100)),
        (TARGET.lower(), (100, 100, 100)),
        (TOP, (100, 50, 67)),
        (FULL, (40, 100, 57)),
        (CORNER, (100, 10, 18)),
        (TARGET.replace("K", "L"), (0, 0, 0)),
        (TARGET.replace("\n", "\n▢ ", 1), (100, 100, 100)),
        (TOP + "\n▢ ▢ ▢ ▢ ▢", (0, 0, 0)),
        (TARGET.replace(" ", "\t"), (0, 0, 0)),
        (TARGET.replace(" ", "\n", 1), (0, 0, 0)),
        (EMPTY, None),
        (f"{TARGET[:9]}\n▢\t▢ ▢ ▢ ▢{TARGET[19:]}", None),
    ],
)
def test_similarity(drawn, expected):
    assert similarity(TARGET, drawn) == expected


def test_shares_are_rounded_before_and_after_f1():
    # 1 of 8 is 0.125 and 12.5 %, which is rounded to the even number.
    target = "A A A A A\nA A A ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢"
    assert similarity(target, CORNER.replace("K", "A")) == (100, 12, 22)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (EMPTY, TOP, 5),
        (TOP, TARGET, 5),
        (TOP, TOP.lower(), 0),
        (TOP, TOP.replace("K", "L"), 5),
        (TOP, TARGET.rpartition("\n")[0], 0),
        (TOP, TARGET.replace("▢ ▢", "▢\t▢", 1), 0),
        (TOP, TARGET + "\nK K", 5),
        (TOP.replace(" ", "\t"), TARGET, 5),
    ],
)
def test_changed_cells(before, after, changed):
    assert changed_cells(before, after) == changed


def test_what_cannot_be_compared_keeps_the_score():
    short_row = f"{TOP[:9]}\n▢\t▢ ▢ ▢ ▢{TOP[19:]}"
    episode = finished("Command: a", TOP, "Command: b", EMPTY, "Command: c", short_row, DONE)
    by_round = rounds(episode).values()
    assert [(r["Precision"], r["Recall"], r["F1"]) for r in by_round] == [(100, 50, 67)] * 3
    # The short row is the only failure of the count of changes; the empty grid is a reference.
    assert [r["Changed Cell Count"] for r in by_round] == [5, 5, 0]
    assert episode.main_score == 67
    assert finished("Command: a", EMPTY, DONE).main_score == 0


def test_a_drawing_of_another_size_is_the_reference_for_changes():
    split_row = TOP.replace(" ", "\n", 1)  # six rows: K / K K K K / ...
    by_round = rounds(finished("Command: a", split_row, "Command: b", TOP, DONE))
    # Of the first round every cell of the empty grid counts that has a counterpart; none has.
    assert [r["Changed Cell Count"] for r in by_round.values()] == [0, 0]
    assert [r["F1"] for r in by_round.values()] == [0, 67]


def test_erasing_everything_does_not_lose_the_game():
    assert finished("Command: a", TARGET, "Command: b", EMPTY, DONE).success


def test_shapes_do_not_depend_on_letters():
    assert shape(TARGET) == shape(TARGET.replace("K", "A")) == TARGET.replace("K", "A")
    assert shape("B B\nC ▢") == shape("C C\nA ▢") == "A A\nB ▢"
    assert shape("B C\nC ▢") != shape("B B\nC ▢")


# --- scores --------------------------------------------------------------------------------------


def test_scores_of_a_complete_game():
    episode = finished("Command: the top row", TOP, "Command: Instruction: x y", TARGET, DONE)
    assert rounds(episode) == {
        "0": {
            "Generated Expression Length": 20,
            "Generated Expression Number of Tokens": 4,
            "Precision": 100,
            "Recall": 50,
            "F1": 67,
            "Changed Cell Count": 5,
            "Request Count": 6,
            "Parsed Request Count": 6,
            "Violated Request Count": 0,
        },
        "1": {
            # The tag that upstream looks for is another one; it is removed where it occurs.
            "Generated Expression Length": len("Command:  x y"),
            "Generated Expression Number of Tokens": 4,
            "Precision": 100,
            "Recall": 100,
            "F1": 100,
            "Changed Cell Count": 5,
            "Request Count": 6,
            "Parsed Request Count": 6,
            "Violated Request Count": 0,
        },
    }
    assert scores(episode) == {
        "Precision": 100,
        "Recall": 100,
        "F1": 100,
        "Main Score": 100,
        "Average Changed Cell Count": 5,
        "Average Generated Instruction Length": 16.5,
        "Average Generated Expression Number of Tokens": 4,
        "Success": 1,
        "Lose": 0,
        "Aborted": 0,
        "Request Count": 14,
        "Parsed Request Count": 14,
        "Violated Request Count": 0,
        "Request Success Ratio": 1,
    }


def test_f1_of_99_is_enough():
    # 24 of 25 cells give 98 %; no drawing on this grid gives 99 %, but a larger one does.
    item = instance(OWN, grid_dimension=5, target_grid=FULL)
    assert finished("Command: a", FULL.replace("K", "▢", 1), DONE, item=item).main_score == 98
    row = " ".join(["K"] * 60)
    item = instance(target_grid=row, player_2_response_pattern="^[K▢ ]+$")
    episode = finished("Command: a", row.replace("K", "▢", 1), DONE, item=item)
    assert episode.success
    assert scores(episode)["Main Score"] == 99


MISSING = dict.fromkeys(
    [
        "Precision",
        "Recall",
        "F1",
        "Main Score",
        "Average Changed Cell Count",
        "Average Generated Instruction Length",
        "Average Generated Expression Number of Tokens",
    ]
)


@pytest.mark.parametrize(
    ("replies", "requests"),
    [
        (["no"], 3),
        (["Command: a", "no"], 6),
        (["Command: a", TOP, "no"], 9),
        (["Command: a", TOP, "Command: b", "no"], 12),
    ],
)
def test_scores_of_an_aborted_game(replies, requests):
    episode = finished(*replies)
    assert scores(episode) == {
        **MISSING,
        "Success": 0,
        "Lose": 0,
        "Aborted": 1,
        "Request Count": requests,
        "Parsed Request Count": requests - 1,
        "Violated Request Count": 1,
        "Request Success Ratio": round((requests - 1) / requests, 4),
    }
    assert list(rounds(episode)) == [str(n) for n in range((len(replies) - 1) // 2)]


def test_done_at_once_is_a_zero():
    episode = finished(DONE)
    assert rounds(episode) == {}
    assert scores(episode) == {
        **dict.fromkeys(MISSING, 0),
        "Success": 0,
        "Lose": 1,
        "Aborted": 0,
        "Request Count": 2,
        "Parsed Request Count": 2,
        "Violated Request Count": 0,
        "Request Success Ratio": 1,
    }


def test_the_message_about_the_round_limit_is_counted():
    episode = finished(*["Command: x", TOP] * 50)
    assert rounds(episode)["49"]["Request Count"] == 7
    assert scores(episode)["Request Count"] == 50 * 6 + 1
    assert scores(episode)["Violated Request Count"] == 0


class AsRecordedEarlier(ImageGame):
    """Counts as clemcore did before 3.7."""

    header_is_event = True


@pytest.mark.parametrize(
    ("replies", "requests", "per_round"),
    [
        ([DONE], 2, []),
        (["no"], 3, []),
        (["Command: a", "no"], 7, []),
        (["Command: a", TOP, "no"], 10, [7]),
        (["Command: a", TOP, "Command: b", TOP, DONE], 15, [7, 6]),
        (["Command: a", TOP] * 50, 302, [7, *[6] * 48, 7]),
    ],
)
def test_earlier_versions_counted_the_header(replies, requests, per_round):
    game = AsRecordedEarlier()
    metrics = game.metrics(finished(*replies, game=game))
    assert metrics.episode["Request Count"] == requests
    assert [r["Parsed Request Count"] for r in metrics.rounds.values()] == per_round


def test_rewards_of_each_role_add_up_to_the_final_f1():
    episode = finished("Command: a", TARGET, "Command: b", FULL, "Command: c", EMPTY, DONE)
    for role in GAME.role_names():
        rewards = [e.value for e in episode.events if isinstance(e, Reward) and e.role == role]
        assert rewards == pytest.approx([1.0, -0.43, 0.0])


# --- any reply -----------------------------------------------------------------------------------

CELLS = st.sampled_from("▢▢▢KKALk□")
SPACES = st.sampled_from([" "] * 30 + ["\t", "\n", "\u3000", "  ", ""])
ENDS = st.sampled_from(["\n"] * 20 + [" \n", "\n\n", "\r\n"])
ROWS = st.lists(st.tuples(CELLS, SPACES), min_size=5, max_size=5).map(
    lambda row: "".join(cell + space for cell, space in row[:-1]) + row[-1][0]
)
NEAR_GRIDS = st.lists(st.tuples(ROWS, ENDS), min_size=4, max_size=6).map(
    lambda rows: "".join(row + end for row, end in rows)
)
GRIDS = st.text(alphabet="▢KL", min_size=25, max_size=25).map(
    lambda cells: "\n".join(" ".join(cells[n : n + 5]) for n in range(0, 25, 5))
)
NEAR_COMMANDS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["Command: ", "command: ", "Command:", " Command: ", "Instruction: ", ""]),
    st.sampled_from(["x", "DONE", "done.", "▢", "\x00", ""]),
    st.sampled_from(["", "", "", "\n", "\n\n", " ", "\r", "\u2028"]),
    st.sampled_from(["", "", "", "x"]),
)
ANY = st.text(max_size=40)


@FORMS
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NEAR_COMMANDS | ANY, GRIDS | NEAR_GRIDS | ANY), max_size=6), st.data())
def test_any_replies_end_in_an_outcome(data, turns, draws):
    item = instance(data)
    referee = Referee(GAME, item)
    pending = referee.advance()
    replies = [text for turn in turns for text in turn]
    while pending is not None:
        fitting = "Command: x" if pending.role == "giver" else TOP
        text = replies.pop(0) if replies else draws.draw(st.sampled_from([fitting] * 9 + [DONE]))
        pending = referee.advance(Reply(text))
    episode = referee.episode
    numbers = scores(episode)
    assert numbers["Aborted"] + numbers["Lose"] + numbers["Success"] == 1
    assert (numbers["Main Score"] is None) == episode.aborted
    assert numbers["Main Score"] == episode.main_score
    counted = numbers["Parsed Request Count"] + numbers["Violated Request Count"]
    assert counted == numbers["Request Count"]
    assert len(rounds(episode)) == len(episode.replies()) // 2 - (
        episode.aborted and episode.outcome.fault == "follower"
    )
    assert replay(GAME, item, episode).divergences == []


HUGE = 2_000_000


@FORMS
@pytest.mark.parametrize(
    "text",
    ["\n" * HUGE, " " * HUGE, "Command: " + "x" * HUGE, "Command:" + " " * HUGE, "\x00" * HUGE],
    ids=["newlines", "blanks", "command", "late end", "zeros"],
)
def test_huge_replies_end_in_an_outcome(data, text):
    item = instance(data)
    result = by_turns(GAME, item, text, "\n" * HUGE + TOP + "\n" * HUGE, DONE)
    assert result.complete
    assert finished("Command: x", text, item=item).aborted


@example("K", "▢")
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_compare(first, second):
    assert changed_cells(first, first) == 0
    assert changed_cells(first, second) >= 0
    found = similarity(first, second)
    assert found is None or all(0 <= share <= 100 for share in found)
