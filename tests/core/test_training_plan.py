"""What a training would do, and every wrong configuration that the core can tell without models."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from tests.core.command_line import REPOSITORY, good, playpen, refused
from tests.core.conftest import PackFolder
from tests.core.sample_games import GuessingGame

from playpen.cast import make_cast
from playpen.instance import split_of
from playpen.instance_sets import ready_instances
from playpen.plugins import registry
from playpen.runner import create_run, play_run
from playpen.training import (
    ConfigError,
    TrainConfig,
    Trainer,
    TrainingRun,
    make_trainer,
    read_config,
    require_partner,
)
from playpen.training.plan import LevelPlan, Plan, plan_training

TRAINER_PACK = """
from playpen.hookspecs import GameSpec, RewardSpec, TrainerSpec, hookimpl

HERE = "tests.core.test_training_plan:"


@hookimpl
def playpen_trainers():
    for name, cls in [("pair", "PairTrainer"), ("narrow", "NarrowTrainer")]:
        yield TrainerSpec(name=name, path=HERE + cls, summary="learns nothing")


@hookimpl
def playpen_games():
    yield GameSpec(name="unmade", path=HERE + "UnmadeGame", summary="", roles=("guesser",))
    yield GameSpec(name="spent", path=HERE + "SpentGame", summary="", roles=("guesser",))


@hookimpl
def playpen_rewards():
    yield RewardSpec(name="broken", path="no_such_library:Reward", summary="does not import")
"""


class PairOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of ``pair``.

    Attributes:
        rate: how ``fast``.
        depth: how deep; not at all if left out.
        layers: names with "quotes" in them.
        sizes: by name.
    """

    rate: float = 1e-5
    depth: int | None = None
    layers: list[str] = msgspec.field(default_factory=lambda: ['a "b"\\', "é\n"])
    sizes: dict[str, int] = msgspec.field(default_factory=lambda: {"a b": 1})


class PairTrainer(Trainer):
    """Needs somebody in every role."""

    Options = PairOptions

    def check(self, run: TrainingRun) -> None:
        require_partner(run.config)

    def train(self, run: TrainingRun) -> Path:
        raise AssertionError("a dry run trains nothing")


class NarrowTrainer(PairTrainer):
    """Reads two tables only."""

    tables = ("learner", "data")


class UnmadeGame(GuessingGame):
    """Has no generator."""

    name = "unmade"

    def generate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError("the game 'unmade' has no instance generator")


class SpentGame(GuessingGame):
    """Its generator finds nothing."""

    name = "spent"

    def generate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"experiments": []}


CONFIG = """
[learner]
player = "program:oracle"
roles = ["guesser"]

[teacher]
player = "program:oracle"

[games]
names = ["guessing"]
"""


