"""The rules of private and shared: reply tables, flow, texts, scores, hostile replies."""

from __future__ import annotations

import math
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clembench.games_kit import by_turns, noted, whole

from playpen import Abort, Ask, Experiment, Instance, Lose, Reward, Success, Violated
from playpen.episode import Episode
from playpen.moves import Round
from playpen.prompts import PromptError
from playpen.replay import replay
from playpen.scoring import episode_scores, score_episodes
from playpen_clembench.privateshared.game import PrivateShared
from playpen_clembench.privateshared.scores import Probe, kappa

GAME = PrivateShared()
ROLE = "answerer"
YES, NO = "ASIDE: yes", "ASIDE: no"

TEXTS = {
    "requests": {"size": ["Size?"], "colour": ["Shade?", "Hue?", "Colour?"]},
    "probing_questions": {
        "size": ["size known?", "size told?", "size clear?"],
        "colour": ["colour known?", "colour told?", "colour clear?", "colour out?"],
    },
    "reprompts": {"suffixes": ["", "Again.", "Once more.", "Please.", "Last."]},
    "words": {
        "ANSWER": "ANSWER: ",
        "ASIDE": "ASIDE: ",
        "ME": "ME: ",
        "PROBE": "ME: {} Yes or no?",
        "YES": "yes",
        "NO": "no",
        "OK": "Fine.",
        "tags": ["CLERK"],
    },
}
PAIR = {
    "game_id": 0,
    "tag": "CLERK",
    "slots": {"size": "Large", "colour": "Teal"},
    "initial_prompt": "You buy a shirt.\n\nWHAT: Shirt\nSIZE: Large\nCOLOUR: Teal",
    "request_order": ["colour", "size"],
    "requests": {"size": 0, "colour": 2},
    "probes": {
        "0": {"size": 1, "colour": 0},
        "1": {"size": 0, "colour": 3},
        "2": {"size": 2, "colour": 2},
    },
    "lang": "en",
}


def pair(**changes):
    """Two slots; the colour is asked for first."""
    texts = changes.pop("texts", TEXTS)
    return Instance("privateshared", Experiment("shop", {"texts": texts}), {**PAIR, **changes})


def many(number):
    """Slots a, b, ... with the values v0, v1, ..., asked for in this order."""
    slots = {chr(ord("a") + i): f"v{i}" for i in range(number)}
    zero = dict.fromkeys(slots, 0)
    data = {
        "game_id": 1,
        "tag": "T",
        "slots": slots,
        "initial_prompt": "values",
        "request_order": list(slots),
        "requests": zero,
        "probes": {str(n): zero for n in range(number + 1)},
    }
    pools = {slot: [f"{slot}?"] for slot in slots}
    texts = {**TEXTS, "requests": pools, "probing_questions": pools}
    return Instance("privateshared", Experiment("many", {"texts": texts}), data)


played = partial(by_turns, GAME)


def finished(item, *replies) -> Episode:
    return whole(played(item, *replies))


def asked(episode, keep=None):
    return [e.text for e in episode.events if isinstance(e, Ask) and keep in (None, e.keep)]


PERFECT = [NO, NO, "ANSWER: teal", NO, YES, "ANSWER: large", YES, YES]


# --- reply forms (docs/rules/privateshared.md, "Reply format") ------------------------------------

