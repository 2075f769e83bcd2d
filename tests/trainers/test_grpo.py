"""`grpo` and `rloo` from end to end, with tiny models: what is played, learned, logged, refused."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import transformers
from tests.trainers import online_kit
from tests.trainers.online_kit import (
    HERE,
    Colours,
    config,
    logged,
    register_games,
    steps_of,
    tiny_base,
    weights_hash,
)
from tests.trainers.recorder import Recorder

from playpen import make_player
from playpen import play as play_episodes
from playpen.conversation import Conversation, Reply
from playpen.episode import Episode, Said
from playpen.errors import PlaypenError
from playpen.instance import Experiment, Instance
from playpen.moves import Lose
from playpen.player import PlayerError
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer
from playpen.plugins import get_game
from playpen.referee import new_episode
from playpen.rewards import RewardTable
from playpen.training import (
    GamesTable,
    RolloutTable,
    TeacherTable,
    TrainConfig,
    train,
)
from playpen_trainers import grpo as grpo_module
from playpen_trainers import seats as seats_module
from playpen_trainers.collapse import CollapseWarning, CollapseWatch, repeated
from playpen_trainers.grpo import DialogueGRPOTrainer
from playpen_trainers.seats import LEARNER


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(autouse=True)
def _games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_games(monkeypatch)


def said(episode: Episode, role: str | None = None) -> list[str]:
    return [reply.reply.text for reply in episode.replies(role)]


# --- who plays -----------------------------------------------------------------------------------


def test_in_self_play_an_episode_is_played_once_and_all_roles_learn(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    train("grpo", config(base, game="plaincolours"), tmp_path / "out")
    assert len(recorder.episodes) == 2 * 8  # two steps of eight episodes, two roles in each
    assert len({id(episode) for episode in recorder.episodes}) == 16
    for batch, rows in zip(recorder.played, recorder.rows, strict=True):
        assert len(batch.episodes) == 8
        for episode in batch.episodes:
            assert episode.players == {"wisher": LEARNER, "painter": LEARNER}
            mine = [part.role for part in batch.parts if part.episode is episode]
            asked = {reply.role for reply in episode.replies()}
            assert mine == [role for role in ("wisher", "painter") if role in asked]
        assert len(batch.parts) >= 8 + 6
        assert len(rows) == sum(part.use == "train" for part in batch.parts)


def test_the_learner_holds_one_role_and_a_teacher_the_other(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    alone = config(
        base, roles=["painter"], teacher=TeacherTable(player="program:oracle"), max_steps=1
    )
    train("grpo", alone, tmp_path / "out")
    [batch], [rows] = recorder.played, recorder.rows
    assert [part.role for part in batch.parts] == ["painter"] * 8
    for episode in batch.episodes:
        assert episode.players == {"wisher": "program:oracle", "painter": LEARNER}
        assert set(said(episode, "wisher")) == {"red"}
        assert all(reply.reply.tokens is None for reply in episode.replies("wisher"))
        assert all(reply.reply.tokens for reply in episode.replies("painter"))
    sampled = [len(reply.reply.tokens.sampled) for e in batch.episodes
               for reply in e.replies("painter") if reply.reply.tokens]  # fmt: skip
    assert sum(sum(row.mask) for row in rows) == sum(sampled)
    [line] = steps_of(tmp_path / "out")
    assert "reward/colours/painter" in line
    assert "reward/colours/wisher" not in line


def test_a_group_shares_instance_and_draws_but_not_the_sampling(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    many = config(base, max_steps=8, per_device_train_batch_size=6, num_generations=3)
    train("grpo", many, tmp_path / "out")
    groups = [batch.episodes[start : start + 3] for batch in recorder.played for start in (0, 3)]
    assert len(groups) == 16
    for group in groups:
        assert len({episode.instance for episode in group}) == 1
        assert len({str(episode.draws()) for episode in group}) == 1
        assert group[0].draws()
        assert len({str(said(episode)) for episode in group}) > 1
    # A group that comes back to an instance faces other draws, and samples anew.
    assert len({group[0].instance for group in groups}) < 16
    assert len({group[0].draw_seed for group in groups}) == 16
    assert len({episode.sampling_seed for group in groups for episode in group}) == 48
    numbers = {part.group for batch in recorder.played for part in batch.parts}
    assert numbers == set(range(16))


def test_side_questions_are_rows_of_their_own(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    train("grpo", config(base, max_steps=1), tmp_path / "out")
    [batch], [rows] = recorder.played, recorder.rows
    expected = 0
    for part in batch.parts:
        if part.use == "drop":
            continue
        asides = sum(not turn.keep for turn in part.episode.turns(part.role))
        named = sum(turn.keep for turn in part.episode.turns(part.role))
        assert (asides > 0) == (part.role == "painter")
        assert len(part.rows) == asides + bool(named)
        expected += len(part.rows)
    assert len(rows) == expected
    assert steps_of(tmp_path / "out")[0]["rows"] == expected
    # The second question aside reads what was said before, and trains nothing of it.
    later = [
        (part, row)
        for part in batch.parts
        for row in part.rows
        if len(part.rewards) == 4 and part.role == "painter" and row.spans[0][0] == 2
    ]
    assert later
    for part, row in later:
        main = part.rows[1]
        assert row.ids[: len(main.ids)][: main.spans[0][2]] == main.ids[: main.spans[0][2]]
        assert sum(row.mask) == row.spans[0][2] - row.spans[0][1]


def test_a_teacher_that_stumbles_is_asked_again(
    base: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(online_kit, "STUMBLED", {})
    stumbling = config(
        base,
        game="plaincolours",
        max_steps=1,
        roles=["painter"],
        teacher=TeacherTable(player=f"{HERE}:stumble"),
    )
    train("grpo", stumbling, tmp_path / "out")
    [batch] = recorder.played
    assert [episode.attempts for episode in batch.episodes] == [3] * 8
    assert len(batch.parts) == 8
    assert all(part.episode in batch.episodes for part in batch.parts)


def test_a_teacher_that_fails_again_and_again_ends_the_training(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    broken = config(
        base,
        game="plaincolours",
        roles=["painter"],
        teacher=TeacherTable(player=f"{HERE}:crash"),
    )
    with pytest.raises(PlayerError) as caught:
        train("grpo", broken, tmp_path / "out")
    assert "plaincolours/only/" in str(caught.value)
    assert str(caught.value).endswith(
        "failed 3 times: the player of wisher raised ZeroDivisionError: a bug in the teacher"
    )
    assert len(recorder.episodes) == 3 * 8
    assert not (tmp_path / "out" / "final").exists()


# --- sampler and trainer compute the same policy -------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "options"),
    [
        (1.0, {}),
        (0.6, {}),
        (1.7, {"lora_r": 4}),
        (1.0, {"lora_r": 4, "beta": 0.1}),
        (1.0, {"gradient_checkpointing": True}),
    ],
)
def test_the_ratio_is_1_in_the_first_update(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    temperature: float,
    options: dict[str, Any],
) -> None:
    gaps = []
    original = DialogueGRPOTrainer._get_per_token_logps_and_entropies
    compute = DialogueGRPOTrainer.compute_loss

    def watched(self: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        def found(*own: Any, **others: Any) -> Any:
            logps, *rest = original(self, *own, **others)
            mask = inputs["tool_mask"].bool()
            gaps.append((logps - inputs["old_per_token_logps"])[mask].abs().max().item())
            return (logps, *rest)

        self._get_per_token_logps_and_entropies = found
        try:
            return compute(self, model, inputs, *args, **kwargs)
        finally:
            del self._get_per_token_logps_and_entropies

    monkeypatch.setattr(DialogueGRPOTrainer, "compute_loss", watched)
    rollout = RolloutTable(max_new_tokens=4, temperature=temperature)
    train("grpo", config(base, rollout=rollout, max_steps=3, **options), tmp_path / "out")
    assert len(gaps) == 3
    assert max(gaps) < 1e-4  # each update has a fresh batch
    lines = steps_of(tmp_path / "out")
    assert all(0 <= line["sampler_gap/mean"] <= line["sampler_gap/max"] < 1e-4 for line in lines)
    assert all(line["clip_ratio/region_mean"] == 0 for line in lines)
    assert not [w for w in recwarn if "sampler and trainer differ" in str(w.message)]


def test_a_second_pass_is_off_policy_and_says_so(base: Path, tmp_path: Path) -> None:
    twice = config(base, max_steps=2, num_iterations=2, learning_rate=0.05)
    train("grpo", twice, tmp_path / "out")
    first, second = steps_of(tmp_path / "out")
    assert first["clip_ratio/region_mean"] == 0
    assert second["clip_ratio/region_mean"] > 0


class Falsified(HuggingFacePlayer):
    """A player that gives wrong log-probabilities."""

    async def reply(self, conversation: Conversation) -> Reply:
        reply = await super().reply(conversation)
        assert reply.tokens is not None
        wrong = [value - 0.5 for value in reply.tokens.logprobs]
        tokens = msgspec.structs.replace(reply.tokens, logprobs=wrong)
        return msgspec.structs.replace(reply, tokens=tokens)


class Hotter(HuggingFacePlayer):
    """A player that samples at another temperature than it is told to."""

    @classmethod
    def over(cls, model: Any, tokenizer: Any, options: HuggingFaceOptions) -> HuggingFacePlayer:
        return super().over(model, tokenizer, msgspec.structs.replace(options, temperature=4.0))


@pytest.mark.parametrize("sampler", [Falsified, Hotter])
def test_a_sampler_with_another_policy_is_noticed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: Any
) -> None:
    monkeypatch.setattr(seats_module, "HuggingFacePlayer", sampler)
    with pytest.warns(UserWarning, match="sampler and trainer differ by") as caught:
        train("grpo", config(base, max_steps=1), tmp_path / "out")
    [text] = [str(w.message) for w in caught if "sampler and trainer" in str(w.message)]
    assert "(gap_threshold is 0.05)" in text
    assert "check data types, adapter and temperature" in text
    [line] = steps_of(tmp_path / "out")
    assert f"by {line['sampler_gap/mean']:.3f} in" in text
    if sampler is Falsified:
        assert line["sampler_gap/mean"] == pytest.approx(0.5, abs=1e-3)


def test_how_large_a_gap_warns_is_an_option(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(seats_module, "HuggingFacePlayer", Falsified)
    train("grpo", config(base, max_steps=1, gap_threshold=0.6), tmp_path / "out")
    assert not [w for w in recwarn if "sampler and trainer differ" in str(w.message)]


# --- what is logged ------------------------------------------------------------------------------


def test_what_metrics_tell(base: Path, tmp_path: Path, recorder: Recorder) -> None:
    output = tmp_path / "out"
    made = config(base, beta=0.1, max_steps=3)
    made.games = GamesTable(names=["colours", "plaincolours"])
    train("grpo", made, output)
    lines = steps_of(output)
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line, batch in zip(lines, recorder.played, strict=True):
        episodes = batch.episodes
        kept = [part for part in batch.parts if part.use != "drop"]
        assert line["played"] == sum(not e.aborted for e in episodes) / 8
        assert line["success"] == sum(e.success for e in episodes) / 8
        assert line["dropped"] == pytest.approx(1 - len(kept) / len(batch.parts))
        assert line["reward"] == pytest.approx(sum(p.returns[0] for p in kept) / len(kept))
        for name in ("colours", "plaincolours"):
            own = [e for e in episodes if e.game == name]
            assert len(own) == 4  # every game gets as many groups
            assert line[f"success/{name}"] == sum(e.success for e in own) / 4
            for role in ("wisher", "painter"):
                earned = [p.returns[0] for p in kept if (p.episode.game, p.role) == (name, role)]
                assert line[f"reward/{name}/{role}"] == pytest.approx(sum(earned) / len(earned))
        lengths = [
            len(reply.reply.tokens.sampled)
            for episode in episodes
            for reply in episode.replies()
            if reply.reply.tokens
        ]
        assert line["reply_tokens"] == pytest.approx(sum(lengths) / len(lengths))
        assert line["entropy"] > 0
        assert line["kl"] >= 0
        assert line["grad_norm"] > 0
    assert lines[0]["kl"] < 1e-9 < lines[2]["kl"]
    sampled = [line["tokens_sampled"] for line in lines]
    assert sampled == sorted(set(sampled))


def test_without_a_reference_there_is_no_divergence_to_log(base: Path, tmp_path: Path) -> None:
    train("grpo", config(base), tmp_path / "out")
    assert all("kl" not in line for line in steps_of(tmp_path / "out"))


# --- determinism and checkpoints -----------------------------------------------------------------

TIMES = {"step_time", "tokens_per_second"}


def numbers(output: Path) -> list[dict[str, Any]]:
    """What was logged, but for what a clock says."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in logged(output)]


