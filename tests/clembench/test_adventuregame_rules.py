"""The rules of AdventureGame: replies, turns, plans, ends and scores."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, noted, whole

from playpen import Abort, Episode, Experiment, Instance, Reward, Round, replay
from playpen.moves import Violation
from playpen.prompts import PromptError
from playpen.scoring import episode_scores
from playpen_clembench.adventuregame.game import AdventureGame
from playpen_clembench.adventuregame.language import language
from playpen_clembench.adventuregame.replies import LONGEST_PLAN, Plan, Turn, reader
from playpen_clembench.adventuregame.scores import FAILURES

GAME = AdventureGame()
ENGLISH = language("en")
FREE, LIMITED = "basic_actions_v2.json", "basic_actions_v2_invlimit.json"
HOUSE = """
    room(kitchen1,kitchen) room(pantry1,pantry)
    exit(kitchen1,pantry1) exit(pantry1,kitchen1)
    type(player1,player) at(player1,kitchen1)
    type(counter1,counter) at(counter1,kitchen1)
    type(freezer1,freezer) at(freezer1,pantry1) closed(freezer1)
    type(apple1,apple) at(apple1,pantry1) in(apple1,freezer1)
    type(peach1,peach) at(peach1,pantry1) on(peach1,pantry1floor1)
