"""Training configurations: every mistake is named with its key, its value and the remedy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from tests.core.conftest import PackFolder
from tests.core.sample_games import GuessingGame, guessing, relay

from playpen.cast import make_cast
from playpen.hookspecs import hookimpl
from playpen.instance import SPLITS, Instance, split_of
from playpen.moves import Lose
from playpen.plugins import PluginError, registry
from playpen.runner import create_run, play_run
from playpen.store import Run, RunError
from playpen.training import (
    ConfigError,
    TrainConfig,
    Trainer,
    TrainingRun,
    make_trainer,
    read_config,
    train,
)

BABBLE = "program:tests.core.sample_games:babble"

TRAINER_PACK = """
from playpen.hookspecs import TrainerSpec, hookimpl


@hookimpl
def playpen_trainers():
    path = "tests.core.test_training_config:SampleTrainer"
    return [TrainerSpec(name="sample", path=path, summary="nothing")]
"""


class SampleAdapter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A table within the trainer's.

    Attributes:
        rank: of the adapter
    """

    rank: int
    alpha: float = 1e9

    def __post_init__(self) -> None:
        if self.alpha <= self.rank:
            raise ValueError("alpha must exceed rank")


class SampleOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of `SampleTrainer`.

    Attributes:
        learning_rate: peak of the ``rate``.
        steps: how many.
        targets: what is aimed at, one or
            several.
    """

    learning_rate: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 1e-4
    steps: int = 10
    targets: list[str] = []
    beta: float | str = 0.5
    lora: SampleAdapter | None = None


class SampleTrainer(Trainer):
    """Learns nothing; writes down what it was given."""

    Options = SampleOptions

    def train(self, run: TrainingRun) -> Path:
        chosen = run.demonstrations()
        run.log(0, {"demonstrations": len(chosen), "steps": self.options.steps})
        return run.output / "final"


@pytest.fixture(autouse=True)
def _trainer(installed: PackFolder) -> None:
    installed.add("sample-trainer", TRAINER_PACK)


LEARNER = '[learner]\nplayer = "hf:x"\n'
GAMES = '[games]\nnames = ["guessing"]\n'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration: the smallest one, or a text of one's own."""

    def make(text: str = LEARNER + GAMES) -> Path:
        file = tmp_path / "train.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return make


def refusal(file: Path, *overrides: str) -> str:
    """The message with which a configuration is refused; it names the file."""
    with pytest.raises(ConfigError) as caught:
        read_config(file, overrides)
    return str(caught.value)


# --- what is right -------------------------------------------------------------------------------


def test_the_smallest_configuration_has_the_documented_defaults(write: Write) -> None:
    config = read_config(write())
    assert config.learner.player == "hf:x"
    assert config.learner.roles is None
    assert config.teacher.player is None
    assert config.teacher.partners == []
    assert (config.games.names, config.games.split) == (["guessing"], "train")
    assert tuple(config.data.outcomes) == ("success",)
    assert (config.rollout.seed, config.rollout.concurrency) == (0, 64)
    assert config.reward.terms == {"outcome": {}}
    assert (config.eval.every, config.eval.metric) == (0, "success")
    assert config.trainer == {}


def test_a_full_configuration_is_read(write: Write) -> None:
    text = """
        [learner]
        player = "hf:x"
        roles = ["guesser"]
        [teacher]
        player = "program:oracle"
        [games]
        names = ["guessing"]
        split = "validation"
        levels = ["small"]
        per_level = 2
        seed = 3
        [data]
        outcomes = ["success", "lose", "abort"]
        min_score = 20
        players = ["x"]
        [rollout]
        episodes = 5
        seed = 1
        concurrency = 2
        [trainer]
        learning_rate = 0.5
    """
    config = read_config(write(text))
    assert (config.learner.roles, config.games.levels) == (["guesser"], ["small"])
    assert (config.games.split, config.games.per_level, config.games.seed) == ("validation", 2, 3)
    assert list(config.data.outcomes) == ["success", "lose", "abort"]
    assert (config.data.min_score, config.data.players) == (20, ["x"])
    assert (config.rollout.episodes, config.rollout.concurrency) == (5, 2)
    assert config.trainer == {"learning_rate": 0.5}


def test_recorded_runs_need_no_games(write: Write) -> None:
    config = read_config(write(LEARNER + '[data]\nruns = ["runs/x"]\n'))
    assert config.data.runs == ["runs/x"]