ANSWERS = [
    ("ANSWER: By boat.", "filled"),
    ("ANSWER:boat", "filled"),
    ("ANSWER: boat\n", "filled"),
    ("ANSWER: boat\n\n\n", "filled"),
    ("ANSWER: a boat, not a train", "filled"),
    ("ANSWER: BOAT", "filled"),
    ("ANSWER: lifeboats", "filled"),
    ("ANSWER: bANSWER:oat", "filled"),
    ("ANSWER:\tboat\t", "filled"),
    ("ANSWER: boat<|end_of_text|>", "filled"),
    ("ANSWER: boat\rASIDE: x", "filled"),
    ("ANSWER: a ANSWER: b", "empty"),
    ("ANSWER:", "empty"),
    ("ANSWER: b oat", "empty"),
    ("ANSWER: by ship", "empty"),
    ("answer: boat", "invalid"),
    ("\nANSWER: boat", "invalid"),
    (" ANSWER: boat", "invalid"),
    ("Sure. ANSWER: boat", "invalid"),
    ("ANSWER boat", "invalid"),
    ("**ANSWER:** boat", "invalid"),
    ("ASIDE: boat", "invalid"),
    ("ANSWER: boat\nASIDE: x", "invalid"),
    ("ANSWER: boat \n ", "invalid"),
    ("ANSWER:\nboat", "invalid"),
    ("ANSWER: boat\n\n<|end_of_text|>", "invalid"),
    ("boat", "invalid"),
    ("", "invalid"),
]


@pytest.mark.parametrize(("reply", "verdict"), ANSWERS)
def test_what_an_answer_may_be(reply, verdict):
    item = pair(slots={"size": "Large", "colour": "Boat"})
    episode = played(item, NO, NO, reply).episode
    invalid = [e for e in episode.events if isinstance(e, Violated)]
    if verdict == "invalid":
        assert [(v.role, v.retried) for v in invalid] == [(ROLE, False)]
        assert noted(episode, "answer") == []
        # The next question comes at once.
        assert asked(episode)[3] == "CLERK: Size?"
    else:
        assert not invalid
        told = ["colour"] if verdict == "filled" else []
        assert noted(episode, "answer") == [
            {"slot": "colour", "filled": verdict == "filled", "told": told}
        ]
        assert asked(episode)[3].startswith("ME: ")
    # Valid or not, the exchange stays in the history.
    chat = [message.content for message in episode.conversation(ROLE)]
    assert chat[2:4] == ["CLERK: Colour?", reply]


ASIDES = [
    ("ASIDE: Yes.", True),
    ("ASIDE:no", False),
    ("ASIDE: Not that I know", False),
    ("ASIDE: no\n\n", False),
    ("ASIDE: yes ASIDE: no", True),
    ("ASIDE:  YES", True),
    ("ASIDE: Yesterday", True),
    ("ASIDE: None", False),
    ("ASIDE: Nobody does.", False),
    ("ASIDE: nASIDE:o", False),
    ("ASIDE: yes<|end_of_text|>", True),
    ("ASIDE: yes or no", True),
    ("aside: yes", None),
    ("ANSWER: yes", None),
    ("ASIDE: I think yes", None),
    ('ASIDE: "Yes"', None),
    ("ASIDE: **No**", None),
    ("ASIDE:\nyes", None),
    (" ASIDE: no", None),
    ("\nASIDE: no", None),
    ("ASIDE: no\nBecause.", None),
    ("ASIDE: no \n ", None),
    ("ASIDE: ye s", None),
    ("ASIDE:", None),
    ("yes", None),
    ("", None),
]


@pytest.mark.parametrize(("reply", "said"), ASIDES)
def test_what_a_reply_to_the_game_master_may_be(reply, said):
    again = [YES] if said is None else []
    episode = played(pair(), reply, *again, NO).episode
    violations = [e for e in episode.events if isinstance(e, Violated)]
    if said is None:
        assert [(v.role, v.retried) for v in violations] == [(ROLE, True)]
        assert asked(episode)[1] == "ME: Again. size told? Yes or no?"
        said = True  # the second reply
    else:
        assert not violations
        assert asked(episode)[1] == "ME:  colour known? Yes or no?"
    assert noted(episode, "probes")[0][0] == {"slot": "size", "shared": False, "said": said}


# --- flow ----------------------------------------------------------------------------------------