@pytest.mark.parametrize(
    "options",
    [{}, {"lora_r": 4, "lora_dropout": 0.1, "beta": 0.05, "steps_per_generation": 2}],
    ids=["full", "adapter"],
)
def test_the_same_seeds_give_the_same_weights_and_numbers(
    base: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    made = config(base, max_steps=4, **options)
    first = train("grpo", made, tmp_path / "first")
    again = train("grpo", made, tmp_path / "again")
    assert weights_hash(first) == weights_hash(again)
    assert numbers(tmp_path / "first") == numbers(tmp_path / "again")


def test_another_seed_plays_other_episodes(base: Path, tmp_path: Path, recorder: Recorder) -> None:
    first = train("grpo", config(base), tmp_path / "first")
    other = RolloutTable(max_new_tokens=4, seed=1)
    second = train("grpo", config(base, rollout=other), tmp_path / "second")
    assert weights_hash(first) != weights_hash(second)
    assert recorder.played[0].digest() != recorder.played[2].digest()


def test_another_optimiser_seed_plays_the_same_first_episodes(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    """The trainer's seed is for order, dropout and adapter; what is played has one of its own."""
    first = train("grpo", config(base, lora_r=2), tmp_path / "first")
    second = train("grpo", config(base, lora_r=2, seed=1), tmp_path / "second")
    assert recorder.played[0].digest() == recorder.played[2].digest()
    assert weights_hash(first) != weights_hash(second)


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "adapter"])
def test_a_checkpoint_is_a_player(base: Path, tmp_path: Path, rank: int) -> None:
    final = train("grpo", config(base, lora_r=rank, save_steps=1), tmp_path / "out")
    assert final == tmp_path / "out" / "final"
    weights = "adapter_model.safetensors" if rank else "model.safetensors"
    game = get_game("colours")
    instances = [
        Instance("colours", Experiment("only", {}), {"number": "1", "wanted": "warm", "seed": n})
        for n in range(3)
    ]
    for folder in (final, tmp_path / "out" / "checkpoints" / "checkpoint-1"):
        names = {path.name for path in folder.iterdir()}
        assert weights in names
        assert "training_args.bin" not in names
        player = make_player(f"hf:{folder}?max_new_tokens=4")
        episodes = play_episodes(game, player, instances)
        assert all(episode.failure is None for episode in episodes)
        assert all(episode.trajectory("wisher") is not None for episode in episodes)
    before = weights_hash(base)
    assert rank or weights_hash(final) != before