# --- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # Misspelt tables and keys
        (LEARNER + "[game]\n", ["unknown key 'game'", "did you mean 'games'?", "rollout"]),
        (
            "player = 5\n" + LEARNER,
            [
                "unknown key 'player'",
                "Known: data, eval, games, learner, reward, rollout, teacher, trainer.",
            ],
        ),
        (
            LEARNER + "[games]\nname = ['guessing']\n",
            ["unknown key 'games.name'", "did you mean 'names'?", "per_level"],
        ),
        (
            LEARNER + GAMES + "[rollout]\nconcurency = 3\n",
            ["unknown key 'rollout.concurency'", "did you mean 'concurrency'?"],
        ),
        (LEARNER + "role = 'x'\n" + GAMES, ["'learner.role'", "did you mean 'roles'?"]),
        (LEARNER + GAMES + "[data]\nrun = []\n", ["'data.run'", "did you mean 'runs'?"]),
        (LEARNER + GAMES + "[teacher]\nspec = 'x'\n", ["'teacher.spec'", "partners, player"]),
        (LEARNER + GAMES + "[eval]\nevry = 1\n", ["'eval.evry'", "did you mean 'every'?"]),
        (LEARNER + GAMES + "[reward]\nterm = {}\n", ["'reward.term'", "did you mean 'terms'?"]),
        # What is missing
        (LEARNER, ["[games] names", "[data] runs"]),
        # Values that make no sense
        (LEARNER + GAMES + "split = 'test'\n", ["games.split", "'test'", "not for training"]),
        (LEARNER + GAMES + "split = 'trian'\n", ["games.split", "'trian'", "train or validation"]),
        (
            LEARNER + GAMES + "[data]\noutcomes = ['win']\n",
            ["data.outcomes", "'win'", "success, lose, abort"],
        ),
        (
            LEARNER + "roles = ['gueser']\n" + GAMES,
            ["learner.roles", "'gueser'", "did you mean 'guesser'?", "The games have guesser"],
        ),
        (
            LEARNER + GAMES + "levels = ['smal']\n",
            ["games.levels", "'smal'", "which no game has; did you mean 'small'?"],
        ),
        (LEARNER + GAMES + "levels = ['zzz']\n", ["games.levels", "'zzz'", "small", "large"]),
        (
            LEARNER + "[games]\nnames = ['gessing']\n",
            ["games.names", "'gessing'", "did you mean 'guessing'?"],
        ),
        (
            LEARNER + GAMES + "files = {gessing = 'x.json'}\n",
            ["games.files", "'gessing'", "guessing"],
        ),
        # No configuration at all
        ("[learner\n", ["not valid TOML"]),
        ("\0", ["not valid TOML"]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_mistake_is_named_with_key_value_and_remedy(
    write: Write, text: str, parts: list[str]
) -> None:
    message = refusal(write(text))
    assert "train.toml: " in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # What is missing
        (GAMES, "learner.player is missing: spec of the model, hf:NAME or hf:DIRECTORY."),
        (
            "[learner]\n" + GAMES,
            "learner.player is missing: spec of the model, hf:NAME or hf:DIRECTORY.",
        ),
        # Wrong types
        ("learner = 5\n" + GAMES, "learner = 5: a table is expected"),
        ("learner = true\n" + GAMES, "learner = true: a table is expected"),
        (LEARNER + "[[games]]\n", "games = [{}]: a table is expected"),
        (LEARNER + GAMES + "seed = 'x'\n", "games.seed = 'x': a whole number is expected"),
        (LEARNER + GAMES + "seed = true\n", "games.seed = true: a whole number is expected"),
        (LEARNER + GAMES + "fresh = 1\n", "games.fresh = 1: true or false is expected"),
        (LEARNER + GAMES + "split = 1\n", "games.split = 1: a text is expected"),
        (
            LEARNER + "[games]\nnames = 'guessing'\n",
            "games.names = 'guessing': a list of texts is expected",
        ),
        (
            LEARNER + GAMES + "levels = 'small'\n",
            "games.levels = 'small': a list of texts is expected",
        ),
        (
            LEARNER + GAMES + "[data]\noutcomes = ['lose', 1]\n",
            "data.outcomes[1] = 1: a text is expected",
        ),
        (
            LEARNER + GAMES + "files = {guessing = 3}\n",
            "games.files.guessing = 3: a text is expected",
        ),
        (
            LEARNER + GAMES + "[reward.terms]\noutcome = 3\n",
            "reward.terms.outcome = 3: a table is expected",
        ),
        (
            LEARNER + GAMES + "[rollout]\nseed = 1979-05-27\n",
            "rollout.seed = datetime.date(1979, 5, 27): a whole number is expected",
        ),
        (
            LEARNER + GAMES + f"[rollout]\nseed = '{'x' * 99}'\n",
            f"rollout.seed = '{'x' * 56}...: a whole number is expected",
        ),
        # Bounds
        (
            LEARNER + GAMES + "[rollout]\nepisodes = 2.5\n",
            "rollout.episodes = 2.5: a whole number of at least 1 is expected",
        ),
        (
            LEARNER + GAMES + "[rollout]\nepisodes = -3\n",
            "rollout.episodes = -3: a whole number of at least 1 is expected",
        ),
        (
            LEARNER + GAMES + "[rollout]\ntemperature = 0\n",
            "rollout.temperature = 0: a number above 0 is expected",
        ),
        (
            LEARNER + GAMES + "[reward]\ndiscount = 1.5\n",
            "reward.discount = 1.5: a number from 0 to 1 is expected",
        ),
        (
            LEARNER + GAMES + "[eval]\nmetric = 'sucess'\n",
            "eval.metric = 'sucess': one of success, played, score is expected; "
            "did you mean 'success'?",
        ),
        (
            LEARNER + GAMES + "[teacher]\nchoice = 3\n",
            "teacher.choice = 3: one of uniform, recent, hard is expected",
        ),
        # What no stored configuration could hold
        (
            LEARNER + GAMES + "[data]\nmin_score = nan\n",
            "data.min_score = nan: a finite number is expected",
        ),
        (
            LEARNER + GAMES + "[trainer]\nbetas = [0.9, inf]\n",
            "trainer.betas[1] = inf: a finite number is expected",
        ),
    ],
)
def test_a_wrong_value_is_one_line_of_key_value_and_what_is_expected(
    write: Write, text: str, message: str
) -> None:
    file = write(text)
    assert refusal(file) == f"{file}: {message}"


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    assert "nothing.toml: cannot be read: No such file" in refusal(tmp_path / "nothing.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe")
    assert "odd.toml: not valid TOML" in refusal(tmp_path / "odd.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not valid JSON"),
        ('{"experiments": [{"name": "e", "game_instances": []}]}', "'limit' is a required"),
    ],
)
def test_an_instances_file_that_does_not_fit_is_refused_before_training(
    write: Write, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "instances.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    text = refusal(write(LEARNER + GAMES + f"files = {{guessing = '{file}'}}\n"))
    assert "games.files" in text
    assert "instances.json" in text
    assert message in text


# --- overrides -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("rollout.seed=7", lambda c: c.rollout.seed, 7),
        ("data.min_score=12.5", lambda c: c.data.min_score, 12.5),
        ("learner.player=hf:y?dtype=float16", lambda c: c.learner.player, "hf:y?dtype=float16"),
        ('learner.player="hf:y"', lambda c: c.learner.player, "hf:y"),
        ("learner.player = hf:y", lambda c: c.learner.player, "hf:y"),
        ('games.levels=["small"]', lambda c: c.games.levels, ["small"]),
        ("trainer.learning_rate=1e-5", lambda c: c.trainer, {"learning_rate": 1e-5}),
        ("trainer.lora.rank=8", lambda c: c.trainer, {"lora": {"rank": 8}}),
        ("trainer.flag=true", lambda c: c.trainer, {"flag": True}),
        ("trainer.text=", lambda c: c.trainer, {"text": ""}),
    ],
)
def test_an_override_is_toml_or_else_a_plain_text(
    write: Write, override: str, get: Callable[[TrainConfig], Any], value: Any
) -> None:
    assert get(read_config(write(), [override])) == value