def test_a_perfect_game():
    episode = finished(pair(), *PERFECT)
    assert episode.outcome == Success(100)
    assert asked(episode) == [
        "ME:  size told? Yes or no?",
        "ME:  colour known? Yes or no?",
        "CLERK: Colour?",
        "ME:  size known? Yes or no?",
        "ME:  colour out? Yes or no?",
        "CLERK: Size?",
        "ME:  size clear? Yes or no?",
        "ME:  colour clear? Yes or no?",
    ]
    assert [(m.role, m.content) for m in episode.conversation(ROLE)] == [
        ("user", PAIR["initial_prompt"]),
        ("assistant", "Fine."),
        ("user", "CLERK: Colour?"),
        ("assistant", "ANSWER: teal"),
        ("user", "CLERK: Size?"),
        ("assistant", "ANSWER: large"),
    ]
    assert [[p["shared"] for p in probes] for probes in noted(episode, "probes")] == [
        [False, False],
        [False, True],
        [True, True],
    ]
    assert sum(isinstance(event, Round) for event in episode.events) == 2


def test_a_question_aside_sees_the_history_and_no_other_question_aside():
    episode = finished(pair(), NO, "what?", NO, *PERFECT[2:])
    turns = episode.turns(ROLE)
    assert [m.content for m in turns[2].messages] == [
        PAIR["initial_prompt"],
        "Fine.",
        "ME: Again. colour known? Yes or no?",
    ]
    assert [m.content for m in turns[4].messages] == [
        PAIR["initial_prompt"],
        "Fine.",
        "CLERK: Colour?",
        "ANSWER: teal",
        "ME:  size known? Yes or no?",
    ]
    assert [turn.keep for turn in turns] == [False] * 3 + [True, False, False, True, False, False]


def test_five_unreadable_replies_abort():
    episode = finished(pair(), NO, *["no"] * 5)
    assert isinstance(episode.outcome, Abort)
    assert (episode.outcome.fault, episode.outcome.unscored) == (ROLE, False)
    assert asked(episode)[1:] == [
        f"ME: {suffix} colour known? Yes or no?" for suffix in TEXTS["reprompts"]["suffixes"]
    ]
    retried = [e.retried for e in episode.events if isinstance(e, Violated)]
    assert retried == [True, True, True, True, False]


def test_the_fifth_attempt_counts():
    episode = finished(pair(), *["no"] * 4, NO, *["no"] * 4, NO, *PERFECT[2:])
    assert episode.success


def test_every_question_aside_has_attempts_of_its_own():
    asides = [reply for reply in (NO, NO) for reply in (*["?"] * 4, reply)]
    assert asked(played(pair(), *asides).episode)[-1] == "CLERK: Colour?"


def test_what_is_told_early_is_shared_early():
    replies = [NO, NO, "ANSWER: a LARGE one in teal", YES, YES, "ANSWER: large", YES, YES]
    episode = finished(pair(), *replies)
    assert episode.success
    assert noted(episode, "answer")[0] == {
        "slot": "colour",
        "filled": True,
        "told": ["size", "colour"],
    }


def test_a_slot_told_in_place_of_another_is_shared_but_not_filled():
    episode = finished(pair(), NO, NO, "ANSWER: large", YES, YES, "ANSWER: large", YES, YES)
    assert [a["filled"] for a in noted(episode, "answer")] == [False, True]
    # The slot that was asked for counts as shared all the same.
    assert all(p["shared"] for p in noted(episode, "probes")[1])
    assert episode.outcome == Lose(pytest.approx(100 * 2 * 0.5 / 1.5))


def test_an_invalid_answer_cuts_its_round_short_and_shares_the_slot_from_the_next_on():
    episode = finished(pair(), NO, NO, "teal", "ANSWER: large", YES, YES)
    assert asked(episode, keep=True) == ["CLERK: Colour?", "CLERK: Size?"]
    assert len(noted(episode, "probes")) == 2
    assert [p["shared"] for p in noted(episode, "probes")[1]] == [True, True]
    assert episode.outcome == Success(100)


def test_an_invalid_answer_tells_nothing_early():
    item = many(3)
    replies = [NO] * 3 + ["ANSWER: v0\nand v2", "ANSWER: v1", YES, YES, NO]
    assert [p["shared"] for p in noted(played(item, *replies).episode, "probes")[1]] == [1, 1, 0]


