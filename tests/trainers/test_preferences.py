"""Preferences from play: which episodes are compared, how replies are forked, what is kept."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from tests.trainers.preference_kit import (
    NUMBERS,
    Seats,
    Talk,
    Voice,
    by_chance,
    chat_format,
    config,
    episodes_of,
    instances,
    jobs_of,
    recording,
    register_talk,
    scripted,
    spoken,
)
from transformers import TrainingArguments

from playpen.conversation import Reply, Row, TokenTrace
from playpen.episode import Episode, Said
from playpen.player import Player, PlayerError
from playpen.rewards import OutcomeReward, Rewards, ScoreReward
from playpen.training import ConfigError, DataTable, GamesTable, TrainingRun, make_trainer
from playpen_trainers.episode_rows import learner_rows
from playpen_trainers.kto import MOST_DESIRABLE, balanced, mismatched
from playpen_trainers.preferences.dialogue_pairs import dialogue_pairs
from playpen_trainers.preferences.returns import RoleReturn, comparable_groups, role_returns
from playpen_trainers.preferences.rollouts import PreferenceRollouts
from playpen_trainers.preferences.rows import UnpairedRow, at_most, token_sides
from playpen_trainers.preferences.saved_rows import saved_rows
from playpen_trainers.preferences.turn_pairs import Forking, standard_error, turn_pairs
from playpen_trainers.preferences.unpaired_rows import unpaired_rows

SCORE = Rewards([ScoreReward()])
OUTCOME = Rewards([OutcomeReward()])
BEST = "alpha, hidden, gamma, delta"
GOOD = "beta, hidden, gamma, alpha"
BAD = "beta, hidden, gamma, delta"


def judged(episodes: list[Episode], *roles: str, share_fault: bool = False) -> list[RoleReturn]:
    return role_returns([(e, roles or ("a",)) for e in episodes], SCORE, share_fault=share_fault)


def text(ids: list[int]) -> str:
    return str(chat_format().tokenizer.decode(ids))


# --- whole dialogues -----------------------------------------------------------------------------


def test_the_best_dialogue_is_paired_with_the_worst():
    best, good, bad = scripted(BEST, GOOD, BAD)
    rows = dialogue_pairs(chat_format(), judged([good, bad, best]))
    assert {(row.better, row.worse, row.difference) for row in rows} == {(best.name, bad.name, 1.0)}
    assert all(
        (row.game, row.role, row.turn, row.error) == ("talk", "a", None, None) for row in rows
    )
    assert all(row.instance == best.instance for row in rows)


def test_all_pairs_that_differ_by_more_than_the_margin():
    best, good, bad = scripted(BEST, GOOD, BAD)
    parts = judged([good, bad, best])

    def paired(margin: float) -> set[tuple[str, str]]:
        rows = dialogue_pairs(chat_format(), parts, match="all", margin=margin)
        return {(row.better, row.worse) for row in rows}

    best_good, best_bad, good_bad = (
        (best.name, good.name), (best.name, bad.name), (good.name, bad.name)
    )  # fmt: skip
    assert paired(0.0) == {best_good, best_bad, good_bad}
    assert paired(0.5) == {best_bad}
    assert paired(1.0) == set()


def test_dialogues_that_are_worth_the_same_say_nothing():
    assert dialogue_pairs(chat_format(), judged(scripted(BAD, BAD))) == []


def test_a_partners_fault_is_no_evidence_against_a_role():
    best, spoiled = scripted(BEST, "beta, hidden, boom")
    assert spoiled.outcome is not None and spoiled.outcome.fault == "b"
    assert [part.episode for part in judged([best, spoiled], "a")] == [best]
    assert [part.episode for part in judged([best, spoiled], "b")] == [best, spoiled]
    assert len(judged([best, spoiled], "a", share_fault=True)) == 2
    rows = dialogue_pairs(chat_format(), judged([best, spoiled], "a", "b"))
    assert {(row.role, row.worse) for row in rows} == {("b", spoiled.name)}


def test_only_the_same_situation_is_compared():
    player = Voice(by_chance("alpha", "beta", "gamma"))
    two = episodes_of(player, instances(2), 3)
    assert [len(group) for group in comparable_groups(judged(two))] == [3, 3]
    plain = [e for seed in (0, 1) for e in episodes_of(player, instances(), 2, seed=seed)]
    assert [len(group) for group in comparable_groups(judged(plain))] == [4]
    drawn = [
        e for seed in (0, 1) for e in episodes_of(player, instances(chance=True), 2, seed=seed)
    ]
    assert [len(group) for group in comparable_groups(judged(drawn))] == [2, 2]
    for group in comparable_groups(judged(drawn)):
        assert len({str(part.episode.draws()) for part in group}) == 1


def test_roles_are_compared_with_themselves():
    groups = comparable_groups(judged(scripted(BEST, BAD), "a", "b"))
    assert [{part.role for part in group} for group in groups] == [{"a"}, {"b"}]


# --- what is trained -----------------------------------------------------------------------------


def test_a_pair_goes_on_from_the_first_reply_that_differs():
    chat = chat_format()
    main, side = dialogue_pairs(chat, judged(scripted(BEST, BAD)))
    assert text(main.prompt) == "<user> one four <end> <assistant>"
    later = "<end> <user> three <end> <assistant> delta <end>"
    assert text(main.chosen) == f"alpha {later}"
    assert text(main.rejected) == f"beta {later}"
    own = [True, True, *[False] * 4, True, True]
    assert [*map(bool, main.chosen_mask)] == own == [*map(bool, main.rejected_mask)]
    # The side question comes after the reply that differs, which it does not train.
    assert text(side.chosen) == "alpha <end> <user> aside <end> <assistant> hidden <end>"
    assert side.chosen_mask == [0, 0, 0, 0, 0, 0, 1, 1] == side.rejected_mask


def test_replies_that_both_have_are_part_of_the_prompt():
    [main] = dialogue_pairs(chat_format(), judged(scripted(GOOD, BAD)))
    assert text(main.prompt).endswith("beta <end> <user> three <end> <assistant>")
    assert (text(main.chosen), text(main.rejected)) == ("alpha <end>", "delta <end>")
    assert main.chosen_mask == [1, 1] == main.rejected_mask


def token_row(ids: str, *spans: tuple[int, int]) -> Row:
    mask = [int(any(a <= n < b for a, b in spans)) for n in range(len(ids))]
    return Row(
        [ord(x) for x in ids], mask, [0.0] * len(ids), [(n, *s) for n, s in enumerate(spans)]
    )


@pytest.mark.parametrize(
    ("better", "worse", "prompt", "chosen", "rejected"),
    [
        # A reply is never cut in two, whichever of them goes on.
        (token_row("qab.", (1, 4)), token_row("qac.", (1, 4)), "q", "ab.", "ac."),
        (token_row("qa.", (1, 3)), token_row("qab.", (1, 4)), "q", "a.", "ab."),
        (token_row("qa", (1, 2)), token_row("qab", (1, 3)), "q", "a", "ab"),
        (token_row("qab", (1, 3)), token_row("qa", (1, 2)), "q", "ab", "a"),
        # The questions differ after a common reply.
        (
            token_row("qa.rb.", (1, 3), (4, 6)),
            token_row("qa.sb.", (1, 3), (4, 6)),
            "qa.",
            "rb.",
            "sb.",
        ),
        # What comes after the last reply is left out.
        (token_row("qa.rrr", (1, 3)), token_row("qb.", (1, 3)), "q", "a.", "b."),
        # Empty replies: only the end of the turn.
        (token_row("q.", (1, 2)), token_row("qb.", (1, 3)), "q", ".", "b."),
    ],
)
def test_sides(better: Row, worse: Row, prompt: str, chosen: str, rejected: str):
    both = token_sides(better, worse)
    assert both is not None
    assert "".join(map(chr, both.prompt)) == prompt
    assert "".join(map(chr, both.chosen)) == chosen
    assert "".join(map(chr, both.rejected)) == rejected
    assert both.chosen_mask == better.mask[len(prompt) :][: len(chosen)]
    assert both.rejected_mask == worse.mask[len(prompt) :][: len(rejected)]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (token_row("qa.", (1, 3)), token_row("qa.", (1, 3))),
        (token_row("qa.", (1, 3)), token_row("qa.rb.", (1, 3), (4, 6))),
        (token_row("qab"), token_row("qac", (1, 3))),
    ],
    ids=["the same", "nothing after the common reply", "all masked"],
)
def test_sides_without_anything_of_their_own(better: Row, worse: Row):
    assert token_sides(better, worse) is None
    assert token_sides(worse, better) is None


def test_sampled_ids_stand_as_they_are():
    chat = chat_format()
    [episode] = scripted(BEST, chat=chat)
    cut = episode_with(
        episode, lambda trace: msgspec.structs.replace(trace, sampled=[7], logprobs=[0.0])
    )
    side = learner_rows(chat, cut, "b")[0]
    assert side.ids[-1] == 7 and side.mask[-1] == 1  # not "gamma <end>", as it would be rendered


def episode_with(episode: Episode, change) -> Episode:
    events = [
        Said(e.role, msgspec.structs.replace(e.reply, tokens=change(e.reply.tokens)))
        if isinstance(e, Said)
        else e
        for e in episode.events
    ]
    return msgspec.structs.replace(episode, events=events)


def test_what_another_model_sampled_is_rendered_anew():
    chat = chat_format()
    foreign = chat_format(["zebra", *chat.tokenizer.get_vocab()])
    [mine] = scripted(BEST, chat=chat)
    [theirs] = scripted(BEST, chat=foreign)
    silent = episode_with(mine, lambda trace: None)
    assert theirs.trajectory("a").rows[0].ids != mine.trajectory("a").rows[0].ids
    for episode in (theirs, silent):
        assert [r.ids for r in learner_rows(chat, episode, "a")] == [
            r.ids for r in mine.trajectory("a").rows
        ]


def test_a_reply_that_had_no_room_keeps_the_sampled_ids():
    chat = chat_format()

    def say(conversation):
        if conversation.role == "b":
            return Reply("", stop_reason="context", tokens=TokenTrace([], [], []))
        return Reply("alpha", tokens=chat.trace(conversation.messages, "alpha"))

    player = Player()
    player.reply = say  # type: ignore[method-assign]
    [episode] = episodes_of(player, instances())
    assert [r.ids for r in learner_rows(chat, episode, "b")] == [[]]
    assert dialogue_pairs(chat, judged([episode, *scripted(BAD)], "b")) == []


# --- single replies ------------------------------------------------------------------------------


def lucky(conversation) -> str:
    """The first reply decides: alpha wins, beta wins half of the time."""
    if conversation.turn == 0 and conversation.role == "a":
        return ("alpha", "beta")[conversation.seed % 2]
    return ("gamma", "alpha")[conversation.seed % 2]


def forked(
    say=lucky, how: Forking | None = None, *, count: int = 4, roles: tuple[str, ...] = ("a",)
):
    seats = Seats(*roles)
    rollouts = PreferenceRollouts(seats, Voice(say))  # type: ignore[arg-type]
    jobs = rollouts.finish(jobs_of(Voice(say), instances(count, chance=True)))
    rows = turn_pairs(chat_format(), jobs, rollouts, OUTCOME, how or Forking(z=0.5))
    return rows, seats, rollouts


def test_forks_keep_what_came_before_and_the_chance_moves():
    _, seats, _ = forked(how=Forking(turns="all"))
    _, candidates, continuations = seats.batches
    assert candidates and continuations
    draws = {job.episode.instance: job.episode.draws() for job in seats.batches[0]}
    assert len({str(drawn) for drawn in draws.values()}) > 1
    for job in [*candidates, *continuations]:
        start = job.start
        assert start is not None
        before = start.recorded.replies()[: start.turn]
        assert job.episode.replies()[: start.turn] == before
        assert job.episode.draws() == draws[job.episode.instance]
        assert job.episode.replies()[start.turn].role == start.recorded.replies()[start.turn].role
    # Each fork samples with a seed of its own.
    seeds = [job.start.sampling_seed for job in [*candidates, *continuations] if job.start]
    assert len(set(seeds)) == len(seeds)


def test_continuations_go_on_after_the_candidate():
    _, seats, _ = forked()
    _, candidates, continuations = seats.batches
    by_recording = {id(job.episode): job for job in candidates}
    for job in continuations:
        assert job.start is not None
        candidate = by_recording[id(job.start.recorded)]
        assert candidate.start is not None
        assert job.start.turn == candidate.start.turn + 1


def test_each_candidate_is_played_on_as_often_as_wanted():
    how = Forking(candidates=3, continuations=5, turns="all", z=0.0)
    _, seats, _ = forked(how=how, roles=("a", "b"))
    base, candidates, continuations = seats.batches
    turns = sum(len(job.episode.replies()) for job in base)
    assert len(candidates) == 3 * turns
    played: dict[tuple[str, int, str], int] = {}
    ended = set()
    for job in [*candidates, *continuations]:
        assert job.start is not None
        turn = job.start.turn if job in candidates else job.start.turn - 1
        reply = job.episode.replies()[turn].reply.text
        key = (job.episode.instance, turn, reply)
        played[key] = played.get(key, 0) + 1
        if len(job.episode.replies()) == turn + 1:
            ended.add(key)
    texts: dict[tuple[str, int], set[str]] = {}
    for instance, turn, reply in played:
        texts.setdefault((instance, turn), set()).add(reply)
    for (instance, turn, reply), count in played.items():
        compared = len(texts[instance, turn]) > 1
        if compared and (instance, turn, reply) not in ended:
            assert count == 5
        else:
            assert count <= 3  # nothing to compare with, or the value is known
    assert ended


def test_what_was_sampled_is_counted():
    _, seats, rollouts = forked()
    base, *forks = seats.batches
    replies = [s for job in base for s in job.episode.replies()]
    replies += [
        s
        for batch in forks
        for job in batch
        if job.start
        for s in job.episode.replies()[job.start.turn :]
    ]
    assert rollouts.sampled == 2 * len(replies)  # a word and the end of the turn
    assert rollouts.played == sum(len(batch) for batch in seats.batches)


def test_a_pair_of_replies_shares_its_whole_prompt():
    rows, _, _ = forked(how=Forking(z=0.0, turns="all"), count=8)
    assert rows
    for pair in rows:
        assert pair.turn in (0, 1, 3)
        assert text(pair.prompt).endswith("<assistant>")
        assert text(pair.chosen) != text(pair.rejected)
        assert pair.chosen_mask == [1, 1] == pair.rejected_mask
        assert pair.difference > 0
        assert " candidate " in pair.better and pair.better != pair.worse
    assert {pair.turn for pair in rows} >= {0, 3}
    first = [pair for pair in rows if pair.turn == 0]
    assert {text(pair.chosen) for pair in first} == {"alpha <end>"}
    last = [pair for pair in rows if pair.turn == 3]
    assert {text(pair.chosen) for pair in last} == {"alpha <end>"}


def certain(conversation) -> str:
    """alpha always wins, beta never."""
    if conversation.turn == 0 and conversation.role == "a":
        return ("alpha", "beta")[conversation.seed % 2]
    return "gamma"


@pytest.mark.parametrize(("z", "expected"), [(1.9, True), (2.1, False)])
def test_identical_outcomes_are_no_certainty(z: float, expected: bool):
    # Two wins against two losses: errors of sqrt(1/8) each, so the difference is two of them.
    how = Forking(candidates=2, continuations=2, turns="all", z=z)
    rows, seats, _ = forked(certain, how, count=8)
    assert len(seats.batches) == 3
    assert bool(rows) is expected
    for pair in rows:
        assert pair.turn == 0
        assert pair.difference == 1.0
        assert pair.error == pytest.approx(0.5)


def test_more_continuations_give_more_certainty():
    errors = [standard_error([1.0] * count, 0.0, 1.0) for count in (1, 2, 4, 8, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.5 and 0 < errors[-1] < 0.06
    assert standard_error([1.0] * 4, 0.0, 1.0) == pytest.approx(math.sqrt(1 / 24))
    assert standard_error([3.0], 3.0, 3.0) == 0.0


def test_noise_is_mostly_filtered():
    def noise(conversation) -> str:
        last = conversation.role == "a" and conversation.turn == 2
        return ("alpha", "beta")[conversation.seed % 2] if last else NUMBERS[conversation.seed % 3]

    kept_by = {}
    for z in (0.0, 1.0, 2.0):
        how = Forking(candidates=2, continuations=6, z=z, turns="all")
        rows, _, _ = forked(noise, how, count=40)
        kept_by[z] = len([pair for pair in rows if pair.turn == 0])
    assert kept_by[0.0] > 10
    assert kept_by[2.0] <= 0.2 * kept_by[0.0]
    assert kept_by[0.0] > kept_by[1.0] >= kept_by[2.0]


def test_the_value_of_a_reply_that_ends_the_game_is_exact():
    rows, _, _ = forked(how=Forking(z=100.0, turns="all"), count=8)
    assert rows
    assert {(pair.turn, pair.error) for pair in rows} == {(3, 0.0)}


def test_a_difference_below_the_margin_is_no_preference():
    assert forked(how=Forking(z=0.0, margin=1.0, turns="all"), count=8)[0] == []


def test_a_partner_that_breaks_the_game_does_not_lower_a_value():
    def spoiling(conversation) -> str:
        if conversation.role == "b":
            return "boom" if conversation.seed % 2 else "gamma"
        return certain(conversation)

    how = Forking(candidates=4, continuations=6, z=0.5, turns="all")
    rows, _, _ = forked(spoiling, how, count=8)
    first = [pair for pair in rows if pair.turn == 0]
    assert first
    assert all(pair.difference == 1.0 for pair in first)
    shared, _, _ = forked(spoiling, how._replace(share_fault=True), count=8)
    assert any(pair.difference < 1.0 for pair in shared if pair.turn == 0)


def test_one_reply_of_each_role_is_chosen_by_the_seed():
    def turns(seed: int) -> list[tuple[str, int]]:
        _, seats, _ = forked(how=Forking(seed=seed), roles=("a", "b"), count=8)
        return [
            (job.start.recorded.instance, job.start.turn) for job in seats.batches[1] if job.start
        ]

    chosen = set(turns(0))
    assert len(chosen) == 16  # 8 episodes, 2 roles
    assert {turn for _, turn in chosen} == {0, 1, 2, 3}
    assert turns(0) == turns(0)
    assert turns(0) != turns(1)


def test_the_same_seeds_give_the_same_pairs():
    assert forked()[0] == forked()[0]


def test_candidates_that_say_the_same_are_not_played_on():
    _, seats, _ = forked(lambda conversation: "alpha")
    assert len(seats.batches) == 2


# --- unpaired ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "threshold", "expected"),
    [
        ("success", 0.0, {"0": True, "1": True, "2": False}),
        ("threshold", 0.7, {"0": True, "1": False, "2": False}),
        ("group", 0.0, {"0": True, "2": False}),
    ],
)
def test_labels(label, threshold: float, expected: dict[str, bool]):
    episodes = scripted(BEST, GOOD, BAD)
    rows = unpaired_rows(chat_format(), judged(episodes), label=label, threshold=threshold)
    number = {episode.name: str(place) for place, episode in enumerate(episodes)}
    assert {number[row.episode]: row.desirable for row in rows} == expected
    assert len(rows) == 2 * len(expected)  # the side question has a row of its own
    for row in rows:
        assert (row.game, row.role) == ("talk", "a")


def test_an_unpaired_row_trains_the_role_alone():
    chat = chat_format()
    for row in unpaired_rows(chat, judged(scripted(BEST), "a", "b")):
        ids = row.prompt + row.completion
        begin = len(row.prompt)
        assert [*map(bool, row.mask)] == spoken(chat, ids, begin)[begin:]
        assert row.mask[0] == 1 == row.mask[-1]


def test_a_partners_fault_is_not_labelled():
    best, spoiled = scripted(BEST, "beta, hidden, boom")
    rows = unpaired_rows(chat_format(), judged([best, spoiled], "a", "b"))
    assert {(row.role, row.desirable) for row in rows} == {
        ("a", True), ("b", True), ("b", False)
    }  # fmt: skip


def unpaired(desirable: bool, number: int = 0) -> UnpairedRow:
    return UnpairedRow(
        prompt=[number], completion=[100 + number], mask=[1], desirable=desirable, game="",
        instance="", role="", episode="", value=0.0,
    )  # fmt: skip


@pytest.mark.parametrize("wanted", [1, 3, 10, 11, 13, 14, 40, 90])
def test_weights_are_in_the_recommended_range(wanted: int):
    others = 20
    rows = [unpaired(True)] * wanted + [unpaired(False)] * others
    desirable, undesirable = balanced(rows)
    ratio = desirable * wanted / (undesirable * others)
    assert 1 - 1e-9 <= ratio <= MOST_DESIRABLE + 1e-9
    assert max(desirable, undesirable) == 1.0


def test_mismatched_completions_stay_in_their_batch():
    rows = [unpaired(True, number) for number in range(7)]
    columns = mismatched(rows, 3)
    assert [row["completion"] for row in columns] == [[100 + n] for n in range(7)]
    others = [row["mismatched"][0] - 100 for row in columns]
    assert others == [2, 0, 1, 5, 3, 4, 5]  # the last batch is one row: it takes the one before


# --- sources and files ---------------------------------------------------------------------------


def test_a_choice_of_rows():
    rows = [unpaired(True, number) for number in range(20)]
    assert at_most(rows, None, 0) == rows == at_most(rows, 20, 0)
    some = at_most(rows, 5, 0)
    assert len(some) == 5 and some == sorted(some, key=lambda row: row.prompt)
    assert at_most(rows, 5, 0) == some != at_most(rows, 5, 1)


def test_rows_are_made_once(tmp_path: Path):
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    rows = [unpaired(True, 1), unpaired(False, 2)]
    made = saved_rows(tmp_path / "rows.jsonl", UnpairedRow, args, lambda: ({"x": 1.0}, rows))
    assert made == ({"x": 1.0}, rows)
    again = saved_rows(
        tmp_path / "rows.jsonl", UnpairedRow, args, lambda: pytest.fail("made again")
    )
    assert again == made

    def dies():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        saved_rows(tmp_path / "other.jsonl", UnpairedRow, args, dies)
    assert {path.name for path in tmp_path.glob("*.jsonl")} == {"rows.jsonl"}


def test_episodes_that_failed_are_left_out_with_a_warning():
    def fails(conversation) -> str:
        if conversation.repeat == 1:
            raise PlayerError("the server hung up")
        return "alpha"

    rollouts = PreferenceRollouts(Seats(), Voice(fails))  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="1 of 3 episodes failed.*the server hung up"):
        done = rollouts.finish(jobs_of(Voice(fails), instances(), 3))
    assert [job.episode.repeat for job in done] == [0, 2]

    def dead(conversation) -> str:
        raise PlayerError("the server hung up")

    with pytest.raises(PlayerError, match=r"every episode failed; .*the server hung up"):
        rollouts.finish(jobs_of(Voice(dead), instances(), 3))


def test_recorded_episodes_are_read_whatever_their_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register_talk(monkeypatch)
    runs = DataTable(runs=[recording(tmp_path / "run", "mixed", count=4)], min_score=99.0)
    wanted = config(tmp_path, data=runs)
    recordings = make_trainer("dpo", wanted).recordings(TrainingRun("dpo", wanted, tmp_path))
    assert len(recordings) == 4
    assert any(e.success for e, _ in recordings) and any(e.aborted for e, _ in recordings)
    assert all(roles == ("a", "b") for _, roles in recordings)


def test_recordings_of_the_test_split_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_talk(monkeypatch)
    runs = DataTable(runs=[recording(tmp_path / "run", "mixed", split="test", count=4)])
    wanted = config(tmp_path, data=runs)
    with pytest.raises(ConfigError, match="of the test split"):
        make_trainer("dpo", wanted).recordings(TrainingRun("dpo", wanted, tmp_path))


def test_the_number_of_episodes_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_talk(monkeypatch)

    class Seated(Seats):
        games = {"talk": Talk()}

        def players(self, game, learner):
            return {"a": learner, "b": learner}, {"a": "learner", "b": "learner"}

    def played(**changes) -> list[str]:
        base = config(tmp_path, games=GamesTable(names=["talk"], levels=["only"], per_level=12))
        rollout = msgspec.structs.replace(base.rollout, **changes)
        run = TrainingRun("dpo", msgspec.structs.replace(base, rollout=rollout), tmp_path)
        rollouts = PreferenceRollouts(Seated(), Voice(by_chance("alpha", "beta")))  # type: ignore[arg-type]
        return [job.episode.instance for job in rollouts.play(run, 3)]

    everything = played()
    assert len(everything) == 36 and len(set(everything)) == 12
    some = played(episodes=10)
    assert len(some) == 9 and len(set(some)) == 3
    assert set(some) <= set(everything)