def test_a_model_learns_what_is_rewarded(base: Path, tmp_path: Path) -> None:
    """Wishers and painters of the plain game win more and more often."""
    plain = config(
        base,
        game="plaincolours",
        rollout=RolloutTable(max_new_tokens=3, concurrency=64),
        max_steps=30,
        per_device_train_batch_size=64,
        num_generations=8,
        learning_rate=3e-3,
    )
    train("grpo", plain, tmp_path / "out")
    won = [line["success"] for line in steps_of(tmp_path / "out")]
    assert sum(won[-5:]) / 5 > sum(won[:5]) / 5 + 0.2


# --- credit, baselines, variants -----------------------------------------------------------------


VARIANTS: dict[str, dict[str, Any]] = {
    "turn": {"credit": "turn"},
    "forked": {"credit": "forked", "forks": 2},
    "running": {"baseline": "running", "scale_rewards": "batch"},
    "forked running": {"credit": "forked", "forks": 1, "baseline": "running"},
    "leave-one-out": {"baseline": "leave-one-out", "scale_rewards": "none"},
    "trainer's own": {"off_policy": "trainer", "steps_per_generation": 2},
    "sequence": {"importance_sampling_level": "sequence", "loss_type": "luspo"},
    "entropy bonus": {"entropy_coef": 0.01, "epsilon_high": 0.3},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_variants_run(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    reward = RewardTable(terms={"outcome": {}, "turn": {"weight": 0.5}}, discount=0.9)
    made = config(base, max_steps=4, reward=reward, **options)
    final = train("grpo", made, tmp_path / "out")
    lines = steps_of(tmp_path / "out")
    assert len(lines) == 4
    assert any(line["grad_norm"] > 0 for line in lines)
    assert weights_hash(final) != weights_hash(base)


def test_rloo_runs_from_the_file_of_grpo(base: Path, tmp_path: Path, recorder: Recorder) -> None:
    made = config(base, game="plaincolours")
    train("grpo", made, tmp_path / "grpo")
    train("rloo", made, tmp_path / "rloo")
    assert recorder.played[0].digest() == recorder.played[2].digest()
    batch = recorder.played[2]
    kept = [part for part in batch.parts if part.use == "train"]
    for part, row in zip(kept, recorder.rows[2], strict=True):
        others = [
            p.returns[0]
            for p in kept
            if (p.group, p.role) == (part.group, part.role) and p is not part
        ]
        expected = part.returns[0] - sum(others) / len(others) if others else 0.0
        assert row.advantages == pytest.approx([m * expected for m in row.mask])


def test_credit_by_turn_gives_each_reply_its_own(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    reward = RewardTable(terms={"outcome": {}}, discount=0.5)
    train("grpo", config(base, credit="turn", reward=reward, max_steps=1), tmp_path / "out")
    [batch], [rows] = recorder.played, recorder.rows
    several = [row for row in rows if 0 in row.mask]
    assert several  # rows with two replies
    assert any(len({a for a, m in zip(row.advantages, row.mask, strict=True) if m}) > 1
               for row in several)  # fmt: skip
    assert all(len(part.returns) == len(part.rewards) for part in batch.parts)


def test_values_are_estimated_by_playing_on_from_each_reply(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    halved = RewardTable(terms={"outcome": {}}, discount=0.5)
    made = config(base, credit="forked", forks=3, max_steps=1, reward=halved)
    train("grpo", made, tmp_path / "out")
    [batch] = recorder.played
    trained = [part for part in batch.parts if part.use == "train"]
    forks = recorder.episodes[8:]
    assert len(forks) == 3 * sum(len(part.rewards) for part in trained)
    anew = other = 0
    for part in trained:
        assert part.values is not None
        assert len(part.values) == len(part.rewards) + 1
        assert part.values[-1] == 0
        turns = [n for n, r in enumerate(part.episode.replies()) if r.role == part.role]
        for own, turn in enumerate(turns):
            mine, forks = forks[:3], forks[3:]
            for fork in mine:
                assert said(fork)[:turn] == said(part.episode)[:turn]
                shared = min(len(fork.draws()), len(part.episode.draws()))
                assert fork.draws()[:shared] == part.episode.draws()[:shared]
            # What is earned in the end, as it is seen from this reply.
            later = [len(fork.replies(part.role)) - 1 - own for fork in mine]
            earned = [f.success * 0.5**wait for f, wait in zip(mine, later, strict=True)]
            assert part.values[own] == pytest.approx(sum(earned) / 3)
            anew += sum(said(fork) != said(part.episode) for fork in mine)
            other += said(mine[0]) != said(mine[1])
    assert not forks
    assert anew > 0
    assert other > 0
    assert len({value for part in trained for value in part.values or ()}) > 2


# --- collapse ------------------------------------------------------------------------------------

SANE = {"aborted": 0.1, "alike": 0.0, "length": 10.0, "entropy": 1.5}


def look(watch: CollapseWatch, values: Mapping[str, float], times: int = 5) -> list[str]:
    """What is seen when the same numbers come so often; warnings must tell the same."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(times):
            found += watch.look(values)
    assert [str(w.message) for w in caught] == found
    assert all(w.category is CollapseWarning for w in caught)
    return found


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"aborted": 0.97}, ["97 % of the last episodes broke a rule", "sft"]),
        ({"alike": 0.92}, ["92 % of the replies repeat an earlier one", "raise beta"]),
        ({"length": 2.0}, ["replies have shrunk from 10.0 to 2.0 tokens", "transcripts"]),
        ({"length": 40.0}, ["replies have grown from 10.0 to 34.0 tokens"]),
        ({"entropy": 0.002}, ["the entropy of replies fell to 0.002", "temperature"]),
    ],
)
def test_a_sign_of_collapse_is_named_once(change: dict[str, float], parts: list[str]) -> None:
    watch = CollapseWatch()
    assert look(watch, SANE, times=20) == []
    [text] = look(watch, {**SANE, **change}, times=20)
    for part in parts:
        assert part in text
    assert look(watch, {**SANE, **change}, times=20) == []


def test_lengths_are_compared_with_those_at_the_start() -> None:
    watch = CollapseWatch()
    look(watch, SANE)
    [text] = look(watch, {**SANE, "length": 1.0})
    assert text.startswith("replies have shrunk from 10.0 to 2.8 tokens")  # as soon as it shows


def test_a_few_batches_are_not_enough_to_tell() -> None:
    collapsed = {"aborted": 1.0, "alike": 1.0, "length": 1.0, "entropy": 0.0}
    assert look(CollapseWatch(), collapsed, times=4) == []
    assert len(look(CollapseWatch(), collapsed, times=5)) == 3


def test_one_bad_batch_among_good_ones_is_no_collapse() -> None:
    watch = CollapseWatch()
    for _ in range(5):
        assert look(watch, SANE, times=4) == []
        assert look(watch, {**SANE, "aborted": 1.0, "alike": 1.0, "entropy": 0.0}, times=1) == []


def test_an_entropy_that_is_not_known_yet_does_not_count() -> None:
    watch = CollapseWatch()
    unknown = {key: value for key, value in SANE.items() if key != "entropy"}
    assert look(watch, unknown, times=4) == []
    assert look(watch, {**SANE, "entropy": 0.03}, times=1) == []
    assert look(watch, {**SANE, "entropy": 0.005}, times=5) != []


def test_what_was_seen_is_kept_and_taken_up() -> None:
    watch, again = CollapseWatch(), CollapseWatch()
    look(watch, SANE)
    look(watch, {**SANE, "aborted": 1.0}, times=3)
    again.restore(msgspec.json.decode(msgspec.json.encode(watch.state())))
    for one in (watch, again):
        assert len(look(one, {**SANE, "aborted": 1.0}, times=5)) == 1
    restored = CollapseWatch()
    restored.restore(msgspec.json.decode(msgspec.json.encode(again.state())))
    assert look(restored, {**SANE, "aborted": 1.0}) == []  # it was told before


def repeating(replies: list[tuple[str, str]]) -> Episode:
    """An episode of the learner with given replies, and of somebody else."""
    game = Colours()
    instance = Instance("colours", Experiment("only", {}), {})
    episode = new_episode(game, instance, {"wisher": LEARNER, "painter": "program:oracle"})
    episode.events = [Said(role, Reply(text)) for role, text in replies]
    episode.outcome = Lose()
    return episode


def test_repeated_replies_are_those_of_the_same_role_in_the_same_episode() -> None:
    one = repeating([("wisher", "a"), ("painter", "a"), ("wisher", "a"), ("wisher", "b")])
    other = repeating([("wisher", "a"), ("painter", "x"), ("painter", "x")])
    assert repeated([one, other], LEARNER) == 1 / 2  # two replies could repeat one, one did
    assert repeated([one, other], "program:oracle") == 1.0
    assert repeated([repeating([("wisher", "a")])], LEARNER) == 0.0
    assert repeated([], LEARNER) == 0.0


def test_the_watch_is_told_of_every_batch(
    base: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Mapping[str, float]] = []

    def look(watch: CollapseWatch, values: Mapping[str, float]) -> list[str]:
        told.append(values)
        return []

    monkeypatch.setattr(CollapseWatch, "look", look)
    train("grpo", config(base, max_steps=4), tmp_path / "out")
    lines = steps_of(tmp_path / "out")
    assert [values["aborted"] for values in told] == [1 - line["played"] for line in lines]
    assert [values["length"] for values in told] == [line["reply_tokens"] for line in lines]
    assert [values["alike"] for values in told] == [
        repeated(batch.episodes, LEARNER) for batch in recorder.played
    ]
    # The entropy is known once a batch was trained on.
    assert "entropy" not in told[0]
    assert [values["entropy"] for values in told[1:]] == [
        pytest.approx(line["entropy"]) for line in lines[:-1]
    ]


def test_a_training_that_only_breaks_rules_warns(base: Path, tmp_path: Path) -> None:
    hopeless = config(
        base,
        max_steps=6,
        roles=["painter"],
        teacher=TeacherTable(player=f"{HERE}:always_spoil"),
    )
    with pytest.warns(CollapseWarning, match="100 % of the last episodes broke a rule") as caught:
        train("grpo", hopeless, tmp_path / "out")
    assert len([w for w in caught if w.category is CollapseWarning]) == 1


# --- what is refused -----------------------------------------------------------------------------


def refused(
    monkeypatch: pytest.MonkeyPatch, made: TrainConfig, output: Path, trainer: str = "grpo"
) -> str:
    """The line with which a training is refused before any weights are loaded."""
    monkeypatch.setattr(grpo_module, "seated_learner", lambda *_: pytest.fail("weights loaded"))
    with pytest.raises(PlaypenError) as caught:
        train(trainer, made, output)
    assert not output.exists()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("trainer", ["grpo", "rloo"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_generations": 1},
            "trainer.num_generations = 1: a group needs at least two episodes to compare",
        ),
        (
            {"num_generations": 3},
            "trainer.num_generations = 3 does not divide the 8 episodes of a generation batch "
            "(per_device_train_batch_size x steps_per_generation)",
        ),
        (
            {"num_generations": 5, "gradient_accumulation_steps": 2},
            "trainer.num_generations = 5 does not divide the 16 episodes of a generation batch "
            "(per_device_train_batch_size x steps_per_generation)",
        ),
        ({"max_steps": 0}, "trainer.max_steps = 0: write a positive number"),
        ({"max_steps": -1}, "trainer.max_steps = -1: write a positive number"),
        (
            {"lr_scheduler_type": "cosin"},
            "trainer.lr_scheduler_type = 'cosin': choose among constant, ",
        ),
        (
            {"load_in_4bit": True},
            "trainer.load_in_4bit = true: weights in 4 bits cannot be trained; add an adapter "
            "with trainer.lora_r = 16",
        ),
        (
            {"save_steps": 1, "num_iterations": 2},
            "trainer.save_steps = 1 would save in the middle of a generation batch; choose a "
            "multiple of 2",
        ),
        (
            {"credit": "turn", "importance_sampling_level": "sequence"},
            "trainer.credit = 'turn' tells replies apart, which "
            "trainer.importance_sampling_level = 'sequence' undoes; set that to 'token'",
        ),
        (
            {"credit": "forked", "importance_sampling_level": "sequence"},
            "trainer.credit = 'forked' tells replies apart, which "
            "trainer.importance_sampling_level = 'sequence' undoes; set that to 'token'",
        ),
        # What the types of the options refuse
        (
            {"num_generation": 4},
            "unknown key 'trainer.num_generation'; did you mean 'num_generations'?",
        ),
        (
            {"loss_type": "gpro"},
            "trainer.loss_type = 'gpro': one of dapo, grpo, dr_grpo, bnpo, cispo, sapo, luspo, "
            "vespo is expected; did you mean 'grpo'?",
        ),
        ({"beta": -0.1}, "trainer.beta = -0.1: a number of at least 0 is expected"),
        ({"forks": 0}, "trainer.forks = 0: a whole number of at least 1 is expected"),
        (
            {"baseline": "leave-one"},
            "trainer.baseline = 'leave-one': one of group, leave-one-out, running is expected; "
            "did you mean 'leave-one-out'?",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_before_weights_load(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trainer: str,
    options: dict[str, Any],
    message: str,
) -> None:
    assert message in refused(monkeypatch, config(base, **options), tmp_path / "out", trainer)


def test_four_bits_without_their_library_are_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.utils, "is_bitsandbytes_available", lambda: False)
    text = refused(monkeypatch, config(base, load_in_4bit=True, lora_r=4), tmp_path / "out")
    assert text == (
        "trainer.load_in_4bit = true: bitsandbytes is not installed; pip install "
        "'playpen-core[quantization]', or leave the option out"
    )


def test_a_learner_that_is_no_model_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(base)
    made.learner.player = "program:oracle"
    assert refused(monkeypatch, made, tmp_path / "out") == (
        "learner.player = 'program:oracle' cannot be trained; name a model as hf:NAME or "
        "hf:DIRECTORY"
    )


def test_a_learner_that_is_not_there_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refused(monkeypatch, config(tmp_path / "nowhere"), tmp_path / "out")
    assert "nowhere: there is no such directory" in text


def test_roles_that_nobody_plays_are_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(monkeypatch, config(base, roles=["painter"]), tmp_path / "out") == (
        "learner.roles = ['painter']: nobody plays wisher in 'colours'; add [teacher] player = "
        '"SPEC", or leave learner.roles out for self-play'
    )


def test_a_training_without_games_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(base)
    made.games = GamesTable()
    made.data.runs = ["runs/x"]
    monkeypatch.setattr("playpen.training.plan._recordings", lambda run: {})
    assert refused(monkeypatch, made, tmp_path / "out") == (
        "games.names is empty: online training needs games to play"
    )


def test_a_wrong_option_of_a_reward_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(base, reward=RewardTable(terms={"outcome": {"lost": 1}}))
    text = refused(monkeypatch, made, tmp_path / "out")
    assert "unknown key 'reward.terms.outcome.lost'; did you mean 'lose'?" in text


def test_an_unknown_reward_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(base, reward=RewardTable(terms={"outcom": {}}))
    text = refused(monkeypatch, made, tmp_path / "out")
    assert "there is no reward 'outcom'; did you mean 'outcome'?" in text


def test_a_game_without_instances_is_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = {"experiments": [{"name": "only", "game_instances": []}]}
    monkeypatch.setattr(Colours, "generate", lambda self, split, **_: empty)
    text = refused(monkeypatch, config(base), tmp_path / "out")
    assert text == "games.names: there are no train instances of 'colours'"