def test_a_game_without_a_valid_answer_is_aborted_and_unscored():
    episode = finished(pair(), NO, NO, "teal", "large")
    assert isinstance(episode.outcome, Abort)
    assert (episode.outcome.unscored, episode.outcome.fault) == (True, ROLE)
    other = finished(pair(), *PERFECT)
    other.repeat = 1
    (table,) = score_episodes([episode, other], {GAME.name: GAME}).games
    assert (table.episodes, table.aborted, table.unscored) == (1, 0, 1)


def test_the_probes_come_in_the_order_of_the_file():
    probes = {"0": {"colour": 0, "size": 0}, "1": {"size": 0}, "2": {"colour": 1, "size": 1}}
    episode = finished(pair(probes=probes), NO, NO, "ANSWER: teal", NO, "ANSWER: large", YES, YES)
    slots = [[p["slot"] for p in probes] for probes in noted(episode, "probes")]
    assert slots == [["colour", "size"], ["size"], ["colour", "size"]]


def test_rewards_add_up_to_kappa_and_slot_filling_accuracy():
    replies = [NO, YES, "ANSWER: teal", NO, NO, "ANSWER: huge", YES, YES]
    episode = finished(pair(), *replies)
    rewards = [e.value for e in episode.events if isinstance(e, Reward)]
    scores = GAME.metrics(episode).episode
    assert rewards == pytest.approx([1 / 6, -1 / 6, 1 / 2, 1 / 6, -1 / 6, 0, 1 / 6, 1 / 6])
    total = scores["Kappa"] + scores["Slot-Filling-Accuracy"]
    assert sum(rewards) == pytest.approx(total)


# --- texts ---------------------------------------------------------------------------------------

OURS = {
    "game_id": 0,
    "slots": {"from": "Lima", "to": "Quito", "by": "Horse", "class": "Third", "when": "Now"},
    "request_order": ["by", "from", "when", "class", "to"],
    "requests": dict.fromkeys(["from", "to", "by", "class", "when"], 1),
    "probes": {str(n): dict.fromkeys(["from", "to", "by", "class", "when"], 1) for n in range(6)},
}


def ours(experiment="travel-booking", texts=None, **changes):
    config = {} if texts is None else {"texts": texts}
    return Instance("privateshared", Experiment(experiment, config), {**OURS, **changes})


def test_our_own_texts():
    episode = played(ours(), *[NO] * 5, "ANSWER: x", *["?"] * 4).episode
    opening, ok, question, _ = (m.content for m in episode.conversation(ROLE))
    assert ok == "Ok."
    assert "\n\nWHAT: Journey\nFROM: Lima\nTO: Quito\nBY: Horse\nCLASS: Third\nWHEN: Now\n\n" in (
        opening
    )
    for part in ("TRAVEL-AGENT:", "ANSWER: <", "ASIDE: <yes or no>", "with ME: is", "agent"):
        assert part in opening
    assert "$" not in opening
    assert question == "TRAVEL-AGENT: Which means of transport do you prefer?"
    first, *again = asked(episode)[6:]
    assert first.startswith("ME:  ") and first[5:].startswith("Has the starting point")
    assert len(set(again)) == 4
    assert all(text.endswith(first[5:]) and text.startswith("ME: ") for text in again)


def test_each_kind_of_text_can_be_brought_alone():
    probing = {slot: ["a", f"{slot} known?"] for slot in OURS["slots"]}
    (first,) = asked(played(ours(texts={"probing_questions": probing})).episode)
    assert first.startswith("ME:  from known? ")
    (first,) = asked(played(ours(texts={"words": TEXTS["words"]})).episode)
    assert first.endswith(" Yes or no?") and "starting point" in first
    reprompts = {"suffixes": ["1.", "2.", "3.", "4.", "5."]}
    first, second = asked(played(ours(texts={"reprompts": reprompts}), "?").episode)
    assert first.startswith("ME: 1. ") and second.startswith("ME: 2. ")
    requests = {slot: ["x", f"{slot}!"] for slot in OURS["slots"]}
    episode = played(ours(texts={"requests": requests}), *[NO] * 5).episode
    assert asked(episode)[-1] == "TRAVEL-AGENT: by!"


