"""The referee: what every move does, how an episode ends, replay and fork."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.sample_games import (
    WORDS,
    BuggyGame,
    EndlessGame,
    GuessingGame,
    RelayGame,
    babble,
    drive,
    game_of,
    guessing,
    instance_of,
    outcome_of,
    relay,
)

from playpen.conversation import Conversation, Message, Reply
from playpen.episode import Drawn, Episode, Failure, Said
from playpen.game import Game
from playpen.instance import Instance
from playpen.moves import (
    Abort,
    Ask,
    Draw,
    Exchange,
    Lose,
    Move,
    Note,
    Play,
    Reward,
    Round,
    Success,
    Tell,
    Violation,
    ask,
)
from playpen.referee import GameError, Referee, new_episode
from playpen.replay import fork, replay, replay_script

HERE = instance_of("inline")


def making(moves: Sequence[Move]) -> Game:
    """A game that makes the given moves and ends."""

    def play(instance: Instance) -> Play:
        for move in moves:  # noqa: UP028  (a list takes no replies)
            yield move
        return Success()

    return game_of(play, roles=("a", "b", "c"))


def seen_by(moves: Sequence[Move]) -> list[tuple[str, list[str]]]:
    """Who was asked, and the texts before them, when a game makes these moves.

    The replies are ``r0``, ``r1``, ...
    """
    counter = iter(range(100))
    _, seen = drive(making(moves), HERE, lambda conversation: f"r{next(counter)}")
    return [(c.role, [m.content for m in c.messages]) for c in seen]


# --- moves and conversations ---------------------------------------------------------------------


def test_an_ask_is_a_user_message_and_its_reply_stays() -> None:
    assert seen_by([Ask("a", "one"), Ask("a", "two")]) == [
        ("a", ["one"]),
        ("a", ["one", "r0", "two"]),
    ]


def test_a_tell_joins_the_next_message_after_a_blank_line() -> None:
    assert seen_by([Tell("a", "x"), Tell("a", "y"), Ask("a", "one"), Ask("a", "two")]) == [
        ("a", ["x\n\ny\n\none"]),
        ("a", ["x\n\ny\n\none", "r0", "two"]),
    ]


def test_a_tell_waits_for_its_own_role() -> None:
    assert seen_by([Tell("a", "x"), Ask("b", "one"), Ask("a", "two")]) == [
        ("b", ["one"]),
        ("a", ["x\n\ntwo"]),
    ]


def test_a_side_question_leaves_no_trace_and_leaves_what_is_pending() -> None:
    moves: list[Move] = [
        Ask("a", "one"),
        Tell("a", "x"),
        Ask("a", "aside", keep=False),
        Ask("a", "again", keep=False),
        Ask("a", "two"),
    ]
    assert seen_by(moves) == [
        ("a", ["one"]),
        ("a", ["one", "r0", "aside"]),
        ("a", ["one", "r0", "again"]),
        ("a", ["one", "r0", "x\n\ntwo"]),
    ]


def test_an_exchange_asks_nobody_and_takes_what_is_pending() -> None:
    moves: list[Move] = [Tell("a", "x"), Exchange("a", "one", "fixed"), Ask("a", "two")]
    assert seen_by(moves) == [("a", ["x\n\none", "fixed", "two"])]


def test_an_exchange_is_marked_as_not_said_by_the_player() -> None:
    def play(instance: Instance) -> Play:
        yield Exchange("a", "one", "fixed")
        yield Ask("a", "two")
        yield Ask("a", "three")
        return Success()

    episode, seen = drive(game_of(play), HERE, {"a": ["mine", "too"]})
    said = {m.content: m.reply for m in seen[-1].messages if m.role == "assistant"}
    assert said == {"fixed": None, "mine": Reply("mine")}
    assert [s.reply.text for s in episode.replies()] == ["mine", "too"]


def test_notes_rewards_and_rounds_show_nothing_to_anybody() -> None:
    moves: list[Move] = [
        Note("secret", "x"),
        Round(),
        Ask("a", "one"),
        Reward("a", 0.5),
        Ask("b", "two"),
    ]
    assert seen_by(moves) == [("a", ["one"]), ("b", ["two"])]


def test_a_draw_gives_distinct_elements_of_its_options() -> None:
    drawn: list[list[Any]] = []

    def play(instance: Instance) -> Play:
        drawn.append((yield Draw(list(range(50)), 20)))
        drawn.append((yield Draw(["only"])))
        drawn.append((yield Draw([], 0)))
        yield Ask("a", "?")
        return Success()

    episode, _ = drive(game_of(play), HERE, {"a": [""]})
    assert len(set(drawn[0])) == 20 and set(drawn[0]) <= set(range(50))
    assert drawn[1:] == [["only"], []]
    assert episode.draws() == drawn


def test_the_conversation_says_all_that_a_player_needs() -> None:
    def play(instance: Instance) -> Play:
        yield Ask("a", "one", max_new_tokens=7)
        yield Ask("b", "two")
        yield Ask("a", "three", keep=False)
        yield Ask("a", "four")
        return Success()

    blank = new_episode(game_of(play), HERE, {"a": "x", "b": "y"}, seed=3, repeat=2)
    episode, seen = drive(game_of(play), HERE, lambda c: "ok", blank)
    assert [(c.role, c.turn, c.side, c.max_new_tokens) for c in seen] == [
        ("a", 0, False, 7),
        ("b", 0, False, None),
        ("a", 1, True, None),
        ("a", 2, False, None),
    ]
    assert {(c.game, c.instance, c.repeat) for c in seen} == {("inline", HERE.hash, 2)}
    assert {c.sampling_seed for c in seen} == {episode.sampling_seed}
    assert {c.episode for c in seen} == {"inline/only/#2"}


def test_a_player_cannot_change_what_its_role_has_seen() -> None:
    def vandal(conversation: Conversation) -> str:
        conversation.messages[:] = [Message("user", "forged")]
        return "ok"

    def play(instance: Instance) -> Play:
        yield Ask("a", "one")
        yield Ask("a", "two")
        return Success()

    seen: list[list[str]] = []

    def player(conversation: Conversation) -> str:
        seen.append([m.content for m in conversation.messages])
        return vandal(conversation)

    drive(game_of(play), HERE, player)
    assert seen == [["one"], ["one", "ok", "two"]]


names = st.sampled_from(["a", "b", "c"])
moves = st.one_of(
    st.builds(Ask, names, st.just("ask"), st.booleans()),
    st.builds(Tell, names, st.just("tell")),
    st.builds(Exchange, names, st.just("question"), st.just("answer")),
    st.builds(Note, st.just("note"), st.integers()),
    st.builds(Draw, st.just([1, 2, 3]), st.integers(0, 3)),
    st.just(Round()),
)


def labelled(drawn: Sequence[Move]) -> list[Move]:
    """The moves with a number in every text, which tells where it came from."""
    result = []
    for number, move in enumerate(drawn):
        texts = {
            field: f"{getattr(move, field)}-{number}"
            for field in ("text", "reply")
            if hasattr(move, field)
        }
        result.append(msgspec.structs.replace(move, **texts))
    return result


@settings(max_examples=200)
@given(st.lists(moves, max_size=14).map(labelled))
def test_every_role_sees_exactly_what_the_rules_of_the_moves_say(made: list[Move]) -> None:
    """The table of moves in the design, written down a second time and compared."""
    chats: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    pending: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    expected: list[tuple[str, list[str]]] = []

    def joined(role: str, text: str) -> str:
        parts = [*pending[role], text]
        pending[role] = []
        return "\n\n".join(parts)

    for move in made:
        if isinstance(move, Tell):
            pending[move.role].append(move.text)
        elif isinstance(move, Exchange):
            chats[move.role] += [joined(move.role, move.text), move.reply]
        elif isinstance(move, Ask):
            reply = f"r{len(expected)}"
            if move.keep:
                chats[move.role].append(joined(move.role, move.text))
                expected.append((move.role, list(chats[move.role])))
                chats[move.role].append(reply)
            else:
                expected.append((move.role, [*chats[move.role], move.text]))

    counter = iter(range(100))
    episode, seen = drive(making(made), HERE, lambda conversation: f"r{next(counter)}")
    assert [(c.role, [m.content for m in c.messages]) for c in seen] == expected
    for role, chat in chats.items():
        assert [m.content for m in episode.conversation(role)] == chat
        assert [m.role for m in episode.conversation(role)] == ["user", "assistant"] * (
            len(chat) // 2
        )
        # The record tells afterwards what the player was given at the time.
        mine = [c for c in seen if c.role == role]
        turns = episode.turns(role)
        assert [turn.messages for turn in turns] == [c.messages for c in mine]
        assert [turn.keep for turn in turns] == [not c.side for c in mine]
        assert [turn.reply for turn in turns] == [s.reply for s in episode.replies(role)]


# --- the record ----------------------------------------------------------------------------------


def test_the_record_holds_the_moves_replies_and_draws_in_order() -> None:
    made: list[Move] = [
        Tell("a", "x"),
        Draw([5]),
        Ask("a", "?"),
        Reward("a", 1.0),
        Note("n", [1]),
        Round(),
    ]

    episode, _ = drive(making(made), HERE, {"a": ["yes"]})
    assert episode.events == [
        *made[:2],
        Drawn([5]),
        made[2],
        Said("a", Reply("yes")),
        *made[3:],
    ]


def test_the_record_survives_json() -> None:
    for seed in range(20):
        blank = new_episode(RelayGame(), relay(), {"giver": "x", "finder": "y"}, seed=seed)
        episode, _ = drive(RelayGame(), relay(), babble, blank)
        assert msgspec.json.decode(msgspec.json.encode(episode), type=Episode) == episode


def test_a_game_that_goes_on_using_its_objects_does_not_change_the_record() -> None:
    """A deck that is drawn from and a board that is noted: both are changed by the game later."""

    def play(instance: Instance) -> Play:
        deck, board = [1, 2, 3], {"cells": ["-"]}
        yield Note("board", board)
        drawn = yield Draw(deck, 3)
        deck.clear()
        board["cells"].append("x")
        yield Ask("a", "?")
        drawn.clear()
        return Success()

    episode, _ = drive(game_of(play), HERE, {"a": [""]})
    assert episode.events[0] == Note("board", {"cells": ["-"]})
    assert episode.events[1] == Draw([1, 2, 3], 3)
    assert sorted(episode.draws()[0]) == [1, 2, 3]


def test_the_chat_of_an_unanswered_question_ends_with_it() -> None:
    referee = Referee(GuessingGame(), guessing())
    referee.advance()
    assert [m.role for m in referee.episode.conversation("guesser")] == ["user"]


def test_identity_is_game_instance_players_seed_and_repeat() -> None:
    def key(**changes: Any) -> tuple[str, str, str, int, int]:
        fields: dict[str, Any] = {"players": {"a": "x", "b": "y"}, "seed": 0, "repeat": 0}
        players = (fields | changes)["players"]
        options = {k: v for k, v in (fields | changes).items() if k != "players"}
        return new_episode(game_of(_one_question), HERE, players, **options).key

    assert key() == key(players={"b": "y", "a": "x"}) == key(attempts=3)
    others = [key(seed=1), key(repeat=1), key(players={"a": "y", "b": "x"})]
    assert len({key(), *others}) == 4


def _one_question(instance: Instance) -> Play:
    yield Ask("a", "?")
    return Success()


# --- ends ----------------------------------------------------------------------------------------


def test_the_cap_on_replies_ends_a_game_that_would_not() -> None:
    episode, seen = drive(EndlessGame(), instance_of("endless"), lambda c: "and then this")
    assert len(seen) == len(episode.replies()) == 7
    assert isinstance(episode.outcome, Abort)
    assert (episode.outcome.code, episode.outcome.fault) == ("reply_limit", None)
    assert "7 replies" in episode.outcome.message


def test_a_game_may_use_all_its_replies() -> None:
    def play(instance: Instance) -> Play:
        for _ in range(3):
            yield Ask("a", "?")
        return Success()

    assert outcome_of(game_of(play, max_replies=3), HERE, lambda c: "") == Success()
    capped = outcome_of(game_of(play, max_replies=2), HERE, lambda c: "")
    assert isinstance(capped, Abort)


def test_side_questions_and_retries_count_towards_the_cap() -> None:
    def parse(text: str) -> str:
        raise Violation("never", "never right", retry="Again.")

    def play(instance: Instance) -> Play:
        yield from ask("a", "?", parse, retries=1000, keep=False)
        return Success()

    episode, seen = drive(game_of(play, max_replies=5), HERE, lambda c: "")
    assert len(seen) == 5
    assert isinstance(episode.outcome, Abort) and episode.outcome.code == "reply_limit"


def test_the_cap_lets_the_game_clean_up() -> None:
    cleaned = []

    def play(instance: Instance) -> Play:
        try:
            while True:
                yield Ask("a", "?")
        finally:
            cleaned.append(True)

    outcome_of(game_of(play, max_replies=2), HERE, lambda c: "")
    assert cleaned == [True]


@pytest.mark.parametrize(
    ("bug", "error", "message"),
    [
        ("raises at once", ValueError, "a bug before the first move"),
        ("raises after a reply", ZeroDivisionError, "a bug after hm"),
        ("returns nonsense", GameError, r"'buggy' returned 42; it must return Success, Lose or"),
        ("returns nothing", GameError, "'buggy' returned None"),
        ("asks an unknown role", GameError, "'buggy' addressed the role 'nobody'.* are a, b"),
        ("tells an unknown role", GameError, "'buggy' addressed the role 'nobody'"),
        ("unknown role in exchange", GameError, "'buggy' addressed the role 'nobody'"),
        ("score too high", GameError, r"gave the score 10\.5; its score_range is 0 to 10"),
        ("score too low", GameError, "gave the score -1"),
        ("score is not a number", GameError, "gave the score nan"),
        ("score is infinite", GameError, "gave the score inf"),
        ("draws too many", ValueError, "[Ss]ample larger"),
    ],
)
def test_a_bug_of_a_game_is_an_error_that_says_what_is_wrong(
    bug: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        drive(BuggyGame(), instance_of("buggy", bug=bug), lambda c: "hm")


def test_every_bug_of_the_sample_is_tried() -> None:
    tried = test_a_bug_of_a_game_is_an_error_that_says_what_is_wrong.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {case[0] for case in tried} == set(BuggyGame.bugs)


def test_the_ends_of_the_score_range_are_in_it() -> None:
    for score in (-5, 0, 2.5):
        game = game_of(_scoring(score), score_range=(-5, 2.5))
        assert outcome_of(game, HERE, {"a": [""]}) == Success(score)


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), float("nan")])
def test_no_range_makes_an_infinite_score_possible(score: float) -> None:
    game = game_of(_scoring(score), score_range=(float("-inf"), float("inf")))
    with pytest.raises(GameError, match="gave the score"):
        outcome_of(game, HERE, {"a": [""]})


@pytest.mark.parametrize("kind", [Success, Lose])
def test_an_outcome_may_have_no_score(kind: type[Success | Lose]) -> None:
    def play(instance: Instance) -> Play:
        yield Ask("a", "?")
        return kind(None)

    episode, _ = drive(game_of(play), HERE, {"a": [""]})
    assert episode.main_score is None
    assert not episode.aborted


def _scoring(score: float) -> Callable[[Instance], Play]:
    def play(instance: Instance) -> Play:
        yield Ask("a", "?")
        return Success(score)

    return play


def test_a_reward_for_an_unknown_role_is_not_lost_silently() -> None:
    with pytest.raises(GameError, match="'inline' addressed the role 'nobody'"):
        drive(making([Ask("a", "?"), Reward("nobody", 1.0)]), HERE, lambda c: "")


@pytest.mark.parametrize("nonsense", ["a text", None, Success(), Reply("x")])
def test_yielding_something_else_than_a_move_is_an_error(nonsense: Any) -> None:
    with pytest.raises(GameError, match="'inline' yielded"):
        drive(making([Ask("a", "?"), nonsense]), HERE, lambda c: "")


def test_play_that_is_no_generator_is_an_error() -> None:
    def play(instance: Instance) -> Any:
        return Success()

    with pytest.raises((GameError, AttributeError, TypeError)):
        drive(game_of(play), HERE, lambda c: "")


def test_a_reply_must_be_handed_in() -> None:
    referee = Referee(GuessingGame(), guessing())
    referee.advance()
    with pytest.raises(TypeError, match="needs the reply"):
        referee.advance()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text() | st.binary().map(lambda b: b.decode("latin-1")) | st.sampled_from(["7", *WORDS]),
        min_size=1,
    )
)
@pytest.mark.parametrize(
    ("game", "instance"),
    [
        (GuessingGame(), guessing()),
        (RelayGame(), relay()),
        (EndlessGame(), instance_of("endless")),
    ],
    ids=["guessing", "relay", "endless"],
)
def test_whatever_is_replied_there_is_an_outcome(
    game: Game, instance: Instance, replies: list[str]
) -> None:
    counter = iter(range(10**9))
    episode, _ = drive(game, instance, lambda c: replies[next(counter) % len(replies)])
    assert isinstance(episode.outcome, Success | Lose | Abort)
    assert msgspec.json.decode(msgspec.json.encode(episode), type=Episode) == episode


# --- replay --------------------------------------------------------------------------------------


def played(seed: int = 0, repeat: int = 0, **data: Any) -> Episode:
    """A babbled episode of the relay game."""
    players = {"giver": "x", "finder": "y"}
    blank = new_episode(RelayGame(), relay(**data), players, seed=seed, repeat=repeat)
    return drive(RelayGame(), relay(**data), babble, blank)[0]


def test_a_replay_is_the_same_episode() -> None:
    outcomes = set()
    for seed in range(30):
        recorded = played(seed)
        again = replay(RelayGame(), relay(), recorded)
        assert (again.complete, again.unused, again.divergences) == (True, 0, [])
        assert again.episode.events == recorded.events
        assert again.episode.outcome == recorded.outcome
        outcomes.add(type(recorded.outcome))
    assert outcomes == {Success, Lose, Abort}


def test_a_replay_takes_the_recorded_draws_whatever_the_seeds() -> None:
    recorded = played(0)
    moved = msgspec.structs.replace(recorded, seed=99)
    assert replay(RelayGame(), relay(), moved).divergences == []


def test_a_replay_of_what_was_stored_is_the_same() -> None:
    def play(instance: Instance) -> Play:
        yield Note("pair", (1, 2))  # becomes a list in a file
        drawn = yield Draw(["x", "y"])
        yield Ask("a", drawn[0])
        return Success()

    game = game_of(play)
    recorded, _ = drive(game, HERE, {"a": ["z"]})
    stored = msgspec.json.decode(msgspec.json.encode(recorded), type=Episode)
    assert replay(game, HERE, stored).divergences == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda e: msgspec.structs.replace(e, outcome=Lose(1)), "outcome"),
        (lambda e: msgspec.structs.replace(e, events=[*e.events, Round()]), "number of events"),
        (lambda e: msgspec.structs.replace(e, events=[Note("x"), *e.events[1:]]), 0),
    ],
)
def test_a_replay_says_where_it_differs(change: Any, where: int | str) -> None:
    divergences = replay(RelayGame(), relay(), change(played(1))).divergences
    assert where in [d.where for d in divergences]
    assert all("recorded" in str(d) and "replayed" in str(d) for d in divergences)


def test_a_changed_rule_shows_in_the_replay() -> None:
    recorded, _ = drive(GuessingGame(), guessing(secret=7), {"guesser": ["3", "7"]})
    result = replay(GuessingGame(), guessing(secret=3), recorded)
    assert result.complete
    assert result.unused == 1
    assert "outcome" in [d.where for d in result.divergences]


def test_a_replay_whose_script_runs_out_is_not_complete() -> None:
    result = replay_script(GuessingGame(), guessing(secret=7), [("guesser", Reply("3"))])
    assert (result.complete, result.unused, result.episode.outcome) == (False, 0, None)


def test_a_script_for_another_role_is_a_divergence() -> None:
    result = replay_script(GuessingGame(), guessing(), [("finder", Reply("7"))])
    (divergence,) = result.divergences
    assert (divergence.kind, divergence.recorded, divergence.replayed) == (
        "role",
        "finder",
        "guesser",
    )
    assert not replay_script(GuessingGame(), guessing(), [(None, Reply("7"))]).divergences


def test_a_failed_episode_replays_as_far_as_it_was_played() -> None:
    referee = Referee(RelayGame(), relay())
    referee.advance()
    referee.advance(Reply("a hint"))
    failed = referee.episode
    failed.failure = Failure("player", "the server died", "finder")
    again = replay(RelayGame(), relay(), failed)
    assert (again.complete, again.divergences) == (False, [])


# --- seeds and forks -----------------------------------------------------------------------------


def test_repeats_share_their_draws_and_not_their_sampling() -> None:
    episodes = [played(repeat=i) for i in range(5)]
    assert len({e.draw_seed for e in episodes}) == 1
    assert len({e.sampling_seed for e in episodes}) == 5
    assert len({repr(e.draws()[0]) for e in episodes}) == 1
    assert len({e.replies()[0].reply.text for e in episodes}) > 1


def test_draws_depend_on_the_seed_and_the_instance() -> None:
    def first_draws(**data: Any) -> list[Any]:
        return [played(seed, **data).draws()[0][0] for seed in range(12)]

    assert len(set(first_draws())) > 1
    assert first_draws() == first_draws()
    assert first_draws() != first_draws(other=1)


def test_a_draw_does_not_depend_on_the_replies() -> None:
    """The n-th draw of an instance is the same in every branch."""

    def play(instance: Instance) -> Play:
        for _ in range(4):
            yield Draw(list(range(1000)))
            yield Ask("a", "?")
        return Success()

    game = game_of(play)
    draws = [drive(game, HERE, lambda c, i=i: f"{i}")[0].draws() for i in range(3)]
    assert draws[0] == draws[1] == draws[2]
    assert len({repr(d) for d in draws[0]}) == 4


@pytest.mark.parametrize("turn", range(4))
def test_a_fork_keeps_replies_and_draws_of_its_prefix_and_samples_anew(turn: int) -> None:
    recorded = next(e for e in map(played, range(100)) if len(e.replies()) >= 5)
    ends = set()
    for sampling_seed in range(12):
        referee, pending = fork(RelayGame(), relay(), recorded, turn, sampling_seed=sampling_seed)
        where = [i for i, e in enumerate(recorded.events) if isinstance(e, Said)][turn]
        assert referee.episode.events == recorded.events[:where]
        assert pending.role == recorded.replies()[turn].role
        assert pending.sampling_seed == sampling_seed
        following: Conversation | None = pending
        while following is not None:
            following = referee.advance(Reply(babble(following)))
        assert referee.outcome is not None
        said = referee.episode.replies()
        assert said[:turn] == recorded.replies()[:turn]
        # Whoever comes as far makes the same draws: they are the instance's, not the branch's.
        for mine, theirs in zip(referee.episode.draws(), recorded.draws(), strict=False):
            assert mine == theirs
        ends.add(tuple(s.reply.text for s in said[turn:]))
    assert len(ends) > 1


def test_a_fork_takes_recorded_draws_even_if_the_seed_would_give_others() -> None:
    recorded = msgspec.structs.replace(played(0), seed=99)
    referee, _ = fork(RelayGame(), relay(), recorded, 1, sampling_seed=1)
    assert referee.episode.draws() == recorded.draws()[: len(referee.episode.draws())] != []


def test_a_fork_of_a_fork_replays() -> None:
    recorded = next(e for e in map(played, range(100)) if len(e.replies()) >= 4)
    referee, pending = fork(RelayGame(), relay(), recorded, 2, sampling_seed=5)
    following: Conversation | None = pending
    while following is not None:
        following = referee.advance(Reply(babble(following)))
    assert replay(RelayGame(), relay(), referee.episode).divergences == []


@pytest.mark.parametrize("turn", [-1, 99])
def test_a_fork_at_a_reply_that_is_not_there_is_refused(turn: int) -> None:
    with pytest.raises(ValueError, match=rf"there is no reply {turn}"):
        fork(RelayGame(), relay(), played(), turn, sampling_seed=0)


def test_a_fork_under_changed_rules_is_refused() -> None:
    """Its prefix would be a conversation that never took place."""
    recorded, _ = drive(GuessingGame(), guessing(secret=7), {"guesser": ["3", "9", "7"]})
    with pytest.raises(ValueError, match="no longer plays as recorded"):
        fork(GuessingGame(), guessing(secret=3), recorded, 2, sampling_seed=0)
    with pytest.raises(ValueError, match="no longer plays as recorded"):
        fork(GuessingGame(), guessing(secret=12), recorded, 2, sampling_seed=0)
