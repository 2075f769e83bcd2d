"""The rules and scores of the family (docs/rules/textmapworld.md)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, noted, shown

from playpen import Abort, Experiment, Instance, Reward, Round
from playpen.instance import InstanceError
from playpen.replay import Replay, replay
from playpen.scoring import episode_scores, score_episodes
from playpen_clembench.textmapworld.game import (
    TextMapWorld,
    TextMapWorldGraphReasoning,
    TextMapWorldSpecificRoom,
)

MAIN, DRAWING, TARGET = GAMES = (
    TextMapWorld(),
    TextMapWorldGraphReasoning(),
    TextMapWorldSpecificRoom(),
)
ALL = pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)

# The house:   Den - Hall - Barn, with the Attic to the north of the Hall.
HOUSE: dict[str, Any] = {
    "game_id": 0,
    "Graph_Nodes": "['Barn', 'Hall', 'Den', 'Attic']",
    "Graph_Edges": "[('Barn', 'Hall'), ('Hall', 'Den'), ('Hall', 'Attic')]",
    "Current_Position": "Barn",
    "Directions": (
        "[('Barn', ['west']), ('Hall', ['west', 'north', 'east']), ('Den', ['east']), "
        "('Attic', ['south'])]"
    ),
    "Moves": (
        "[{'node': 'Barn', 'node_moves': [('west', 'Hall')]}, "
        "{'node': 'Hall', 'node_moves': [('north', 'Attic'), ('west', 'Den'), ('east', 'Barn')]}, "
        "{'node': 'Den', 'node_moves': [('east', 'Hall')]}, "
        "{'node': 'Attic', 'node_moves': [('south', 'Hall')]}, "
        "{'node': 'Attic', 'node_moves': [('south', 'Hall')]}]"
    ),
    "Ambiguity": None,
    "Specific_Room": "attic",
}
TEXTS: dict[str, Any] = {
    "Prompt": "Find $GOAL$. Start: $INITIAL_ROOM$ ($INITIAL_DIRECTIONS$) $5$",
    "Player2_positive_answer": "$ANOTHER_ROOM$: $DIRECTIONS$",
    "Player2_negative_answer": "No, $SAME_ROOM$: $DIRECTIONS$",
    "Move_Construction": r"^GO:\s*(north|east|west|south)$",
    "Stop_Construction": "^DONE$",
    "Response_Construction": (
        r'^\{\s*"action":\s*"([^{}]*?)"\s*,\s*"graph":\s*(\{\s*"nodes"\s*:\s*\[.*?\]\s*,'
        r'\s*"edges"\s*:\s*\{.*?\}\s*\})\s*\}$'
    ),
}


def instance(**changes: Any) -> Instance:
    return Instance("textmapworld", Experiment("small", {}), {**HOUSE, **changes})


def given_texts(**changes: Any) -> Instance:
    return instance(**TEXTS, **changes)


def drawn(command: str, nodes: str = "", edges: str = "") -> str:
    return f'{{"action":"{command}","graph":{{"nodes":[{nodes}],"edges":{{{edges}}}}}}}'


def said(game: TextMapWorld, commands: str) -> list[str]:
    """Replies from initial letters: n, e, s, w for moves, d for the stop word."""
    words = {"n": "GO: north", "e": "GO: east", "s": "GO: south", "w": "GO: west", "d": "DONE"}
    texts = [words[letter] for letter in commands]
    return [drawn(text) for text in texts] if game is DRAWING else texts


def played(game: TextMapWorld, item: Instance, replies: list[str]) -> Replay:
    return by_turns(game, item, *replies)


def walked(game: TextMapWorld, commands: str, item: Instance | None = None) -> Replay:
    result = played(game, item or instance(), said(game, commands))
    assert result.unused == 0
    return result


def prompts(result: Replay) -> list[str]:
    return shown(result.episode, "explorer")


# --- flow ----------------------------------------------------------------------------------------


@ALL
def test_a_walk_with_given_texts(game):
    result = walked(game, "weswnsd", given_texts())
    assert prompts(result) == [
        "Find attic. Start: Barn (west) $5$",
        "Hall: west, north, east",
        "Barn: west",
        "No, Barn: west",
        "Hall: west, north, east",
        "Attic: south",
        "Hall: west, north, east",
    ]
    moves = noted(result.episode, "move")
    assert [move["old"] for move in moves] == ["Barn", "Hall", "Barn", "Hall", "Attic"]
    assert [move["new"] for move in moves] == ["Hall", "Barn", "Hall", "Attic", "Hall"]
    assert sum(isinstance(event, Round) for event in result.episode.events) == 6


@ALL
def test_our_own_texts_say_where_one_is(game):
    first, moved, blocked = prompts(walked(game, "wsd"))
    assert first.endswith("You are in this room: Barn\nDoors lead: west")
    assert "your reply number 20" in first
    assert ("look for this room: attic" in first) == (game is TARGET)
    assert ('"graph"' in first) == (game is DRAWING)
    assert moved.endswith("enter this room: Hall\nDoors lead: west, north, east")
    assert blocked.endswith("still in this room: Hall\nDoors lead: west, north, east")
    assert blocked != moved


@ALL
@pytest.mark.parametrize("commands", ["we" * 10, "s" * 20, "wwn" + "s" * 17], ids=len)
def test_twenty_rounds_without_a_stop_abort(game, commands):
    result = walked(game, commands)
    assert result.complete
    outcome = result.episode.outcome
    assert isinstance(outcome, Abort)
    assert outcome.code == "turn_limit"
    assert episode_scores(game, result.episode)["Aborted"] == 1
    assert not played(game, instance(), said(game, commands)[:-1]).complete


@ALL
def test_the_stop_word_may_come_last(game):
    assert not walked(game, "s" * 19 + "d").episode.aborted


@ALL
def test_all_rooms_visited_is_no_end(game):
    assert not walked(game, "wwen").complete


@ALL
def test_a_violation_is_not_asked_again(game):
    result = played(game, instance(), [*said(game, "w"), "Let me think."])
    assert isinstance(result.episode.outcome, Abort)
    assert result.episode.outcome.fault == "explorer"
    assert len(result.episode.replies()) == 2


def test_capitals_lead_nowhere_where_maps_are_drawn():
    assert noted(played(MAIN, instance(), ["GO: WEST"]).episode, "move")
    result = played(DRAWING, given_texts(), [drawn("GO: West"), drawn("go: west")])
    assert prompts(result)[1:] == ["No, Barn: west", "Hall: west, north, east"]


def test_a_drawn_map_counts_only_with_a_move():
    graphs = [drawn("GO: south", '"A"'), drawn("GO: west", '"B"'), drawn("DONE", '"C"')]
    result = played(DRAWING, instance(), graphs)
    assert noted(result.episode, "graph") == [{"nodes": ["b"], "edges": []}]
    assert not noted(walked(MAIN, "wd").episode, "graph")


def test_the_reminder_comes_once_before_the_last_reply():
    item = given_texts(Max_Turns_Reminder=True, Max_Turns_Reminder_Text="Stop now.")
    shown = prompts(walked(MAIN, "we" * 9 + "sd", item))
    assert shown[18] == "Barn: west"
    assert shown[19] == "Stop now.\nNo, Barn: west"
    assert sum("Stop now." in text for text in shown) == 1
    off = given_texts(Max_Turns_Reminder=False, Max_Turns_Reminder_Text="Stop now.")
    assert prompts(walked(MAIN, "we" * 9 + "sd", off))[19] == "No, Barn: west"


def test_suffixes_of_ambiguous_names_are_hidden():
    data = {**HOUSE, **TEXTS, "Ambiguity": [1, 2]}
    for field in ("Graph_Nodes", "Graph_Edges", "Directions", "Moves"):
        data[field] = data[field].replace("'Den'", "'Hall_0_1'").replace("'Hall'", "'Hall_1_1'")
    item = Instance("textmapworld", Experiment("small", {}), data)
    result = walked(MAIN, "wwnd", item)
    assert prompts(result)[1:] == ["Hall: west, north, east", "Hall: east", "No, Hall: east"]
    assert noted(result.episode, "move")[1] == {"old": "Hall_1_1", "new": "Hall_0_1"}


@pytest.mark.parametrize("start", ["(1, 0)", [1, 0]])
def test_rooms_may_be_coordinates(start):
    item = given_texts(
        Graph_Nodes="[(1, 0), (0, 0)]",
        Graph_Edges="[((1, 0), (0, 0))]",
        Current_Position=start,
        Directions="[((1, 0), ['west']), ((0, 0), ['east'])]",
        Moves=(
            "[{'node': (1, 0), 'node_moves': [('west', (0, 0))]}, "
            "{'node': (0, 0), 'node_moves': [('east', (1, 0))]}]"
        ),
    )
    result = walked(MAIN, "wd", item)
    assert prompts(result) == ["Find attic. Start: (1, 0) (west) $5$", "(0, 0): east"]
    assert result.episode.main_score == 100


# --- outcome and scores --------------------------------------------------------------------------

UNSTOPPED = dict.fromkeys(
    (
        "moves",
        "valid_moves",
        "invalid_moves",
        "stopped",
        "turns_limit",
        "loops",
        "number_visited",
        "seen",
        "efficiency",
        "exploration",
    )
)
EXTRA = {MAIN: None, DRAWING: "graph_similarity", TARGET: "old_benchscore"}


@ALL
@pytest.mark.parametrize("replies", [["no"], "we" * 10, ["w", "no"]], ids=len)
def test_scores_of_a_walk_that_was_not_ended(game, replies):
    texts = [said(game, r)[0] if len(r) == 1 else r for r in replies]
    result = played(game, instance(), texts)
    assert result.complete
    extra = {EXTRA[game]: None} if EXTRA[game] else {}
    assert episode_scores(game, result.episode) == {
        "Aborted": 1,
        "Success": 0,
        "Lose": 0,
        "Main Score": None,
        **UNSTOPPED,
        **extra,
    }
    moves = len(noted(result.episode, "move"))
    assert list(game.metrics(result.episode).rounds) == [str(k) for k in range(moves)]


@pytest.mark.parametrize(
    ("commands", "expected", "good"),
    [
        (
            "d",
            {"moves": 0, "visited": 1, "seen": 2, "efficiency": 0, "exploration": 25, "loops": 0},
            [],
        ),
        (
            "wwend",
            {"moves": 4, "visited": 4, "seen": 4, "efficiency": 100, "exploration": 100},
            [True] * 4,
        ),
        # Blocked moves are free; going back is not, nor a move when nothing is left to see.
        (
            "wnnsewd",
            {"moves": 5, "visited": 3, "seen": 4, "efficiency": 80, "exploration": 75},
            [True, True, True, False, True],
        ),
        (
            "wwensd",
            {"moves": 5, "visited": 4, "seen": 4, "efficiency": 80, "exploration": 100},
            [True, True, True, True, False],
        ),
        (
            "wewewd",
            {
                "moves": 5,
                "visited": 2,
                "seen": 4,
                "efficiency": 60,
                "exploration": 50,
                "loops": (3, 1),
            },
            [True, False, True, False, True],
        ),
    ],
)
@ALL
def test_scores_of_a_walk_that_was_ended(game, commands, expected, good):
    result = walked(game, commands)
    loops = expected.get("loops", 0)
    if isinstance(loops, tuple):
        loops = loops[game is TARGET]
    efficiency, exploration = expected["efficiency"], expected["exploration"]
    quality = 2 * efficiency * exploration / (efficiency + exploration)
    scores = episode_scores(game, result.episode)
    extra = scores.pop(EXTRA[game], None)
    success = scores.pop("Success")
    assert scores == pytest.approx(
        {
            "Aborted": 0,
            "Lose": 1 - success,
            "Main Score": 100 * success if game is TARGET else quality,
            "moves": expected["moves"],
            "valid_moves": expected["moves"],
            "invalid_moves": 0,
            "stopped": 1,
            "turns_limit": 0,
            "loops": loops,
            "number_visited": expected["visited"],
            "seen": expected["seen"],
            "efficiency": efficiency,
            "exploration": exploration,
        }
    )
    if game is TARGET:
        assert success == (noted(result.episode, "move")[-1:] == [{"old": "Hall", "new": "Attic"}])
        assert extra == pytest.approx(quality)
    else:
        assert success == (expected["visited"] == 4)
    marks = [entry["effiencient_move"] for entry in game.metrics(result.episode).rounds.values()]
    assert marks == good
    assert all(type(mark) is bool for mark in marks)


@pytest.mark.parametrize("target", ["Barn", "BARN"])
def test_the_target_may_be_the_start(target):
    assert walked(TARGET, "d", instance(Specific_Room=target)).episode.success
    assert walked(TARGET, "wd", instance(Specific_Room=target)).episode.lose
    assert walked(TARGET, "wed", instance(Specific_Room=target)).episode.success


def test_similarities_of_drawn_maps():
    whole = '"west":[("barn","HALL"),("Hall","Den")],"north":[("Hall","Attic")]'
    replies = [
        drawn("GO: west", '"Barn"'),
        drawn("GO: west", "1"),
        drawn("GO: east", '"Barn","Hall"', whole),
        drawn("GO: north", '"Barn","Hall"', '"west":[("Barn","Hall")]'),
        drawn("DONE", "", whole),
    ]
    episode = played(DRAWING, instance(), replies).episode
    metrics = DRAWING.metrics(episode)
    values = [entry["similarity"] for entry in metrics.rounds.values()]
    assert values == pytest.approx([9.485, 0, 100, 23.84], abs=0.001)
    assert metrics.episode["graph_similarity"] == values[-1]
    assert DRAWING.metrics(walked(DRAWING, "d").episode).episode["graph_similarity"] == 0


@pytest.mark.parametrize(
    ("game", "commands", "expected"),
    [
        (MAIN, "wnnswd", [1 / 3, 1 / 3, 0, 1 / 3]),
        (DRAWING, "wewwnd", [1 / 3, 0, 0, 1 / 3]),
        (TARGET, "wwend", [1 / 3, -1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_rewards(game, commands, expected):
    events = walked(game, commands).episode.events
    assert [e.value for e in events if isinstance(e, Reward)] == pytest.approx(expected)


def test_aborted_episodes_have_no_part_in_the_quality():
    episodes = [walked(MAIN, commands).episode for commands in ("wwend", "d", "we" * 10)]
    for number, episode in enumerate(episodes):
        episode.repeat = number
    (table,) = score_episodes(episodes, {MAIN.name: MAIN}).games
    assert (table.aborted, table.success, table.lose, table.quality) == (1, 1, 1, 50.0)


# --- faulty maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Graph_Nodes": "[Barn]"}, "'Graph_Nodes' is not a Python literal"),
        ({"Moves": "[" * 500 + "]" * 500}, "'Moves' is not a Python literal"),
        ({"Moves": "[1]"}, "not in the known form"),
        ({"Moves": "[{'node': 'Barn'}]"}, "not in the known form"),
        ({"Directions": "[('Barn', ['up'])]"}, "not in the known form"),
        ({"Directions": "[('Barn', ['west'])]"}, "different connections"),
        ({"Graph_Edges": "[('Barn', 'Hall'), ('Hall', 'Den')]"}, "different connections"),
        ({"Graph_Nodes": "['Barn', 'Hall', 'Den']"}, "do not have the same rooms"),
        ({"Graph_Nodes": "['Barn', 'Hall', 'Den', 'Attic', 'X']"}, "do not have the same rooms"),
        ({"Current_Position": "Cellar"}, "'Current_Position': the map has no room 'Cellar'"),
        ({"Specific_Room": "Cellar"}, "'Specific_Room': the map has no room 'Cellar'"),
        (
            {
                "Graph_Nodes": "['Barn']",
                "Graph_Edges": "[('Barn', 'Barn')]",
                "Directions": "[('Barn', ['west'])]",
                "Moves": "[{'node': 'Barn', 'node_moves': [('west', 'Barn')]}]",
            },
            "connects a room with itself",
        ),
        (
            {
                "Graph_Nodes": "['Barn', 'Attic']",
                "Graph_Edges": "[]",
                "Directions": "[('Barn', []), ('Attic', [])]",
                "Moves": "[]",
            },
            "cannot be reached",
        ),
        (
            {"Graph_Nodes": "[]", "Graph_Edges": "[]", "Directions": "[]", "Moves": "[]"},
            "the map has no room 'Barn'",
        ),
    ],
)
def test_a_map_that_contradicts_itself_is_named(changes, message):
    with pytest.raises(InstanceError, match=message):
        walked(TARGET, "wd", instance(**changes))


# --- any reply -----------------------------------------------------------------------------------

COMMANDS = st.sampled_from(["GO: north", "GO: east", "GO: south", "GO: west", "GO: West", "DONE"])
PIECES = st.sampled_from(
    [
        '{"action":',
        '"GO: west"',
        ',"graph":',
        '{"nodes":[',
        "]",
        ',"edges":{',
        "}",
        '"north":',
        "(",
        ")",
        '"A"',
        ",",
        "\\ud800",
        "\\N{",
        "#",
        "\n",
        "null",
        "1e999",
        "9" * 5000,
        "b''",
        "f''",
        "'",
    ]
)
NAMES = st.lists(st.one_of(st.text(max_size=4).map(repr), st.sampled_from(["1", "None"])))
REPLIES = st.one_of(
    COMMANDS,
    st.builds(lambda c, n, e: drawn(c, ",".join(n), ",".join(e)), COMMANDS, NAMES, NAMES),
    st.builds(
        lambda c, pairs: drawn(c, "", f'"x":[{",".join(map(str, pairs))}]'),
        COMMANDS,
        st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from("ABCDE"))),
    ),
    st.lists(PIECES).map("".join),
    st.text(max_size=30),
)


@ALL
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_replies_end_in_an_outcome_and_replay(game, data):
    item = data.draw(st.sampled_from([instance(), given_texts()]))
    likely = said(game, "neswnesw")
    replies = [
        data.draw(st.one_of(st.sampled_from(likely), st.sampled_from(likely), REPLIES))
        for _ in range(20)
    ]
    result = played(game, item, replies)
    assert result.complete
    again = replay(game, item, result.episode)
    assert again.complete and again.divergences == []
    scores = episode_scores(game, result.episode)
    assert sum(scores[flag] for flag in ("Aborted", "Success", "Lose")) == 1
    assert (scores["Main Score"] is None) == bool(scores["Aborted"])


@ALL
@pytest.mark.parametrize(
    "text",
    ["", "\0", "x" * 10_000_000, "GO:" + " " * 10_000_000, "GO: west" + "\n" * 1_000_000, "\ud800"],
    ids=["empty", "zero", "long", "spaces", "newlines", "surrogate"],
)
def test_huge_and_odd_replies_abort(game, text):
    result = played(game, instance(), [text])
    assert result.complete
    assert result.episode.aborted


def test_huge_maps_are_measured_at_once():
    pairs = ",".join(f'("{a}","{b}")' for a in range(8) for b in range(a))
    many = ",".join(f'("h","{a}")' for a in range(1500))
    replies = [
        drawn("GO: west", "", f'"x":[{edges}]') for edges in [pairs, many, pairs + "," + many]
    ]
    episode = played(DRAWING, instance(), replies).episode
    values = [entry["similarity"] for entry in DRAWING.metrics(episode).rounds.values()]
    assert len(values) == 2
    assert all(0 <= value < 1e-3 for value in values)


# --- what the player learns ----------------------------------------------------------------------


@ALL
def test_rooms_are_not_named_before_they_are_entered(game):
    item = instance(Specific_Room="Barn")
    for commands in ("", "w", "ws", "ww", "wwe"):
        result = walked(game, commands, item)
        shown = "\n".join(prompts(result))
        entered = {"Barn", *(move["new"] for move in noted(result.episode, "move"))}
        assert {room for room in ("Barn", "Hall", "Den", "Attic") if room in shown} == entered
