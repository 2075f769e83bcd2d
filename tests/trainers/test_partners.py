"""Whom the learner meets while it trains."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.trainers.online_kit import HERE, config, logged, register_games, tiny_base
from transformers import TrainerControl, TrainerState, TrainingArguments

from playpen import get_game
from playpen.instance_sets import ready_instances
from playpen.training import ConfigError, TeacherTable, TrainConfig, TrainingRun, train
from playpen_trainers import checkpointing, grpo, partners
from playpen_trainers.curriculum import Curriculum, Situation
from playpen_trainers.learner import check_learner, load_learner
from playpen_trainers.online import OnlineRollouts
from playpen_trainers.partners import Partners
from playpen_trainers.seats import LEARNER, Seating

ROLES = ["wisher", "painter"]


@pytest.fixture(autouse=True)
def games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_games(monkeypatch)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


class Guests:
    """Makes no players."""

    def __init__(self) -> None:
        self.present: set[str] = set()

    def player(self, spec: str) -> str:
        self.present.add(spec)
        return spec

    def release(self, spec: str) -> None:
        self.present.discard(spec)


def pool(output: Path, seating: Any = None, **teacher: Any) -> Partners:
    settings = config(Path("nowhere"), teacher=TeacherTable(**teacher))
    learner: Any = None
    return Partners(TrainingRun("grpo", settings, output), learner, seating or Guests())


def situation(number: int) -> Situation:
    game = get_game("colours")
    return Situation(number, game, ready_instances(game, "train")[0])


def met(partners: Partners, count: int = 2000) -> Counter[str]:
    """How often each partner is met in so many groups."""
    found: Counter[str] = Counter()
    for number in range(count):
        found.update(name for name, _ in partners.choose(situation(number), ROLES).values())
    return found


# --- whether, who, and in which role -------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_groups_with_a_partner(tmp_path: Path, share: float):
    found = pool(tmp_path, partners=["program:oracle"], partner_share=share)
    chosen = [found.choose(situation(number), ROLES) for number in range(2000)]
    assert all(len(given) <= 1 for given in chosen)
    assert abs(sum(map(len, chosen)) - 2000 * share) < 5 * (2000 * share * (1 - share)) ** 0.5 + 1
    seats = Counter(role for given in chosen for role in given)
    assert all(abs(seats[role] - 1000 * share) < 110 for role in ROLES)
    assert chosen == [found.choose(situation(number), ROLES) for number in range(2000)]


def test_the_learner_never_loses_its_only_role(tmp_path: Path):
    found = pool(tmp_path, partners=["program:oracle"], partner_share=1.0)
    assert not any(found.choose(situation(number), ["painter"]) for number in range(100))


def test_without_partners_it_is_self_play(tmp_path: Path):
    assert not met(pool(tmp_path, partner_share=1.0))
    assert not met(pool(tmp_path, partner_share=1.0, snapshot_every=2))  # none was taken yet


def test_choice_uniform(tmp_path: Path):
    names = [f"program:{number}" for number in range(4)]
    found = met(pool(tmp_path, partners=names, partner_share=1.0))
    assert all(abs(found[name] - 500) < 100 for name in names)


def test_choice_recent(tmp_path: Path):
    found = pool(tmp_path, partners=["program:x"], partner_share=1.0, choice="recent")
    found.restore({"snapshots": [4, 8, 12], "earned": {}})
    seen = met(found)
    for weight, name in enumerate(["program:x", "learner@4", "learner@8", "learner@12"], start=1):
        assert abs(seen[name] - 200 * weight) < 100


def test_choice_hard(tmp_path: Path):
    names = ["program:easy", "program:hard", "program:new"]
    found = pool(tmp_path, partners=names, partner_share=1.0, choice="hard")
    assert all(abs(count - 667) < 110 for count in met(found).values())  # nothing is known yet
    for _ in range(50):
        found.learn("program:easy", [1.0, 1.0])
        found.learn("program:hard", [0.0])
    seen = met(found)
    # Whom nobody met counts as much as the hardest, the easiest a tenth of that.
    for name, weight in zip(names, (0.1, 1.0, 1.0), strict=True):
        assert abs(seen[name] - 2000 * weight / 2.1) < 110


def test_what_is_earned_follows_slowly(tmp_path: Path):
    found = pool(tmp_path, partners=["program:x"])
    found.learn("program:x", [1.0])
    found.learn("program:x", [0.0])
    assert found.state()["earned"] == {"program:x": pytest.approx(0.9)}


# --- snapshots and their files -------------------------------------------------------------------


def saver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots whose only file says at which step they were taken."""

    def save(trainer: Any, learner: Any, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "step").write_text(folder.name)
        return folder

    monkeypatch.setattr(partners, "save", save)