def test_the_last_override_of_a_key_counts(write: Write) -> None:
    assert read_config(write(), ["rollout.seed=1", "rollout.seed=2"]).rollout.seed == 2


def test_an_override_repairs_what_the_file_has_wrong(write: Write) -> None:
    config = read_config(write(LEARNER + GAMES + "split = 'test'\n"), ["games.split=validation"])
    assert config.games.split == "validation"


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("rollout.seed", ["--set rollout.seed", "--set table.key=value"]),
        ("=5", ["--set table.key=value"]),
        ("rollout.=5", ["--set table.key=value"]),
        ("rollout.seed.x.y=5", ["rollout.seed.x.y=5", "seed", "not a table"]),
        ("rollout.sed=5", ["unknown key 'rollout.sed'", "did you mean 'seed'?"]),
        ("rolout.seed=5", ["unknown key 'rolout'", "did you mean 'rollout'?"]),
        ("rollout.seed=five", ["rollout.seed = 'five': a whole number is expected"]),
        ("games.split=test", ["games.split", "'test'"]),
    ],
)
def test_a_wrong_override_is_refused_like_a_wrong_key(
    write: Write, override: str, parts: list[str]
) -> None:
    message = refusal(write(LEARNER + GAMES + "[rollout]\nseed = 1\n"), override)
    for part in parts:
        assert part in message