def test_words_of_another_language():
    words = {
        "ANSWER": "ANTWORT: ",
        "ASIDE": "LEISE: ",
        "ME": "ICH: ",
        "PROBE": "ICH: {}",
        "YES": "ja",
        "NO": "nein",
        "OK": "Gut.",
    }
    item = pair(texts={**TEXTS, "words": words}, lang="de")
    german = {YES: "LEISE: Ja", NO: "LEISE: Nein"}
    replies = [german.get(r, r.replace("ANSWER", "ANTWORT")) for r in PERFECT]
    episode = finished(item, *replies)
    assert episode.success
    assert asked(episode)[0] == "ICH:  size told?"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (ours("shop"), r"no texts for the experiment 'shop' \(only for travel-booking, "),
        (ours("shop", TEXTS), "no texts for the experiment 'shop'"),
        (ours(lang="xx"), "no words for language 'xx'"),
        (pair(probes={"0": {"size": 3}}), r"no probing question number 3 .* 'size' \(it has 3\)"),
        (pair(probes={"0": {"hat": 0}}), r"no probing question number 0 .* 'hat' \(it has 0\)"),
    ],
)
def test_missing_texts_are_explained(item, message):
    with pytest.raises(PromptError, match=message):
        played(item)


# --- scores (docs/rules/privateshared.md, "Scores") -----------------------------------------------


def test_scores_of_a_perfect_game():
    episode = finished(pair(), NO, "?", NO, *PERFECT[2:])
    assert episode_scores(GAME, episode) == {
        "Middle-Accuracy": 1,
        "Accuracy": 1,
        "Kappa": 1,
        "Truncated Kappa": 1,
        "Slot-Filling-Accuracy": 1,
        "Main Score": 100,
        "Aborted": 0,
        "Lose": 0,
        "Success": 1,
        "Request Count": 9,
        "Parsed Request Count": 8,
        "Violated Request Count": 1,
        "Request Success Ratio": 8 / 9,
    }
    assert GAME.metrics(episode).rounds == {
        "0": counts(3, 2, 1) | {"Accuracy": 1},
        "1": counts(3, 3, 0) | {"Accuracy": 1, "Slot Filled?": 1},
        "2": counts(3, 3, 0) | {"Accuracy": 1, "Slot Filled?": 1},
    }


def counts(requests, parsed, violated):
    return {
        "Request Count": requests,
        "Parsed Request Count": parsed,
        "Violated Request Count": violated,
    }


def test_scores_of_a_lost_game():
    replies = [NO, YES, "ANSWER: teal", NO, NO, "ANSWER: huge", YES, YES]
    episode = finished(pair(), *replies)
    # 4 of 6 are correct; 3 are shared, 3 are said to be: chance is 1/2.
    scores = episode_scores(GAME, episode)
    assert scores["Accuracy"] == pytest.approx(2 / 3)
    assert scores["Kappa"] == scores["Truncated Kappa"] == pytest.approx(1 / 3)
    assert scores["Slot-Filling-Accuracy"] == 0.5
    assert scores["Main Score"] == pytest.approx(100 * 2 * (1 / 3) * 0.5 / (1 / 3 + 0.5))
    assert (scores["Success"], scores["Lose"], scores["Middle-Accuracy"]) == (0, 1, 0.5)


@pytest.mark.parametrize(("first", "second", "filling"), [("x", "x", 0), ("teal", "large", 1)])
def test_a_negative_kappa_scores_nothing(first, second, filling):
    replies = [YES, YES, f"ANSWER: {first}", YES, NO, f"ANSWER: {second}", NO, YES]
    scores = episode_scores(GAME, finished(pair(), *replies))
    assert scores["Kappa"] == pytest.approx(-2 / 3)
    assert (scores["Truncated Kappa"], scores["Slot-Filling-Accuracy"]) == (0, filling)
    assert (scores["Main Score"], scores["Lose"]) == (0, 1)