def on_disk(output: Path) -> set[int]:
    return {int(path.name.removeprefix("step-")) for path in (output / "partners").glob("step-*")}


@pytest.mark.parametrize("seed", range(40))
def test_files_go_only_when_no_checkpoint_can_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Random schedules, with deaths at random steps, continued from the last checkpoint."""
    saver(monkeypatch)
    chance = random.Random(seed)
    every, kept = chance.randint(1, 5), chance.randint(1, 4)
    save_steps, limit = chance.randint(1, 7), chance.randint(1, 4)
    folder = tmp_path / "checkpoints"
    arguments = TrainingArguments(output_dir=str(folder), use_cpu=True)

    def start() -> tuple[Partners, Guests, int]:
        guests = Guests()
        made = pool(tmp_path, guests, snapshot_every=every, snapshots=kept, partner_share=1.0)
        made._trainer = object()  # type: ignore[assignment]
        last = checkpointing.last_checkpoint(folder)
        if last is None:
            return made, guests, 0
        made.restore(json.loads((last / "playpen.json").read_text())["partners"])
        return made, guests, int(last.name.removeprefix("checkpoint-"))

    found, guests, step = start()
    deaths = 0
    while step < 40:
        step += 1
        control, state = TrainerControl(), TrainerState(global_step=step)
        for _, given in found.choose(situation(step), ROLES).values():
            path = Path(str(given).removeprefix("hf:").partition("?")[0])
            assert (path / "step").read_text() == path.name  # whoever is met is there
        found.on_step_end(arguments, state, control)
        if step % save_steps == 0:
            (folder / f"checkpoint-{step}").mkdir(parents=True, exist_ok=True)
            if deaths < 6 and chance.random() < 0.1:
                found, guests, step = start()  # died while the checkpoint was written
                deaths += 1
                continue
            checkpointing._Keeper([found], limit).on_save(arguments, state, control)
        newest = list(range(every, step + 1, every))[-kept:]
        assert found.state()["snapshots"] == newest
        needed = {n for state in checkpointing.kept_checkpoint_states(tmp_path)
                  for n in state["partners"]["snapshots"]}  # fmt: skip
        assert needed | set(newest) <= on_disk(tmp_path)
        assert len(guests.present) <= kept  # who is gone is let go of
        # Files of one checkpoint more, and of steps that are to be taken once more, may be there.
        assert len(on_disk(tmp_path)) <= kept * (limit + 2) + 40 // every * bool(deaths)
        if deaths < 6 and chance.random() < 0.05:
            found, guests, step = start()
            deaths += 1


def test_snapshots_are_taken_limited_and_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saver(monkeypatch)
    guests = Guests()
    found = pool(tmp_path, guests, snapshot_every=3, snapshots=2, partner_share=1.0)
    found._trainer = object()  # type: ignore[assignment]
    arguments = TrainingArguments(output_dir=str(tmp_path / "checkpoints"), use_cpu=True)
    for step in range(1, 11):
        found.on_step_end(arguments, TrainerState(global_step=step), TrainerControl())
        met(found, 20)
        found.learn("learner@3", [0.5])
    assert found.names() == ["learner@6", "learner@9"]
    assert on_disk(tmp_path) == {6, 9}
    expected = {f"hf:{tmp_path}/partners/step-{n}?temperature=1&max_new_tokens=4" for n in (6, 9)}
    assert guests.present == expected
    other = pool(tmp_path, snapshot_every=3, snapshots=2, partner_share=1.0)
    other.restore(json.loads(json.dumps(found.state())))
    assert other.names() == found.names()
    assert met(other) == met(found)


# --- with models ---------------------------------------------------------------------------------


def test_a_partners_part_is_not_trained(base: Path, tmp_path: Path):
    settings = config(base, teacher=TeacherTable(partners=["program:oracle"], partner_share=0.5))
    run = TrainingRun("grpo", settings, tmp_path)
    learner = load_learner(*check_learner(run.learner), "float32")
    seating = Seating(run)
    rollouts = OnlineRollouts(
        seating,
        Curriculum(run, 12),
        Partners(run, learner, seating),
        run.rewards(),
        seed=0,
        fault="share",
    )
    player = seating.learner_player(learner.model.eval(), learner.tokenizer)
    batch = rollouts.play(player, 12, 2)
    seating.close()
    seats = Counter(tuple(sorted(e.players.values())) for e in batch.episodes)
    assert set(seats) == {(LEARNER, LEARNER), (LEARNER, "program:oracle")}
    trained = {(id(part.episode), part.role) for part in batch.parts}
    for episode in batch.episodes:
        for role, name in episode.players.items():
            asked = bool(episode.replies(role))
            assert ((id(episode), role) in trained) == (name == LEARNER and asked)
    assert {part.role for part in batch.parts} == set(ROLES)


def test_the_learner_meets_itself_as_it_was(base: Path, tmp_path: Path):
    """Snapshots keep their weights while the learner goes on."""
    teacher = TeacherTable(snapshot_every=1, snapshots=2, partner_share=1.0)
    train("grpo", config(base, teacher=teacher, max_steps=3, learning_rate=1e-2), tmp_path)
    assert on_disk(tmp_path) == {2, 3}
    weights = {
        name: (tmp_path / name / "model.safetensors").read_bytes()
        for name in ("partners/step-2", "partners/step-3", "final")
    }
    assert weights["partners/step-2"] != weights["partners/step-3"]
    assert weights["partners/step-3"] == weights["final"]
    rewards = [line for line in logged(tmp_path) if "reward" in line]
    assert len(rewards) == 3


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher", "roles", "line"),
    [
        (
            {"partners": ["program:oracle", "progam:oracle"]},
            None,
            "teacher.partners = 'progam:orac",
        ),
        ({"partners": ["hf:/there/is/none"]}, None, "teacher.partners = 'hf:/there/is/none': "),
        ({"partners": ["program:oracle?x=1"]}, None, "unknown option 'x'"),
        ({"partners": ["nobody"]}, None, "teacher.partners = 'nobody': "),
        ({"partners": ["program:tests.trainers.online_kit:nobody"]}, None, "has no 'nobody'"),
        ({"player": "progam:oracle"}, ["painter"], "teacher.player = 'progam:oracle': "),
        ({"player": "program:oracle", "partners": [f"{HERE}:spoil"]}, ["painter"], "only one in"),
        ({"player": "program:oracle", "snapshot_every": 2}, ["painter"], "snapshot_every = 2: "),
    ],
)
def test_who_cannot_play_is_refused_before_anything_is_loaded(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    teacher: dict[str, Any],
    roles: list[str] | None,
    line: str,
):
    monkeypatch.setattr(grpo, "seated_learner", lambda *_: pytest.fail("weights were loaded"))
    settings: TrainConfig = config(base, roles=roles, teacher=TeacherTable(**teacher))
    with pytest.raises(ConfigError) as caught:
        train("grpo", settings, tmp_path / "out")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_game_without_an_oracle_is_noticed(base: Path, monkeypatch: pytest.MonkeyPatch):
    def oracle(self: Any, role: str) -> Any:
        raise LookupError(f"colours has no oracle for {role}")

    monkeypatch.setattr(type(get_game("colours")), "oracle", oracle)
    settings = config(base, teacher=TeacherTable(partners=["program:oracle"]))
    with pytest.raises(ConfigError, match=r"teacher\.partners = 'program:oracle': .* wisher"):
        partners.check_partners(settings)


def test_the_files_of_a_broken_snapshot_are_written_again(base: Path, tmp_path: Path):
    """What was being written when the process died does not stand in the way."""
    broken = tmp_path / "partners" / "step-1.tmp"
    broken.mkdir(parents=True)
    (broken / "stale.safetensors").write_bytes(b"half of it")
    teacher = TeacherTable(snapshot_every=1, partner_share=1.0)
    train("grpo", config(base, teacher=teacher, max_steps=1), tmp_path)
    assert not broken.exists()
    files = {path.name for path in (tmp_path / "partners" / "step-1").iterdir()}
    assert "model.safetensors" in files
    assert "stale.safetensors" not in files
    shutil.rmtree(tmp_path / "partners")