"""
DATA: dict[str, Any] = {
    "game_id": 0,
    "variant": "basic",
    "initial_state": HOUSE.split(),
    "goal_state": ["on(apple1,counter1)", "on(peach1,counter1)"],
    "max_turns": 12,
    "optimal_turns": 7,
    "action_definitions": [FREE],
}
SOLUTION = (
    "go pantry",
    "open freezer",
    "take apple",
    "take peach",
    "go kitchen",
    "put apple on counter",
    "put peach on counter",
)


def instance(**changes: Any) -> Instance:
    return Instance(GAME.name, Experiment("made_up", {}), {**DATA, **changes})


played = partial(by_turns, GAME)


def finished(item: Instance, *replies: str) -> Episode:
    return whole(played(item, *replies))


def commands(*texts: str) -> list[str]:
    return [f"> {text}" for text in texts]


def plans(*turns: tuple[str, str]) -> list[str]:
    return [f"> {command}\nNext actions: {plan}" for command, plan in turns]


# --- the form of replies (docs/rules/adventuregame.md, "Reply format") ----------------------------


@pytest.mark.parametrize(
    ("reply", "basic", "plan"),
    [
        ("> open cupboard", ("open cupboard", None), "next_actions_missing"),
        (">open cupboard", ("open cupboard", None), "next_actions_missing"),
        (" > open cupboard", "command_tag_missing", "command_tag_missing"),
        ("I open the cupboard", "command_tag_missing", "command_tag_missing"),
        ("I am done", "command_tag_missing", "command_tag_missing"),
        ("", "command_tag_missing", "command_tag_missing"),
        (
            "> open cupboard\nNext actions: take plate, go hallway",
            ("open cupboard", None),
            ("open cupboard", ["take plate", "go hallway"]),
        ),
        (
            "> open cupboard\n\nNext actions: take plate",
            ("open cupboard", None),
            ("open cupboard", ["take plate"]),
        ),
        (
            "> open cupboard\nnext actions: take plate",
            ("open cupboard", None),
            "next_actions_missing",
        ),
        (
            "> open cupboard Next actions: take plate",
            ("open cupboard Next actions: take plate", None),
            "next_actions_missing",
        ),
        ("> done", ("done", None), ("done", None)),
        (">> done", ("> done", None), ("> done", None)),
        ("> open cupboard\nI am done soon", ("open cupboard", None), ("open cupboard", None)),
        (">", ("", None), "next_actions_missing"),
        (">\nNext actions:", ("", None), ("", [""])),
        (
            "> go a\nNext actions: go b , go c\nAnd so on\nNext actions: go d",
            ("go a", None),
            ("go a", ["go b", "go c\nAnd so on"]),
        ),
        ("> go a\nNext actions: go b,,", ("go a", None), ("go a", ["go b", "", ""])),
    ],
)
def test_envelope(reply: str, basic: Any, plan: Any) -> None:
    for planning, expected in ((False, basic), (True, plan)):
        read = reader(ENGLISH, planning=planning)
        if isinstance(expected, str):
            with pytest.raises(Violation) as caught:
                read(reply)
            assert caught.value.code == expected
        else:
            command, planned = expected
            made = None if planned is None else Plan(planned, len(planned))
            assert read(reply) == Turn(command, made)


@pytest.mark.parametrize(
    ("variant", "reply", "code", "hallucination"),
    [
        ("basic", "I did it successfully", "command_tag_missing", 1),
        ("basic", "All Done!", "command_tag_missing", 0),
        ("basic", "\n> done", "command_tag_missing", 1),
        ("basic", "take apple", "command_tag_missing", 0),
        ("plan", "> go pantry", "next_actions_missing", 0),
    ],
)
def test_a_faulty_reply_ends_the_game(
    variant: str, reply: str, code: str, hallucination: int
) -> None:
    episode = finished(instance(variant=variant), reply)
    assert isinstance(episode.outcome, Abort)
    assert (episode.outcome.code, episode.outcome.fault) == (code, "adventurer")
    scores = episode_scores(GAME, episode)
    assert scores["Violated Request Count"] == scores["Request Count"] == 1
    assert scores["hallucination_count"] == hallucination
    assert scores["Main Score"] is None
    assert scores["achieved_goal_ratio"] == 0
    turn = GAME.metrics(episode).rounds["0"]
    assert turn[code] == 1
    assert "epistemic_action" not in turn


# --- prompts -------------------------------------------------------------------------------------


def test_a_given_prompt_is_used_unchanged() -> None:
    result = played(instance(prompt="Deliver $GOAL$.\n\n"), "> go pantry")
    first, _, second = result.episode.conversation("adventurer")
    assert first.content.startswith("Deliver $GOAL$.\n\nYou are in the kitchen.")
    assert second.content.startswith("You are in the pantry.")


@pytest.mark.parametrize("variant", ["basic", "plan"])
@pytest.mark.parametrize("actions", [FREE, LIMITED])
def test_our_own_prompts(variant: str, actions: str) -> None:
    result = played(instance(variant=variant, action_definitions=[actions]))
    prompt = result.episode.conversation("adventurer")[0].content
    task, _, room = prompt.rpartition("\n\n")
    assert "Put the apple on the counter and the peach on the counter." in task
    assert "message number 12" in task
    assert ("two things at most" in task) == (actions == LIMITED)
    assert ("Next actions:" in task) == (variant == "plan")
    assert "$" not in prompt
    assert room.startswith("You are in the kitchen.")


def test_a_language_without_a_folder_is_named() -> None:
    with pytest.raises(PromptError, match="does not speak 'xx'"):
        played(instance(lang="xx"))


def test_what_is_shut_away_is_never_mentioned() -> None:
    hidden = played(instance(prompt=""), *commands("go pantry", "examine freezer", "take apple"))
    *seen, last = hidden.episode.conversation("adventurer")
    assert not any("apple" in message.content for message in seen if message.role == "user")
    assert last.content == "The apple is not within your reach here."


# --- turns and ends ------------------------------------------------------------------------------


def test_success() -> None:
    episode = finished(instance(), *commands(*SOLUTION, "done"))
    assert episode.success
    assert episode.main_score == 100
    assert sum(isinstance(event, Round) for event in episode.events) == 7
    rewards = [event.value for event in episode.events if isinstance(event, Reward)]
    assert rewards == [0.5, 0.5]


def test_reaching_the_goals_does_not_end_the_game() -> None:
    assert not played(instance(), *commands(*SOLUTION)).complete


@pytest.mark.parametrize(("count", "score"), [(1, 0), (6, 0), (7, 50)])
def test_giving_up_is_a_loss_with_a_share_of_the_score(count: int, score: float) -> None:
    episode = finished(instance(), *commands(*SOLUTION[: count - 1], "quit"))
    assert episode.lose
    assert episode.main_score == score
    assert episode.outcome.fault == "adventurer"  # type: ignore[union-attr]


@pytest.mark.parametrize("goals", [DATA["goal_state"], ["on(apple1,counter1)"] * 1])
def test_the_turn_limit_aborts_whatever_was_reached(goals: list[str]) -> None:
    item = instance(max_turns=8, goal_state=goals)
    episode = finished(item, *commands(*SOLUTION, "done"))
    assert isinstance(episode.outcome, Abort)
    assert episode.outcome.code == "turn_limit"
    scores = episode_scores(GAME, episode)
    assert (scores["Aborted"], scores["Success"], scores["Lose"]) == (1, 0, 0)
    assert (scores["turn_limit_loss"], scores["achieved_goal_ratio"]) == (1, 1)
    assert scores["Main Score"] is None
    # The mark counts for the speed, even so.
    assert scores["turns_over_par"] == 1
    assert (scores["turn_ratio"], scores["finish_speed"]) == (0, 1)


def test_success_is_for_good() -> None:
    episode = finished(instance(), *commands(*SOLUTION, "take peach", "done"))
    assert episode.success
    assert episode.main_score == 50
    assert [event.value for event in episode.events if isinstance(event, Reward)][-1] == -0.5


def test_a_failed_done_ends_nothing() -> None:
    assert not played(instance(), "> done it", "> Done?", ">> done").complete


def test_the_limit_of_the_rule_set_is_used() -> None:
    third = [*DATA["initial_state"], "type(plate1,plate)", "at(plate1,pantry1)"]
    third.append("on(plate1,pantry1floor1)")
    script = commands("go pantry", "open freezer", "take apple", "take peach", "take plate")
    for actions, failure in ((FREE, None), (LIMITED, "inventory_limit_exceeded")):
        item = instance(initial_state=third, action_definitions=[actions])
        assert noted(played(item, *script).episode, "action")[-1]["failure"] == failure


# --- plans ---------------------------------------------------------------------------------------


def planned(*replies: str, **changes: Any) -> list[dict[str, Any]]:
    return noted(played(instance(variant="plan", **changes), *replies).episode, "plan")


def test_a_plan_is_tried_out_until_it_fails_and_leaves_the_world_alone() -> None:
    (trial,) = planned(*plans(("go pantry", "open freezer, take apple, take pillow, go kitchen")))
    assert (trial["length"], trial["successes"], trial["viability"]) == (4, 2, 0.5)
    episode = played(
        instance(variant="plan"),
        *plans(("go pantry", "open freezer"), ("open freezer", "done, take apple, done")),
    ).episode
    assert [action["failure"] for action in noted(episode, "action")] == [None, None]
    assert noted(episode, "plan")[1]["viability"] == 1


def test_an_empty_plan_is_one_command_that_fails() -> None:
    (trial,) = planned("> go pantry\nNext actions:")
    assert (trial["length"], trial["successes"], trial["viability"]) == (1, 0, 0)


def test_whether_a_plan_was_followed() -> None:
    trials = planned(
        *plans(
            ("go pantry", "open freezer"),
            ("open freezer", "take apple, go kitchen"),
            ("Take apple", "go kitchen"),
            ("go  kitchen", ""),
            ("dance", "dance"),
            ("dance", "dance"),
        )
    )
    # The comparison is of the texts as they were typed.
    assert [trial["followed"] for trial in trials] == [None, True, False, False, False, True]


def test_a_reply_without_a_plan_leaves_the_latest_in_force() -> None:
    trials = planned(
        *plans(("go pantry", "open freezer"), ("open freezer", "go kitchen")),
        "> go kitchen\nnot done yet",
        *plans(("go pantry", "x")),
    )
    assert [trial["followed"] for trial in trials] == [None, True, False, False]
    # "go kitchen" again: from the pantry it can be done, from the kitchen it cannot.
    assert [trial["viability"] for trial in trials] == [1, 1, 0, 0]
    followed = planned(*plans(("go pantry", "open freezer"), ("x", "y")), "> open freezer, done")
    assert [trial["followed"] for trial in followed] == [None, False, False]


def test_done_without_any_plan() -> None:
    (trial,) = planned("> done")
    assert (trial["length"], trial["viability"], trial["followed"]) == (0, 0, None)


def test_a_plan_changes_what_the_next_failed_command_reports() -> None:
    episode = finished(
        instance(variant="plan", max_turns=3),
        *plans(
            ("go pantry", "take peach, go kitchen, put peach on counter, x"),
            ("dance", "y"),
            ("open freezer", "take peach, go kitchen, put peach on counter"),
        ),
    )
    goals = noted(episode, "goals")
    assert [len(goal["achieved"]) for goal in goals] == [0, 1, 0]
    assert [goal["change"] for goal in goals] == [0, 1, -1]
    assert not any(isinstance(event, Reward) for event in episode.events)
    ended = finished(
        instance(variant="plan"),
        *plans(("go pantry", "take peach, go kitchen, put peach on counter"), ("dance", "x")),
        "dance",
    )
    assert episode_scores(GAME, ended)["achieved_goal_ratio"] == 0.5


def test_a_hypothetical_victory_is_none() -> None:
    item = instance(variant="plan", goal_state=["on(peach1,counter1)"])
    win = "take peach, go kitchen, put peach on counter"
    episode = finished(item, *plans(("go pantry", win), ("dance", "x")), "> done")
    assert episode.lose
    assert episode.main_score == 0
    assert noted(episode, "finished") == []


def test_exploration_leaks_from_plans() -> None:
    def known(*turns: tuple[str, str]) -> list[float]:
        episode = played(instance(variant="plan"), *plans(*turns)).episode
        rounds = GAME.metrics(episode).rounds
        return [rounds[key]["known_entities_ratio"] for key in sorted(rounds)]

    # 5 things and 2 floors.  At first the player and the counter are known.
    assert known(("x", "go pantry"), ("x", "x")) == [2 / 7, 2 / 7]
    # A failed last command keeps what the first one revealed, the player's new room included;
    # a removed fact is learnt again when it is perceived.
    assert known(("x", "go pantry, x"), ("x", "x")) == [2 / 7, 5 / 7]
    assert known(("x", "go pantry, open freezer, x"), ("x", "x")) == [2 / 7, 5 / 7]


def test_more_of_a_plan_than_anybody_reads_counts_as_failed() -> None:
    steps = ["go pantry", "go kitchen"] * LONGEST_PLAN
    (trial,) = planned(f"> x\nNext actions: {', '.join(steps)}")
    assert (trial["length"], trial["successes"]) == (2 * LONGEST_PLAN, LONGEST_PLAN)


# --- scores (docs/rules/adventuregame.md, "Scores") -----------------------------------------------


def test_scores_of_a_game() -> None:
    script = ["dance", "take apple", *SOLUTION, "done"]
    episode = finished(instance(), *commands(*script))
    scores = episode_scores(GAME, episode)
    expected = {
        **dict.fromkeys(FAILURES, 0),
        "Violated Request Count": 0,
        "Parsed Request Count": 10,
        "Request Count": 10,
        "Request Success Ratio": 1,
        "hallucination_count": 0,
        "action_parsing_fail": 1,
        "action_resolution_fail": 1,
        "undefined_action_verb": 1,
        "entity_not_accessible": 1,
        "successful_actions": 8,
        "turn_limit_loss": 0,
        "turns_over_par": 3,
        "turn_ratio": 1 - 3 / 5,
        "finish_speed": 1 - (1 - 3 / 5),
        "achieved_goal_ratio": 1,
        "Aborted": 0,
        "Success": 1,
        "Lose": 0,
        "Main Score": 100,
        "plan_followed_ratio": 0,
        "plan_average_viability_ratio": 0,
        "bad_plan_follow_ratio": 0,
        "bad_plan_dismiss_ratio": 1,
    }
    assert scores == expected
    rounds = GAME.metrics(episode).rounds
    assert list(rounds) == [str(number) for number in range(10)]
    assert [turn["goal_score"] for turn in rounds.values()] == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert rounds["0"]["undefined_action_verb"] == rounds["0"]["action_parsing_fail"] == 1
    assert rounds["1"]["entity_not_accessible"] == rounds["1"]["action_resolution_fail"] == 1
    assert (rounds["2"]["epistemic_action"], rounds["2"]["visited_rooms_ratio"]) == (1, 1)


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ([*SOLUTION, "done"], 0),
        (["done"], 1),
        ([*SOLUTION[:-1], "finish"], 1),
        ([*SOLUTION, "take peach", "done"], 0),
    ],
)
def test_a_wrong_done_is_a_hallucination(script: list[str], count: int) -> None:
    episode = finished(instance(), *commands(*script))
    assert episode_scores(GAME, episode)["hallucination_count"] == count


def test_without_the_goals_there_is_no_speed() -> None:
    scores = episode_scores(GAME, finished(instance(), *commands("done")))
    assert [scores[key] for key in ("turns_over_par", "turn_ratio", "finish_speed")] == [None] * 3


def test_plan_ratios() -> None:
    script = plans(
        ("go pantry", "x"),
        ("x", "go kitchen"),
        ("go kitchen", "go pantry, x"),
        ("y", "go pantry"),
    )
    episode = finished(instance(variant="plan"), *script, "> done")
    scores = episode_scores(GAME, episode)
    assert scores["plan_followed_ratio"] == 2 / 5
    assert scores["plan_average_viability_ratio"] == (0 + 1 + 0.5 + 1 + 1) / 5
    assert scores["bad_plan_follow_ratio"] == 1 / 5
    assert scores["bad_plan_dismiss_ratio"] == 1 - 1 / 5
    rounds = GAME.metrics(episode).rounds
    assert [turn["plan_followed"] for turn in rounds.values()] == [0, 1, 1, 0, 0]
    assert [turn["bad_plan_followed"] for turn in rounds.values()] == [0] * 5


def test_scores_read_the_record_only() -> None:
    episode = finished(instance(variant="plan"), *plans(("go pantry", "take peach")), "> done")
    stored = msgspec.json.decode(msgspec.json.encode(episode), type=Episode)
    assert episode_scores(GAME, stored) == episode_scores(GAME, episode)
    assert GAME.metrics(stored).rounds == GAME.metrics(episode).rounds


def test_an_episode_without_replies_has_scores() -> None:
    scores = GAME.metrics(played(instance()).episode).episode
    assert (scores["Request Count"], scores["Request Success Ratio"]) == (0, None)


# --- any reply -----------------------------------------------------------------------------------

WORDS = [
    *("open", "close", "take", "put", "go", "examine", "drop", "pick", "done", "dance"),
    *("the", "on", "in", "from", "out of", "up", "down", "back", "to", "old"),
    *("apple", "peach", "counter", "freezer", "floor", "inventory", "kitchen", "pantry", "you"),
]
LINES = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
REPLIES = st.one_of(
    LINES.map("> {}".format),
    st.tuples(LINES, st.lists(LINES, max_size=4)).map(
        lambda parts: f"> {parts[0]}\nNext actions: {', '.join(parts[1])}"
    ),
    st.text(max_size=40).map("> {}".format),
    st.text(max_size=40).map("> go pantry\nNext actions: {}".format),
    st.text(max_size=20),
)


@settings(max_examples=150)
@given(
    st.sampled_from(["basic", "plan"]),
    st.sampled_from([FREE, LIMITED]),
    st.lists(REPLIES, min_size=6, max_size=6),
)
def test_any_replies_end_in_an_outcome(variant: str, actions: str, replies: list[str]) -> None:
    item = instance(variant=variant, action_definitions=[actions], max_turns=6)
    result = played(item, *replies)
    assert result.complete
    assert replay(GAME, item, result.episode).divergences == []
    scores = episode_scores(GAME, result.episode)
    assert scores["Aborted"] + scores["Success"] + scores["Lose"] == 1
    assert (scores["Main Score"] is None) == bool(scores["Aborted"])
    assert scores["Request Count"] == len(result.episode.replies())


def test_random_commands_keep_the_world_in_order() -> None:
    rng = random.Random(3)
    for _ in range(40):
        replies = [f"> {' '.join(rng.choices(WORDS, k=rng.randint(1, 4)))}" for _ in range(30)]
        item = instance(max_turns=30)
        episode = played(item, *replies).episode
        assert episode.outcome is not None
        assert replay(GAME, item, episode).divergences == []


HUGE = 1_000_000


@pytest.mark.parametrize("variant", ["basic", "plan"])
@pytest.mark.parametrize(
    "reply",
    [
        ">" * HUGE,
        "> " + "take " * HUGE,
        "> take " + "on " * HUGE,
        "> \x00" + "a" * HUGE,
        "> go pantry\nNext actions: " + "," * HUGE,
        "> go pantry\nNext actions: " + "go kitchen, go pantry, " * (HUGE // 20),
        "> go pantry" + "\nNext actions: x" * (HUGE // 20),
        "\n" * HUGE + "done",
        "> " + "\u202e\U0001f600" * HUGE,
    ],
    ids=lambda reply: repr(reply[:20]),
)
def test_huge_replies(variant: str, reply: str) -> None:
    item = instance(variant=variant, max_turns=2)
    result = played(item, reply, reply)
    assert result.complete
    shown = result.episode.conversation("adventurer")
    assert all(len(message.content) < 3000 for message in shown if message.role == "user")