def test_all_correct_replies_with_an_empty_slot_lose():
    episode = finished(pair(), *PERFECT[:5], "ANSWER: x", YES, YES)
    scores = episode_scores(GAME, episode)
    assert (scores["Accuracy"], scores["Kappa"], scores["Success"]) == (1, 1, 0)
    assert scores["Main Score"] == pytest.approx(100 * 2 * 0.5 / 1.5)


def test_a_skipped_round_shifts_accuracies_but_not_counts():
    item = many(3)
    replies = [NO] * 3 + ["v0"] + ["ANSWER: v1", YES, YES, YES] + ["ANSWER: v2", YES, YES, YES]
    episode = finished(item, *replies)
    metrics = GAME.metrics(episode)
    assert metrics.rounds == {
        "0": counts(3, 3, 0) | {"Accuracy": 1},
        # The counts of round 1, the accuracy and the slot of round 2.
        "1": counts(0, 0, 1) | {"Accuracy": pytest.approx(2 / 3), "Slot Filled?": 1},
        "2": counts(4, 4, 0) | {"Accuracy": 1, "Slot Filled?": 1},
    }
    # Parsed and violated are more than all: an invalid answer is no request.
    assert metrics.episode["Request Count"] == metrics.episode["Parsed Request Count"] == 11
    assert metrics.episode["Violated Request Count"] == 1
    assert metrics.episode["Request Success Ratio"] == 1
    assert metrics.episode["Middle-Accuracy"] == pytest.approx(2 / 3)


MEASURES = ("Accuracy", "Kappa", "Truncated Kappa", "Slot-Filling-Accuracy", "Main Score")


def test_scores_of_a_game_aborted_in_the_first_round():
    episode = finished(pair(), NO, *["no"] * 5)
    assert episode_scores(GAME, episode) == {
        **dict.fromkeys(MEASURES),
        "Aborted": 1,
        "Lose": 0,
        "Success": 0,
        **counts(6, 1, 5),
        "Request Success Ratio": 1 / 6,
    }
    assert GAME.metrics(episode).rounds == {}


def test_scores_of_a_game_aborted_later():
    episode = finished(pair(), NO, NO, "ANSWER: teal", YES, *["no"] * 5)
    assert episode_scores(GAME, episode) == {
        "Middle-Accuracy": None,
        **dict.fromkeys(MEASURES),
        "Aborted": 1,
        "Lose": 0,
        "Success": 0,
        **counts(9, 4, 5),
        "Request Success Ratio": 4 / 9,
    }
    assert GAME.metrics(episode).rounds == {"0": counts(2, 2, 0) | {"Accuracy": 1}}


def test_scores_of_a_game_without_a_valid_answer():
    episode = finished(pair(), NO, NO, "teal", "large")
    scores = episode_scores(GAME, episode)
    assert all(scores[name] is None for name in (*MEASURES, "Middle-Accuracy"))
    assert (scores["Aborted"], scores["Success"], scores["Lose"]) == (1, 0, 0)
    assert [scores[name] for name in counts(0, 0, 0)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("number", "middle"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (10, 4), (15, 7)]
)
def test_the_middle_turn(number, middle):
    """It is there in the middle of the game, and only from its round on."""
    item = many(number)
    rounds = [[NO] * number]
    for i in range(number):
        rounds.append([f"ANSWER: v{i}", *[YES] * (i + 1), *[NO] * (number - i - 1)])
    wrong = [YES if rounds[middle][-1] == NO else NO]
    rounds[middle] = rounds[middle][:-1] + wrong
    complete = finished(item, *[reply for replies in rounds for reply in replies])
    expected = 1 - 1 / number
    assert GAME.metrics(complete).episode["Middle-Accuracy"] == pytest.approx(expected)
    before = [reply for replies in rounds[:middle] for reply in replies]
    answer = [] if middle == 0 else ["ANSWER: x"]
    stopped = finished(item, *before, *answer, *["?"] * 5)
    assert "Middle-Accuracy" not in GAME.metrics(stopped).episode