# --- trainers and their options ------------------------------------------------------------------


def config_with(write: Write, options: str = "") -> TrainConfig:
    return read_config(write(f"{LEARNER}{GAMES}[trainer]\n{options}"))


def test_a_trainer_gets_its_options(write: Write) -> None:
    trainer = make_trainer("sample", config_with(write, "steps = 3\ntargets = ['q']\n"))
    assert isinstance(trainer, SampleTrainer)
    assert trainer.options == SampleOptions(steps=3, targets=["q"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "step = 3\n",
            "unknown key 'trainer.step'; did you mean 'steps'? "
            "Known: beta, learning_rate, lora, steps, targets.",
        ),
        (
            "xyz = 3\n",
            "unknown key 'trainer.xyz'. Known: beta, learning_rate, lora, steps, targets.",
        ),
        ("steps = 'many'\n", "trainer.steps = 'many': a whole number is expected"),
        ("targets = 'q'\n", "trainer.targets = 'q': a list of texts is expected"),
        ("targets = [1]\n", "trainer.targets[0] = 1: a text is expected"),
        (
            "learning_rate = 'fast'\n",
            "trainer.learning_rate = 'fast': a number above 0 and below 1 is expected",
        ),
        # A table within the table, and a check of the struct's own
        ("lora = 8\n", "trainer.lora = 8: a table is expected"),
        (
            "[trainer.lora]\nrnk = 8\n",
            "unknown key 'trainer.lora.rnk'; did you mean 'rank'? Known: alpha, rank.",
        ),
        ("[trainer.lora]\nrank = 'x'\n", "trainer.lora.rank = 'x': a whole number is expected"),
        ("[trainer.lora]\nalpha = 3\n", "trainer.lora.rank is missing: of the adapter"),
        ("[trainer.lora]\nrank = 3\nalpha = 1.0\n", "trainer.lora: alpha must exceed rank"),
    ],
)
def test_a_wrong_option_of_the_trainer_is_refused(write: Write, options: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_trainer("sample", config_with(write, options))
    assert str(caught.value) == message


def test_numbers_and_texts_are_both_named_where_both_fit(write: Write) -> None:
    assert make_trainer("sample", config_with(write, "beta = 'auto'\n")).options.beta == "auto"
    assert make_trainer("sample", config_with(write, "beta = 1\n")).options.beta == 1
    with pytest.raises(ConfigError, match=r"^trainer\.beta = \[\]: a number or text is expected$"):
        make_trainer("sample", config_with(write, "beta = []\n"))


def test_an_unknown_trainer_gets_a_suggestion(write: Write) -> None:
    with pytest.raises(PluginError, match=r"no trainer 'sampel'; did you mean 'sample'\?"):
        make_trainer("sampel", config_with(write))


def test_a_wrong_option_is_found_before_anything_is_written(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        train("sample", config_with(write, "step = 3\n"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.torch  # hf: players are checked
def test_training_records_the_resolved_configuration_and_tells_the_observers(
    write: Write, tmp_path: Path
) -> None:
    logged: list[tuple[int, dict[str, Any]]] = []

    class Observer:
        @hookimpl
        def playpen_train_logged(self, step: int, values: dict[str, Any]) -> None:
            logged.append((step, values))

    registry().manager.register(Observer())
    out = train("sample", config_with(write, "steps = 3\n"), tmp_path / "out")
    assert out == tmp_path / "out" / "final"
    stored = json.loads((tmp_path / "out" / "train.json").read_text(encoding="utf-8"))
    assert stored["trainer"] == "sample"
    assert stored["config"]["trainer"] == {
        "learning_rate": 1e-4, "steps": 3, "targets": [], "beta": 0.5, "lora": None,
    }  # fmt: skip
    assert stored["config"]["rollout"] == {
        "episodes": None, "seed": 0, "concurrency": 64, "temperature": 1.0, "max_new_tokens": 100,
        "engine": "hf", "gpu_memory_utilization": 0.3,
    }  # fmt: skip
    (line,) = (tmp_path / "out" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"step": 0, "demonstrations": 6, "steps": 3}
    assert logged == [(0, {"demonstrations": 6, "steps": 3})]


@pytest.mark.torch  # hf: players are checked
def test_trainer_run_and_instances_are_made_once(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is trained they are checked, and then they are trained with."""
    made: Counter[str] = Counter()

    def counted(owner: type, method: str, label: Callable[..., str]) -> None:
        original = getattr(owner, method)

        def counting(*args: Any, **named: Any) -> Any:
            made[label(*args, **named)] += 1
            return original(*args, **named)

        monkeypatch.setattr(owner, method, counting)

    counted(SampleTrainer, "__init__", lambda *_, **__: "trainer")
    counted(TrainingRun, "__init__", lambda *_, **__: "run")
    counted(GuessingGame, "generate", lambda game, split, **named: f"{split} {named['level']}")
    tables = "levels = ['small', 'large']\nper_level = 2\n[eval]\nevery = 1\nepisodes = 2\n"
    train("sample", read_config(write(LEARNER + GAMES + tables)), tmp_path / "out")
    assert made == {
        "trainer": 1,
        "run": 1,
        "train small": 1,
        "train large": 1,
        "validation small": 1,
        "validation large": 1,
    }


def test_whoever_asks_for_instances_may_change_the_lists(write: Write, tmp_path: Path) -> None:
    run = training(write, tmp_path, eval="every = 1")
    for ask in (run.instances, run.validation_instances):
        before = ask()
        assert before["guessing"]
        before.pop("guessing").clear()
        assert ask()["guessing"]


@pytest.mark.torch  # hf: players are checked
def test_a_stored_configuration_runs_again_and_is_the_same(write: Write, tmp_path: Path) -> None:
    train("sample", config_with(write, "steps = 3\n"), tmp_path / "first")
    stored = tmp_path / "first" / "train.json"
    train("sample", read_config(stored), tmp_path / "second")
    assert (tmp_path / "second" / "train.json").read_bytes() == stored.read_bytes()


def test_another_json_file_is_not_taken_for_a_stored_configuration(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("[1]")
    with pytest.raises(ConfigError, match=r"other\.json: not the train\.json of a training"):
        read_config(path)


@pytest.mark.torch  # playpen-trainers is installed where torch is
def test_one_file_serves_several_trainers(write: Write) -> None:
    more = "steps = 3\n[trainer.sample]\nsteps = 4\n[trainer.sft]\nno_option_of_sample = 1\n"
    config = config_with(write, more)
    assert make_trainer("sample", config).options.steps == 4


def test_the_table_of_an_unknown_trainer_is_refused(write: Write) -> None:
    config = config_with(write, "[trainer.sampel]\nsteps = 4\n")
    with pytest.raises(ConfigError, match=r"unknown key 'trainer\.sampel'"):
        make_trainer("sample", config)


# --- what is trained on --------------------------------------------------------------------------


def training(write: Write, tmp_path: Path, **tables: str) -> TrainingRun:
    """A training run from the smallest configuration and further lines of its tables."""
    lines = {"learner": 'player = "hf:x"', "games": 'names = ["guessing"]'}
    for table, more in tables.items():
        lines[table] = f"{lines.get(table, '')}\n{more}"
    document = "\n".join(f"[{table}]\n{content}" for table, content in lines.items())
    return TrainingRun("sample", read_config(write(document)), tmp_path / "out")


def splits(instances: list[Instance]) -> set[str]:
    return {split_of(GuessingGame().fingerprint(instance)) for instance in instances}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_ready_instances_of_the_split_are_played(
    write: Write, tmp_path: Path, split: str
) -> None:
    found = training(write, tmp_path, games=f"split = '{split}'").instances()["guessing"]
    assert len(found) == 6
    assert splits(found) == {split}
    assert {instance.split for instance in found} == {split}


def test_levels_are_made_to_order(write: Write, tmp_path: Path) -> None:
    run = training(write, tmp_path, games="levels = ['large', 'small']\nper_level = 4\nseed = 9")
    found = run.instances()["guessing"]
    assert [i.experiment.name for i in found] == ["large"] * 4 + ["small"] * 4
    assert splits(found) == {"train"}


def test_a_file_takes_the_place_of_the_packs_instances(write: Write, tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    experiment = {"name": "e", "limit": 9, "tries": 5, "game_instances": [{"secret": 4}]}
    file.write_text(json.dumps({"experiments": [experiment]}), encoding="utf-8")
    run = training(write, tmp_path, games=f"files = {{guessing = '{file}'}}")
    assert [i["secret"] for i in run.instances()["guessing"]] == [4]


def test_without_recordings_the_teacher_demonstrates(write: Write, tmp_path: Path) -> None:
    run = training(write, tmp_path, rollout="episodes = 8")
    chosen = run.demonstrations()
    assert len(chosen) == 8
    assert all(episode.success and roles == ("guesser",) for episode, roles in chosen)
    assert {e.split for e, _ in chosen} == {"train"}
    # Asked again, it goes on from the recording instead of playing anew.
    again = training(write, tmp_path, rollout="episodes = 8").demonstrations()
    assert again == chosen


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A run of both games by two players who babble."""
    cast = make_cast([(None, BABBLE), ("finder", BABBLE)])
    instances = {"guessing": [guessing(limit=20)], "relay": [relay()]}
    for [instance] in instances.values():
        instance.split = "train"
    run = create_run(tmp_path / "recorded", instances, cast, episodes=60)
    play_run(run)
    return run.path


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        ("", {"success"}),
        ('outcomes = ["lose"]', {"lose"}),
        ('outcomes = ["abort", "success"]', {"abort", "success"}),
    ],
)
def test_outcomes_are_filtered(
    write: Write, tmp_path: Path, recording: Path, data: str, kinds: set[str]
) -> None:
    run = training(write, tmp_path, data=f"runs = ['{recording}']\n{data}")
    chosen = [episode for episode, _ in run.demonstrations()]
    assert {type(e.outcome).__name__.lower() for e in chosen} == kinds
    assert {e.game for e in chosen} == {"guessing"}


def test_scores_games_roles_and_players_are_filtered(
    write: Write, tmp_path: Path, recording: Path
) -> None:
    everything = training(
        write,
        tmp_path,
        data=f"runs = ['{recording}']\noutcomes = ['success', 'lose', 'abort']",
    )
    config = everything.config
    config.games.names = []
    chosen = everything.demonstrations()
    assert len(chosen) == 120
    assert {roles for _, roles in chosen} == {("guesser",), ("giver", "finder")}

    config.data.min_score = 50
    assert all((e.main_score or 0) >= 50 for e, _ in everything.demonstrations())
    config.data.min_score = None

    config.learner.roles = ["finder"]
    assert {(e.game, roles) for e, roles in everything.demonstrations()} == {("relay", ("finder",))}
    config.learner.roles = None

    config.data.players = [BABBLE]
    assert {roles for _, roles in everything.demonstrations()} == {("guesser",), ("giver",)}


def test_nothing_left_to_learn_from_is_an_error(
    write: Write, tmp_path: Path, recording: Path
) -> None:
    run = training(write, tmp_path, data=f"runs = ['{recording}']\nmin_score = 101")
    with pytest.raises(ConfigError, match=r"none of the 120 episodes passes the filters of \[data"):
        run.demonstrations()


@pytest.mark.parametrize("outcomes", ["['success']", "['lose']"])
def test_episodes_of_the_test_split_are_refused_even_among_others(
    write: Write, tmp_path: Path, outcomes: str
) -> None:
    instances = [Instance("guessing", guessing().experiment, {"secret": 4}, s) for s in SPLITS]
    run = create_run(
        tmp_path / "recorded", {"guessing": instances}, make_cast([(None, "program:oracle")])
    )
    play_run(run)
    assert not any(isinstance(e.outcome, Lose) for e in Run.open(run.path).episodes())
    training_run = training(write, tmp_path, data=f"runs = ['{run.path}']\noutcomes = {outcomes}")
    with pytest.raises(ConfigError, match="of the test split"):
        training_run.demonstrations()


def test_a_missing_recording_is_named(write: Write, tmp_path: Path) -> None:
    run = training(write, tmp_path, data="runs = ['no/such/run']")
    with pytest.raises(RunError, match="no/such/run is not a run directory"):
        run.demonstrations()
