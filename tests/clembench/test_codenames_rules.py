"""Codenames: the course of the game, its ends, and its scores."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import noted, shown, whole

from playpen import Abort, Draw, Instance, Lose, Reply, Reward, Success, replay
from playpen.episode import Episode
from playpen.instance import Experiment
from playpen.replay import replay_script
from playpen_clembench.codenames.game import Codenames
from playpen_clembench.codenames.generate import FLAGS

GAME = Codenames()
WORDS = {
    "team": ["otter", "meadow", "comet"],
    "opponent": ["kettle", "ladder", "needle"],
    "innocent": ["violin", "apron"],
    "assassin": ["cannon"],
}
BOARD = ["needle", "otter", "violin", "meadow", "cannon", "ladder", "comet", "apron", "kettle"]
GENEROUS = dict.fromkeys(FLAGS, True)
TEMPLATES = {
    "cluegiver_initial_prompt": "$team_words|$opponent_words|${innocent_words}|$assassin_words.",
    "cluegiver_follow_up_prompt": "again $team_words|$opponent_words|$INNOCENT_WORDS$",
    "guesser_initial_prompt": "'$clue' $number: $board",
    "guesser_follow_up_prompt": "again '$clue' ${number}: $board",
}


def instance(**changes: Any) -> Instance:
    config = {
        "variable": "Test",
        "opponent difficulty": 1,
        "assignments": {name: len(words) for name, words in WORDS.items()},
        "flags": FLAGS,
        **TEMPLATES,
        **changes,
    }
    return Instance(
        GAME.name,
        Experiment("here", config),
        {"game_id": 0, "board": BOARD, "assignments": WORDS},
    )


def clue(word: str, *targets: str) -> str:
    return f"CLUE: {word}\nTARGETS: {', '.join(targets)}"


def guess(*words: str) -> str:
    return f"GUESS: {', '.join(words)}"


def play(*replies: str, draws: Any = (), item: Instance | None = None) -> Episode:
    """Replies in turn; the opponents uncover their words in order unless told otherwise."""
    opponents = [[word] for word in WORDS["opponent"]]
    script = [(None, Reply(text)) for text in replies]
    return whole(replay_script(GAME, item or instance(), script, draws=[*draws, *opponents]))


# --- the course of the game ----------------------------------------------------------------------

LONG = (
    clue("animal", "otter", "violin"),
    guess("otter", "apron"),
    clue("sky", "comet"),
    guess("comet"),
    clue("grass", "meadow", "cannon"),
    guess("meadow", "cannon"),
)


def test_a_won_game_with_all_its_messages() -> None:
    episode = play(*LONG)
    assert episode.outcome == Success(100)
    assert shown(episode, "cluegiver") == [
        "otter, meadow, comet|kettle, ladder, needle|violin, apron|cannon.",
        "Right: otter is a word of the team. Wrong: apron is a neutral word. "
        "That ends the turn of your teammate.\n"
        # The opponents have uncovered kettle meanwhile; the list was made before.
        "again meadow, comet|kettle, ladder, needle|violin",
        "Right: comet is a word of the team. That ends the turn of your teammate.\n"
        "again meadow|ladder, needle|violin",
    ]
    assert shown(episode, "guesser") == [
        "'animal' 2: needle, otter, violin, meadow, cannon, ladder, comet, apron, kettle",
        "Right: otter is a word of the team. Wrong: apron is a neutral word. That ends your turn.\n"
        "again 'sky' 1: needle, violin, meadow, cannon, ladder, comet",
        "Right: comet is a word of the team. That ends your turn.\n"
        "again 'grass' 2: needle, violin, meadow, cannon",
    ]
    assert noted(episode, "word targeted")[1] == {"word": "violin", "assignment": "innocent"}
    assert noted(episode, "target revealed")[-1] == {"word": "cannon", "assignment": "assassin"}
    assert noted(episode, "turn end after") == ["apron", "cannon"]
    assert [entry["word"] for entry in noted(episode, "opponent revealed")] == ["kettle", "ladder"]
    assert noted(episode, "board end status") == [
        {
            "hidden": {
                "team": [],
                "opponent": ["needle"],
                "innocent": ["violin"],
                "assassin": [],
            },
            "revealed": {
                "team": {
                    "team": ["otter", "comet", "meadow"],
                    "opponent": [],
                    "innocent": ["apron"],
                    "assassin": ["cannon"],
                },
                "opponent": {
                    "team": [],
                    "opponent": ["kettle", "ladder"],
                    "innocent": [],
                    "assassin": [],
                },
            },
        }
    ]


def test_several_right_words_are_reported_together() -> None:
    episode = play(
        clue("nice", "otter", "comet"),
        guess("comet", "otter"),
        clue("grass", "meadow"),
        guess("meadow"),
    )
    assert shown(episode, "guesser")[1].startswith("Right: comet, otter are words of the team. T")


def test_a_word_of_the_opponents_is_reported() -> None:
    episode = play(clue("tea", "otter"), guess("kettle"), "no")
    wrong = "Wrong: kettle is a word of the opponents. That ends the turn of your teammate.\n"
    assert shown(episode, "cluegiver")[1].startswith(wrong)


def test_guessing_stops_at_the_first_word_that_is_not_the_teams() -> None:
    episode = play(
        clue("x", "otter", "comet", "meadow"), guess("otter", "violin", "comet"), "no", draws=()
    )
    assert [entry["word"] for entry in noted(episode, "team revealed")] == ["otter", "violin"]
    assert noted(episode, "guesses") == [["otter", "violin", "comet"]]


def test_rounds_are_rewarded_with_the_share_of_team_words() -> None:
    episode = play(*LONG)
    rewards = [e for e in episode.events if isinstance(e, Reward)]
    assert [(r.role, r.value) for r in rewards] == [
        (role, 1 / 3) for _ in range(3) for role in ("cluegiver", "guesser")
    ]
    miss = play(clue("tea", "otter"), guess("kettle"), "no")
    assert [e.value for e in miss.events if isinstance(e, Reward)] == [0, 0]


# --- ends ----------------------------------------------------------------------------------------


def test_the_last_team_word_wins_before_an_assassin_word_loses() -> None:
    words = ["otter", "meadow", "comet", "cannon"]
    episode = play(clue("all", *words), guess(*words))
    assert episode.outcome == Success(100)
    assert GAME.metrics(episode).episode["Game ended through assassin"] == 0


def test_an_assassin_word_loses_at_once() -> None:
    episode = play(clue("all", "otter", "comet"), guess("otter", "cannon"))
    assert episode.outcome == Lose(0)
    assert GAME.metrics(episode).episode["Game ended through assassin"] == 1


def test_the_opponents_win_with_their_last_word() -> None:
    episode = play(
        *(clue("tea", "otter"), guess("violin")),
        *(clue("tea", "otter"), guess("apron")),
        *(clue("tea", "otter"), guess("otter")),
    )
    assert episode.outcome == Lose(0)
    assert len(noted(episode, "opponent revealed")) == 3


def test_the_team_can_uncover_the_opponents_last_word() -> None:
    item = instance(**{"opponent difficulty": 2})
    episode = play(
        *(clue("tea", "otter"), guess("otter")),
        *(clue("tea", "comet"), guess("needle")),
        item=item,
        draws=[["ladder", "kettle"]],
    )
    assert episode.outcome == Lose(0)
    assert GAME.metrics(episode).episode["Game ended through assassin"] == 0
    assert len([e for e in episode.events if isinstance(e, Draw)]) == 1


@pytest.mark.parametrize(("difficulty", "sizes"), [(0, []), (1, [1, 1, 1]), (2, [2, 1]), (9, [3])])
def test_the_opponents_uncover_as_many_words_as_they_may(difficulty: int, sizes: list[int]) -> None:
    item = instance(**{"opponent difficulty": difficulty})
    replies = [clue("tea", "otter"), guess("violin"), clue("tea", "otter"), guess("apron")]
    replies += [clue("tea", "comet"), guess("comet"), clue("tea", "otter"), guess("otter")]
    replies += [clue("tea", "meadow"), guess("meadow")]
    script = [(None, Reply(text)) for text in replies]
    done = replay_script(GAME, item, script)
    draws = [e for e in done.episode.events if isinstance(e, Draw)]
    assert [draw.k for draw in draws] == sizes
    assert done.episode.success == (difficulty == 0)
    hidden = [set(draw.options) for draw in draws]
    assert all(later < earlier for earlier, later in pairwise(hidden))


@pytest.mark.parametrize(
    ("replies", "code", "fault"),
    [
        (["CLUE: tea"], "missing_prefix", "cluegiver"),
        ([clue("tea", "otter"), "otter"], "missing_prefix", "guesser"),
        # The cluegiver was shown kettle as hidden, but the opponents have uncovered it.
        (
            [clue("tea", "otter"), guess("otter"), clue("tea", "kettle")],
            "unknown_target",
            "cluegiver",
        ),
        (
            [clue("tea", "otter"), guess("otter"), clue("tea", "otter")],
            "repeated_target",
            "cluegiver",
        ),
        (
            [clue("tea", "otter"), guess("otter"), clue("tea", "comet"), guess("otter")],
            "repeated_guess",
            "guesser",
        ),
    ],
)
def test_a_broken_rule_aborts_at_once(replies: list[str], code: str, fault: str) -> None:
    outcome = play(*replies).outcome
    assert isinstance(outcome, Abort)
    assert (outcome.code, outcome.fault) == (code, fault)


def test_nobody_is_asked_again_whatever_the_flag_says() -> None:
    episode = play("no", item=instance(flags=GENEROUS))
    assert episode.aborted
    assert len(episode.replies()) == 1


def test_the_clue_is_shown_without_its_number_and_may_be_empty() -> None:
    episode = play(clue("42", "otter"), "no")
    assert shown(episode, "guesser")[0].startswith("'' 1: ")


# --- prompts -------------------------------------------------------------------------------------


def test_our_own_prompts_show_the_tags_and_all_the_words() -> None:
    ours = instance()
    ours = Instance(
        GAME.name,
        Experiment("x", {k: v for k, v in ours.experiment.config.items() if k not in TEMPLATES}),
        ours.data,
    )
    episode = play(*LONG, item=ours)
    for text in shown(episode, "cluegiver"):
        assert "CLUE: " in text and "TARGETS: " in text and "$" not in text
    for text in shown(episode, "guesser"):
        assert "GUESS: " in text and "$" not in text
    assert shown(episode, "cluegiver")[0].endswith(
        "team: otter, meadow, comet\nWords of the opponents: kettle, ladder, needle\n"
        "Neutral words: violin, apron\nAssassin words: cannon"
    )
    assert shown(episode, "guesser")[0].endswith(
        'Clue: "animal"\nNumber of words: 2\nBoard: ' + ", ".join(BOARD)
    )
    assert shown(episode, "guesser")[1].endswith(
        'Clue: "sky"\nNumber of words: 1\nBoard: needle, violin, meadow, cannon, ladder, comet'
    )


def test_a_reply_cannot_fill_placeholders() -> None:
    episode = play(clue("$board|$BOARD$", "otter"), "no")
    assert shown(episode, "guesser")[0].startswith("'$board|$board$' 1: needle")


def test_the_guesser_never_learns_whose_the_hidden_words_are() -> None:
    """Swapping hidden words between the assignments changes nothing that the guesser sees."""
    seen = []
    swapped = {**WORDS, "innocent": ["violin", "cannon"], "assassin": ["apron"]}
    for words in (WORDS, swapped):
        item = instance()
        item = Instance(GAME.name, item.experiment, {**item.data, "assignments": words})
        episode = play(
            clue("animal", "otter"), guess("otter"), clue("sky", "comet"), "no", item=item
        )
        seen.append(shown(episode, "guesser"))
        assert not any("targets" in text.lower() for text in seen[-1])
    assert seen[0] == seen[1]


# --- metrics -------------------------------------------------------------------------------------


def test_the_scores_of_a_won_game() -> None:
    scores = GAME.metrics(play(*LONG))
    assert scores.rounds["0"] == {
        "turn": {
            "Cluegiver": {"validation error": 0},
            "Guesser": {"validation error": 0},
            "targeted": {"team": 1, "opponent": 0, "innocent": 1, "assassin": 0, "total": 2},
            "guesses": ["otter", "apron"],
            "revealed": {
                "target": 1,
                "team": 1,
                "opponent": 0,
                "innocent": 1,
                "assassin": 0,
                "total": 2,
            },
        },
        "Cluegiver validation error": 0,
        "Guesser validation error": 0,
        "Cluegiver Number of Targets": 2,
        "Cluegiver Team Precision": 0.5,
        "Cluegiver Team Recall": 0.333,
        "Cluegiver Team F1": 0.4,
        "Guesser Number of Guesses": 2,
        "Guesser Number of Revealed Words": 2,
        "Guesser Number of Unrevealed Guesses": 0,
        "Guesser Target Precision": 0.5,
        "Guesser Target Recall": 0.5,
        "Guesser Target F1": 0.5,
        "Guesser Team Precision": 0.5,
        "Guesser Team Recall": 0.333,
        "Guesser Team F1": 0.4,
    }
    assert list(scores.rounds) == ["0", "1", "2"]
    # Team recall is relative to the words hidden at the start of the round: 1/3, 1/2, 1/1.
    assert scores.episode == {
        "experiment variable": "Test",
        "experiment name": "here",
        "Cluegiver strip words": 0,
        "Guesser strip words": 0,
        "Average Cluegiver Number of Targets": 1.667,
        "Average Cluegiver Team Precision": 0.667,
        "Average Cluegiver Team Recall": 0.611,
        "Average Cluegiver Team F1": 0.578,
        "Average Guesser Number of Guesses": 1.667,
        "Average Guesser Number of Revealed Words": 1.667,
        "Average Guesser Number of Unrevealed Guesses": 0,
        "Average Guesser Target Precision": 0.833,
        "Average Guesser Target Recall": 0.833,
        "Average Guesser Target F1": 0.833,
        "Average Guesser Team Precision": 0.667,
        "Average Guesser Team Recall": 0.611,
        "Average Guesser Team F1": 0.578,
        "Aborted": 0,
        "Lose": 0,
        "Success": 1,
        "Game ended through assassin": 0,
        "Episode Recall": 1,
        "Episode Negative Recall": 0.667,
        "Number of turns": 4,
        "Efficiency": 0.625,
        "Request Count": 6,
        "Parsed Request Count": 6,
        "Violated Request Count": 0,
        "Request Success Ratio": 1,
        "Main Score": 100,
    }


@pytest.mark.parametrize(
    ("last", "turns", "guilty", "stripped"),
    [
        (["no"], 2, "Cluegiver", 1),
        ([clue("sky", "comet"), "no"], 3, "Guesser", 1),
        # Upstream logs this error for the wrong player; the turns are counted all the same.
        (["CLUE: sky, 1\nTARGETS: comet"], 2, "Guesser", 2),
    ],
)
def test_the_scores_of_an_aborted_game(
    last: list[str], turns: int, guilty: str, stripped: int
) -> None:
    scores = GAME.metrics(play(clue("<x>", "otter"), guess("otter"), *last))
    episode = scores.episode
    assert (episode["Aborted"], episode["Lose"], episode["Success"]) == (1, 0, 0)
    assert episode["Main Score"] is None
    assert episode["Number of turns"] == turns
    assert episode["Efficiency"] == round(0.5 / turns, 3)
    assert episode["Violated Request Count"] == 1
    assert episode["Request Success Ratio"] == round((2 + len(last) - 1) / (2 + len(last)), 3)
    assert episode["Cluegiver strip words"] == stripped
    assert episode["Episode Recall"] == 0.333
    assert episode["Average Guesser Number of Guesses"] == 0.5
    errors = {
        name: scores.rounds["1"][f"{name} validation error"] for name in ("Cluegiver", "Guesser")
    }
    assert errors == {"Cluegiver": 0, "Guesser": 0, guilty: 1}
    assert scores.rounds["1"]["turn"]["guesses"] == []
    assert scores.rounds["0"]["Guesser validation error"] == 0


def test_with_reprompting_the_turns_of_an_abort_are_counted_upside_down() -> None:
    item = instance(flags=GENEROUS)
    scores = GAME.metrics(play("no", item=item)).episode
    assert scores["Number of turns"] == 2
    assert scores["Cluegiver reprompt on error"] == 1
    scores = GAME.metrics(play(clue("sky", "comet"), "no", item=item)).episode
    assert scores["Number of turns"] == 1
    assert scores["Guesser reprompt on error"] == 1
    assert [name for name in scores if name.startswith("Cluegiver ")] == [
        f"Cluegiver {flag.lower()}" for flag in FLAGS
    ]
    won = GAME.metrics(play(*LONG, item=item)).episode
    assert won["Number of turns"] == 4


def test_tolerated_repetitions_count_as_guesses_and_are_uncovered_once() -> None:
    words = ["otter", "otter", "lion", "comet"]
    episode = play(
        clue("x", *words), guess("otter", "otter", "comet"), "no", item=instance(flags=GENEROUS)
    )
    scores = GAME.metrics(episode)
    first = scores.rounds["0"]
    assert first["Cluegiver Number of Targets"] == 3
    assert first["Guesser Number of Guesses"] == 3
    assert first["Guesser Number of Revealed Words"] == 2
    assert scores.episode["Cluegiver ignore false targets or guesses"] == 3
    assert scores.episode["Guesser ignore false targets or guesses"] == 2


def test_averages_round_ties_as_upstream_does() -> None:
    """The mean of 0, 0.4, 0.667 and 0.667 is a tie, which a sum of floats would miss."""
    episode = play(
        *(clue("x", "apron"), guess("violin")),
        *(clue("x", "otter", "comet", "ladder", "needle", "apron"), guess("apron")),
        *(clue("x", "otter", "comet", "ladder"), guess("needle")),
        *(clue("x", "otter", "comet", "ladder"), "no"),
        item=instance(**{"opponent difficulty": 0}),
    )
    scores = GAME.metrics(episode)
    precisions = [scores.rounds[key]["Cluegiver Team Precision"] for key in scores.rounds]
    assert precisions == [0, 0.4, 0.667, 0.667]
    assert scores.episode["Average Cluegiver Team Precision"] == 0.433


# --- draws of recordings -------------------------------------------------------------------------


def test_the_opponents_moves_of_a_recording() -> None:
    def revealed(word: str) -> dict[str, Any]:
        return {"type": "opponent revealed", "content": {"word": word, "assignment": "opponent"}}

    other = {"type": "board status", "content": {}}
    events = [other, revealed("a"), revealed("b"), other, other, revealed("c")]
    assert GAME.recorded_draws(events) == [["a", "b"], ["c"]]
    assert GAME.recorded_draws([other]) == []


# --- any reply -----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *("CLUE: ", "TARGETS: ", "GUESS: ", "\n", ", ", ",", " ", "\r", "\x00", ".", "'", "<", "2"),
        *("otter", "meadow", "comet", "kettle", "violin", "cannon", "Otter", "zoo", "otters"),
        *("İ", "\u2028", "\ud800", "é", "((((", "[[[{", "$BOARD$", "é" * 1000),
    ]
)
NEAR = st.lists(PIECES, max_size=12).map("".join)
VALID = st.sampled_from(
    [
        *(clue("zoo", word) for words in WORDS.values() for word in words),
        clue("zoo", *BOARD),
        *(guess(word) for word in BOARD),
        guess(*BOARD),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(VALID, VALID, NEAR, st.text()), max_size=16),
    st.dictionaries(st.sampled_from(list(FLAGS)), st.booleans()),
    st.integers(0, 3),
)
def test_any_replies_end_in_an_outcome_and_replay_identically(
    replies: list[str], flags: dict[str, bool], difficulty: int
) -> None:
    item = instance(flags={**FLAGS, **flags}, **{"opponent difficulty": difficulty})
    done = replay_script(GAME, item, [(None, Reply(text)) for text in [*replies, "no"]])
    assert done.complete
    GAME.metrics(done.episode)
    if not any("\ud800" in text for text in replies):  # no JSON for half a character
        assert replay(GAME, item, done.episode).divergences == []