@pytest.mark.parametrize("shared", range(5))
@pytest.mark.parametrize("said", range(5))
@pytest.mark.parametrize("both", range(5))
def test_kappa_is_cohens(shared, said, both):
    """Against the textbook's formula, for all tables of up to 12 replies."""
    table = [(True, True)] * both + [(True, False)] * shared + [(False, True)] * said
    table += [(False, False)]
    probes = [Probe("x", *row) for row in table]
    n = len(table)
    observed = sum(a == b for a, b in table) / n
    a, b = (sum(column) / n for column in zip(*table, strict=True))
    chance = a * b + (1 - a) * (1 - b)
    if math.isclose(chance, 1):
        assert kappa(probes) == 1
    else:
        assert kappa(probes) == pytest.approx((observed - chance) / (1 - chance))


# --- any reply -----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["ANSWER:", "ASIDE:", "yes", "no", "Not", "teal", "LARGE", "\n", " ", "\r", "\x00", "x"]
)
NEAR = st.lists(PIECES, max_size=6).map("".join)
FITTING = st.sampled_from([YES, NO, "ANSWER: teal", "ANSWER: large", "ASIDE: yes\n"])
ANY = st.one_of(FITTING, FITTING, NEAR, st.text(max_size=30))


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY, max_size=40), st.sampled_from([pair, ours]))
def test_any_replies_end_in_an_outcome_and_replay_identically(replies, make):
    item = make()
    worst = 5 * len(item["slots"]) * (len(item["slots"]) + 1) + len(item["slots"])
    result = played(item, *replies, *["?"] * worst)
    episode = result.episode
    assert result.complete and isinstance(episode.outcome, Success | Lose | Abort)
    scores = episode_scores(GAME, episode)
    assert (scores["Main Score"] is None) == episode.aborted
    assert len(episode.replies()) <= worst
    invalid_answers = len(asked(episode, keep=True)) - len(noted(episode, "answer"))
    assert scores["Request Count"] + invalid_answers == len(episode.replies())
    assert scores["Parsed Request Count"] + scores["Violated Request Count"] == len(
        episode.replies()
    )
    if not episode.aborted:
        probes = [p for probes in noted(episode, "probes") for p in probes]
        assert scores["Accuracy"] == sum(p["shared"] == p["said"] for p in probes) / len(probes)
        assert (scores["Main Score"] == 100) == episode.success
    assert replay(GAME, item, episode).divergences == []


@settings(max_examples=50, deadline=None)
@given(st.lists(NEAR, min_size=16, max_size=16))
def test_what_follows_the_first_message_shows_no_value_by_itself(replies):
    item = ours(slots={slot: f"canary {slot}" for slot in OURS["slots"]})
    episode = played(item, *[NO] * 5, *replies).episode
    assert not any("canary" in text for text in asked(episode))


def test_the_largest_game_takes_no_more_replies_than_allowed():
    item = many(30)
    worst = ["?", "?", "?", "?", YES]
    rounds = [worst * 30]
    rounds += [[f"ANSWER: v{i}", *worst * 30] for i in range(30)]
    episode = finished(item, *[reply for replies in rounds for reply in replies])
    assert episode.lose
    assert len(episode.replies()) == GAME.max_replies


HUGE = 10_000_000


@pytest.mark.parametrize(
    "text",
    [
        "x" * HUGE,
        "\n" * HUGE + "x",
        "ANSWER:ASIDE:" * (HUGE // 13),
        " " * HUGE + "teal",
        "\0" * HUGE,
        "\u0130" * (HUGE // 4),
        "[" * HUGE,
    ],
    ids=["x", "lines", "tags", "blanks", "zeros", "dotted", "brackets"],
)
def test_huge_replies_end_in_an_outcome(text):
    assert finished(pair(), *[f"ASIDE:{text}"] * 5).aborted
    result = played(pair(), NO, NO, f"ANSWER:{text}", *[text] * 5)
    assert result.complete and result.episode.aborted


def test_replies_that_no_text_file_can_hold():
    episode = finished(pair(), NO, NO, "ANSWER: teal \ud800", "ASIDE: no \udfff", *PERFECT[4:])
    assert episode.success