@pytest.fixture(autouse=True)
def folder(installed: PackFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with nothing but the configuration ``train.toml``."""
    installed.add("pair-trainer", TRAINER_PACK)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "80")
    Path("train.toml").write_text(CONFIG, encoding="utf-8")
    return work


def planned(*overrides: str) -> Plan:
    """The plan of the configuration with overrides."""
    return plan_training("pair", read_config("train.toml", overrides))


# --- the plan ------------------------------------------------------------------------------------


def test_every_level_is_counted() -> None:
    assert planned().levels == [
        LevelPlan("guessing", "small", 3, 0),
        LevelPlan("guessing", "large", 3, 0),
    ]
    assert planned("games.levels=['large']", "games.per_level=40", "eval.every=5").levels == [
        LevelPlan("guessing", "large", 40, 3),
    ]
    assert planned("eval.every=5", "eval.episodes=2").levels == [
        LevelPlan("guessing", "small", 3, 1),
        LevelPlan("guessing", "large", 3, 1),
    ]


def test_who_takes_part_is_named() -> None:
    assert planned().parts == {
        "learner": "program:oracle (guesser)",
        "teacher": "program:oracle",
        "rewards": "outcome",
    }
    parts = planned("teacher.partners=['delayed:']", "reward.terms.turn.weight=2").parts
    assert (parts["partners"], parts["rewards"]) == ("delayed:", "turn")


def record(split: str) -> None:
    """Record games of the oracle in the directory ``recorded``."""
    found = {"guessing": ready_instances(GuessingGame(), split)}
    play_run(create_run("recorded", found, make_cast([(None, "program:oracle")])))


def test_recordings_are_read() -> None:
    record("train")
    assert planned("data.runs=['recorded']").parts["recordings"] == "6 episodes of recorded"


def test_the_command_prints_a_table_that_fits_and_writes_nothing(folder: Path) -> None:
    out = good("train", "pair", "-c", "train.toml", "--dry-run", "--set", "eval.every=1")
    assert re.search(r"^guessing +small +3 +3 *$", out, re.MULTILINE)
    assert re.search(r"^learner +program:oracle \(guesser\) *$", out, re.MULTILINE)
    assert out.endswith("\nThe configuration is fine.\n")
    assert max(map(len, out.splitlines())) <= 80
    good("train", "pair", "-c", "train.toml", "--dry-run", "-o", "out")
    assert [path.name for path in folder.iterdir()] == ["train.toml"]


@pytest.mark.torch  # hf: players are checked
def test_a_model_of_the_hub_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nothing"))

    def connect(*args: object) -> None:
        raise AssertionError(f"a connection to {args}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    parts = planned("learner.player=hf:nobody/unheard-of", "teacher.partners=['hf:no/one']").parts
    assert parts["learner"] == "hf:nobody/unheard-of (guesser)"
    assert not (tmp_path / "nothing").exists()


# --- what is wrong -------------------------------------------------------------------------------

EARLY: list[tuple[str, str | None, str]] = [
    # Trainer, override, and the whole message
    ("piar", None, "there is no trainer 'piar'; did you mean 'pair'?"),
    (
        "pair",
        "games.names=['gessing']",
        "train.toml: games.names: there is no game 'gessing'; did you mean 'guessing'?",
    ),
    (
        "pair",
        "learner.roles=['gueser']",
        "train.toml: learner.roles has 'gueser'; did you mean 'guesser'? The games have guesser.",
    ),
    (
        "pair",
        "games.levels=['smal']",
        "train.toml: games.levels has 'smal', which no game has; did you mean 'small'? "
        "Levels: large, small.",
    ),
    (
        "pair",
        "rollout.sede=1",
        "train.toml: unknown key 'rollout.sede'; did you mean 'seed'? "
        "Known: concurrency, engine, episodes, gpu_memory_utilization, max_new_tokens, seed, "
        "temperature.",
    ),
    (
        "pair",
        "rolout.seed=1",
        "train.toml: unknown key 'rolout'; did you mean 'rollout'? "
        "Known: data, eval, games, learner, reward, rollout, teacher, trainer.",
    ),
    (
        "pair",
        "trainer.rat=1",
        "unknown key 'trainer.rat'; did you mean 'rate'? Known: depth, layers, rate, sizes.",
    ),
    ("pair", "trainer.rate=fast", "trainer.rate = 'fast': a number is expected"),
    ("pair", "rollout.seed=x", "train.toml: rollout.seed = 'x': a whole number is expected"),
    (
        "pair",
        "eval.metric=sucess",
        "train.toml: eval.metric = 'sucess': one of success, played, score is expected; "
        "did you mean 'success'?",
    ),
    (
        "pair",
        "games.split=test",
        "train.toml: games.split = 'test': the test split is not for training",
    ),
    (
        "pair",
        "data.outcomes=['win']",
        "train.toml: data.outcomes has 'win'; choose among success, lose, abort",
    ),
]
"""What is refused when the configuration is read and the trainer made."""

LATER: list[tuple[str, str, str]] = [
    (
        "pair",
        "reward.terms.outcom={}",
        "reward.terms: there is no reward 'outcom'; did you mean 'outcome'?",
    ),
    (
        "pair",
        "reward.terms.outcome.wieght=1",
        "unknown key 'reward.terms.outcome.wieght'; did you mean 'weight'? "
        "Known: aborted, lose, success, weight.",
    ),
    (
        "pair",
        "reward.terms.outcome.weight=much",
        "reward.terms.outcome.weight = 'much': a number from -1e9 to 1e9 is expected",
    ),
    (
        "pair",
        "reward.terms.broken={}",
        "reward.terms: the reward 'broken' cannot be imported (No module named 'no_such_library').",
    ),
    (
        "pair",
        "teacher.player=progam:oracle",
        "teacher.player = 'progam:oracle': there is no player 'progam'; did you mean 'program'?",
    ),
    (
        "pair",
        "teacher.partners=['flaky:?failure=1']",
        "teacher.partners = 'flaky:?failure=1': flaky:?failure=1: unknown option 'failure'; "
        "did you mean 'failures'? Options of flaky: failures.",
    ),
    (
        "pair",
        "learner.player=nobody",
        "learner.player = 'nobody': 'nobody' is not a player: write scheme:target "
        "(for example program:oracle), or an alias of playpen.toml.",
    ),
    (
        "pair",
        "games.names=['unmade']",
        "games.names: the game 'unmade' has no instance generator; "
        "name a file of instances in games.files",
    ),
    (
        "pair",
        "games.names=['spent']",
        "games.names: there are no train instances of 'spent'",
    ),
    (
        "pair",
        "data.runs=['nowhere']",
        "nowhere is not a run directory: it has no run.json",
    ),
    (
        "pair",
        "games.files.guessing=file.json",
        "games.files: file.json: 1 of the 2 instances are held out from training: "
        "guessing/e/second (as the test split of 'guessing'); take them out of the file, or the "
        "test means nothing",
    ),
    (
        "pair",
        "data.runs=['recorded']",
        "recorded: guessing/small/0 is of the test split; "
        "train on other episodes, or the test means nothing",
    ),
]
"""What is refused when everything is resolved."""


@pytest.fixture
def spoilt(folder: Path) -> None:
    """A file of instances and a recording, with puzzles of the test split in them."""
    held_out = {i["secret"] for i in ready_instances(GuessingGame(), "test") if i["limit"] == 20}
    learned = next(s for s in range(1, 21) if split_of(f"20:{s}") == "train")
    items = [
        {"game_id": "first", "secret": learned},
        {"game_id": "second", "secret": min(held_out)},
    ]
    document = {"experiments": [{"name": "e", "limit": 20, "tries": 5, "game_instances": items}]}
    Path("file.json").write_text(json.dumps(document), encoding="utf-8")
    record("test")


def arguments(trainer: str, override: str | None) -> list[str]:
    return ["train", trainer, "-c", "train.toml", *(["--set", override] if override else [])]


@pytest.mark.usefixtures("spoilt")
@pytest.mark.parametrize(("trainer", "override", "message"), [*EARLY, *LATER])
def test_a_mistake_is_one_line_with_key_value_and_remedy(
    trainer: str, override: str | None, message: str
) -> None:
    assert refused(*arguments(trainer, override), "--dry-run") == message
    if (trainer, override, message) in EARLY:
        assert refused(*arguments(trainer, override), "-o", "out") == message
    assert not Path("out").exists()


def test_a_game_with_two_roles_needs_somebody_in_both() -> None:
    config = Path("train.toml")
    alone = CONFIG.replace('[teacher]\nplayer = "program:oracle"\n', "")
    config.write_text(alone.replace("guessing", "relay").replace("guesser", "finder"))
    message = (
        "learner.roles = ['finder']: nobody plays giver in 'relay'; "
        'add [teacher] player = "SPEC", or leave learner.roles out for self-play'
    )
    assert refused(*arguments("pair", None), "--dry-run") == message
    assert refused(*arguments("pair", None), "-o", "out") == message
    assert not Path("out").exists()


@pytest.mark.usefixtures("spoilt")
def test_nothing_heavy_is_loaded_to_find_a_mistake(packs: PackFolder) -> None:
    program = """
import json, sys
from playpen.cli import main
for call in json.loads(sys.argv[1]):
    sys.argv = ["playpen", *call]
    try:
        main()
    except SystemExit as exit:
        assert exit.code == 2, call
print("heavy:", sorted({"torch", "transformers", "trl", "peft"} & set(sys.modules)))
"""
    cases = [case for case in [*EARLY, *LATER] if case[1] != "learner.player=nobody"]
    model = ["--set", "learner.player=hf:nobody/unheard-of"]
    calls = [[*arguments(trainer, override), *model, "--dry-run"] for trainer, override, _ in cases]
    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(calls)],
        env={"PYTHONPATH": f"{packs.path}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr.splitlines() == [f"Error: {message}" for _, _, message in cases]
    assert result.stdout == "heavy: []\n"


# --- the documentation of a configuration --------------------------------------------------------


def test_the_template_reads_back_as_the_defaults() -> None:
    text = good("show", "trainer", "pair", "--template")
    assert max(map(len, text.splitlines())) <= 80
    file = Path("template.toml")
    file.write_text(text, encoding="utf-8")
    message = "learner.player is missing: spec of the model, hf:NAME or hf:DIRECTORY."
    assert refused("train", "pair", "-c", file, "--dry-run") == f"template.toml: {message}"
    config = read_config(file, ["learner.player=hf:x", "games.names=['guessing']"])
    assert make_trainer("pair", config).options == PairOptions()
    assert config.reward.terms == {
        "outcome": {"weight": 1.0, "success": 1.0, "lose": 0.0, "aborted": 0.0}
    }
    Path("least.toml").write_text("[learner]\nplayer = 'hf:x'\n[games]\nnames = ['guessing']\n")
    least = read_config("least.toml")
    for table in ("learner", "teacher", "games", "data", "rollout", "eval"):
        assert getattr(config, table) == getattr(least, table)
    assert config.reward.discount == least.reward.discount
    # As it is printed, it can be used once it has a learner.
    good("train", "pair", "-c", file, "--dry-run", "--set", "learner.player=program:oracle")


def test_the_template_has_every_option_under_its_meaning() -> None:
    text = good("show", "trainer", "pair", "--template")
    for field in msgspec.structs.fields(TrainConfig):
        if field.name != "trainer":
            section = text.partition(f"\n[{field.name}]\n")[2].partition("\n[")[0]
            for option in msgspec.structs.fields(field.type):
                if (field.name, option.name) != ("reward", "terms"):
                    pattern = rf"^# .*\)\n#?{option.name} ="
                    assert re.search(pattern, section, re.MULTILINE), option.name
    assert "\n# how fast (number)\nrate = 1e-05\n" in text
    assert "\n# how deep; not at all if left out (whole number; unset)\n#depth =\n" in text


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(good("show", "trainer", "pair", "--schema"))
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_the_schema_accepts_what_is_accepted() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    template = good("show", "trainer", "pair", "--template").replace("#player =", "player = 'hf:x'")
    for text in (CONFIG, template, CONFIG + "[reward.terms.turn]\nweight = 2\n"):
        assert list(validator.iter_errors(tomllib.loads(text))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "[trainer]\nrat = 1\n",
        "[trainer]\nrate = 'fast'\n",
        "[rollout]\nseed = 'x'\n",
        "[eval]\nmetric = 'sucess'\n",
        "[reward]\ndiscount = 2\n",
        "[reward.terms.outcome]\nwieght = 2\n",
        "[reward.terms.score]\nscale = 0\n",
        "[reward.terms.outcom]\n",
        "[rolout]\n",
    ],
)
def test_the_schema_refuses_what_is_refused(wrong: str) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    assert list(validator.iter_errors(tomllib.loads(CONFIG + wrong)))


def test_the_schema_has_the_meanings() -> None:
    definitions = schema()["$defs"]
    assert definitions["PairOptions"]["properties"]["depth"]["description"] == (
        "how deep; not at all if left out."
    )
    assert definitions["OutcomeOptions"]["properties"]["weight"]["description"] == (
        "factor of the term in the sum."
    )
    assert definitions["RolloutTable"]["description"] == "how episodes are played."


@pytest.mark.parametrize("columns", [80, 120])
def test_every_option_is_shown_in_full(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = good("show", "trainer", "pair")
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    assert "`" not in text
    assert "object" not in text
    tables = dict(re.findall(r"^\[([a-z.]+)\]  .*\n((?:.+\n)*)", text, re.MULTILINE))
    assert list(tables) == [
        "learner", "teacher", "games", "data", "rollout", "reward", "reward.terms.outcome", "eval",
        "trainer",
    ]  # fmt: skip
    for field in msgspec.structs.fields(TrainConfig):
        if field.name != "trainer":
            shown = re.findall(r"^(\w+)", tables[field.name], re.MULTILINE)
            assert shown == [option.name for option in msgspec.structs.fields(field.type)]
    flat = {name: " ".join(content.split()) for name, content in tables.items()}
    assert "terms {outcome = {}} rewards by name" in flat["reward"]
    assert "min_score unset smallest main score (number)" in flat["data"]
    assert 'metric "success" what decides' in flat["eval"]
    assert "(one of success, played, score)" in flat["eval"]
    assert flat["trainer"].startswith("rate 1e-05 how fast (number) depth unset how deep; not")


def test_a_trainer_says_which_tables_it_reads() -> None:
    assert re.findall(r"^\[([a-z.]+)\]", good("show", "trainer", "narrow"), re.MULTILINE) == [
        "learner", "data", "trainer",
    ]  # fmt: skip
    template = tomllib.loads(good("show", "trainer", "narrow", "--template"))
    assert list(template) == ["learner", "data", "trainer"]
    # Nothing is refused because of it.
    good(*arguments("narrow", "rollout.seed=3"), "--dry-run")


def test_schema_and_template_are_for_trainers() -> None:
    for words in (["pair"], ["player", "hf"], ["trainer", "pair", "--schema"]):
        message = refused("show", *words, "--template")
        assert message.startswith("write playpen show trainer NAME --schema, or --template")
    assert "did you mean 'pair'?" in refused("show", "trainer", "piar", "--template")


# --- rewards -------------------------------------------------------------------------------------


def test_rewards_are_listed_and_shown_with_what_they_inherit() -> None:
    listed = good("list", "rewards")
    assert "rewards of playpen-core" in listed
    assert re.search(r"^outcome +how the episode ended", listed, re.MULTILINE)
    shown = " ".join(good("show", "reward", "score").split())
    assert "weight 1.0 factor of the term in the sum (number from -1e9 to 1e9)" in shown
    assert "scale 100.0 what the main score is divided by (number above 0)" in shown
    assert refused("show", "reward", "outcom") == (
        "there is no reward 'outcom'; did you mean 'outcome'?"
    )


# --- recipes -------------------------------------------------------------------------------------

RECIPE_PACK = """
from playpen.hookspecs import RecipeSpec, hookimpl


@hookimpl
def playpen_recipes():
    for name, path in [
        ("small", "cookbook:recipes/small.toml"),
        ("missing", "cookbook:recipes/missing.toml"),
        ("nowhere", "no_such_package:small.toml"),
        ("typo", "cookbook:recipes/typo.toml"),
    ]:
        yield RecipeSpec(name=name, path=path, summary=f"a {name} one")
"""


@pytest.fixture
def cookbook(packs: PackFolder) -> None:
    """A distribution with recipes: a package with files beside its code."""
    packs.add("cook-book", RECIPE_PACK)
    recipes = packs.path / "cookbook" / "recipes"
    recipes.mkdir(parents=True)
    (packs.path / "cookbook" / "__init__.py").write_text("")
    (recipes / "small.toml").write_text(f"# é\n{CONFIG}", encoding="utf-8")
    (recipes / "typo.toml").write_text(CONFIG + "[rolout]\n", encoding="utf-8")


@pytest.mark.usefixtures("cookbook")
def test_a_recipe_is_listed_shown_and_used() -> None:
    listed = good("list", "recipes")
    assert "recipes of cook-book" in listed
    assert re.search(r"^small +a small one", listed, re.MULTILINE)
    assert good("show", "recipe", "small") == f"# é\n{CONFIG}"
    assert read_config("recipe:small") == read_config("train.toml")
    assert read_config("recipe:small", ["rollout.seed=4"]).rollout.seed == 4
    out = good("train", "pair", "-c", "recipe:small", "--dry-run")
    assert out.endswith("The configuration is fine.\n")


@pytest.mark.usefixtures("cookbook")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smal", "there is no recipe 'smal'; did you mean 'small'?"),
        ("nowhere", "the recipe 'nowhere': no_such_package:small.toml cannot be read (No module"),
        ("missing", "the recipe 'missing': cookbook:recipes/missing.toml cannot be read ("),
    ],
)
def test_a_recipe_that_is_not_there_is_named(name: str, message: str) -> None:
    for command in (("show", "recipe", name), ("train", "pair", "-c", f"recipe:{name}", "-o", "o")):
        assert refused(*command).startswith(message)


@pytest.mark.usefixtures("cookbook")
def test_a_mistake_in_a_recipe_names_it() -> None:
    message = refused("train", "pair", "-c", "recipe:typo", "--dry-run")
    assert message.startswith("recipe:typo: unknown key 'rolout'; did you mean 'rollout'?")


def test_without_recipes_the_list_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry(), "recipes", {})
    result = playpen("list", "recipes")
    assert (result.code, result.out.strip()) == (0, "No recipes are installed")


def test_training_still_needs_a_directory() -> None:
    assert refused(*arguments("pair", None)).startswith("Missing option '-o' / '--output'")


def test_a_plan_of_a_wrong_option_is_refused_like_training() -> None:
    with pytest.raises(ConfigError, match=r"^trainer\.depth = 'x': a whole number is expected$"):
        planned("trainer.depth=x")
