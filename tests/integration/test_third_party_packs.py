"""Two packs as strangers would write them, installed from wheels and used as users would.

The packs are in ``tests/packs``; ``docs/tutorial-game-pack.md`` walks through one of them.
"""

from __future__ import annotations

import importlib
import json
import re
import sysconfig
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.environments import Environment, build_wheel, output_of, pip

from playpen import Instance, Message, Reply, play, replay
from playpen.game import Game
from playpen.instance import SPLITS
from playpen.instance_sets import parse_instances
from playpen.moves import Abort
from playpen.players.program import FunctionPlayer

ROOT = Path(__file__).parents[2]
GAME_PACK = ROOT / "tests/packs/playpen-game-higherlower"
TRAINER_PACK = ROOT / "tests/packs/playpen-trainer-plainloop"
TUTORIAL = ROOT / "docs/tutorial-game-pack.md"


# --- the tutorial ---------------------------------------------------------------------------------


def test_the_tutorial_shows_the_pack_as_it_is() -> None:
    blocks = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", TUTORIAL.read_text(), re.DOTALL | re.M)
    for name, code in blocks:
        assert code in (GAME_PACK / name).read_text(), f"{name} no longer holds:\n{code}"
    package = GAME_PACK / "src/playpen_higherlower"
    taught = {
        str(file.relative_to(GAME_PACK))
        for file in package.rglob("*.*")
        if file.suffix in (".py", ".md", ".json") and file.name != "__init__.py"
    }
    assert {name for name, _ in blocks} == {*taught, "pyproject.toml"}


# --- the game, by its Python interface ------------------------------------------------------------


@pytest.fixture
def higherlower(monkeypatch: pytest.MonkeyPatch) -> Game:
    monkeypatch.syspath_prepend(GAME_PACK / "src")
    game: Game = importlib.import_module("playpen_higherlower.game").HigherLower()
    return game


def everything(game: Game) -> dict[str, list[Instance]]:
    """All instances that the game can make, by split."""
    return {split: parse_instances(game.generate(split), game, split=split) for split in SPLITS}


def test_the_splits_of_higherlower_share_no_puzzle_and_leave_none_out(higherlower: Game) -> None:
    puzzles = {
        split: {higherlower.fingerprint(instance) for instance in instances}
        for split, instances in everything(higherlower).items()
    }
    assert sum(map(len, puzzles.values())) == len(set.union(*puzzles.values())) == 20 + 100
    assert higherlower.generate("train", seed=1) == higherlower.generate("train", seed=1)
    assert higherlower.generate("train", seed=1) != higherlower.generate("train", seed=2)
    (only,) = higherlower.generate("test", level="easy", n=2)["experiments"]
    assert (only["name"], len(only["game_instances"])) == ("easy", 2)


def fewest_guesses(limit: int) -> int:
    """Guesses for all secrets together: one can be found at once, two with two guesses, ..."""
    return sum(number.bit_length() for number in range(1, limit + 1))


def test_the_oracle_of_higherlower_plays_perfectly_and_replays(higherlower: Game) -> None:
    instances = [i for found in everything(higherlower).values() for i in found]
    episodes = play(higherlower, FunctionPlayer(higherlower.oracle("guesser")), instances)
    for instance, episode in zip(instances, episodes, strict=True):
        assert episode.main_score == 100 / len(episode.replies())
        assert replay(higherlower, instance, episode).divergences == []
    guesses = sum(len(episode.replies()) for episode in episodes)
    assert guesses == fewest_guesses(20) + fewest_guesses(100)


def test_a_guesser_of_higherlower_gets_one_more_chance_to_name_a_number(higherlower: Game) -> None:
    instance = everything(higherlower)["test"][0]
    scripts = {
        "after a retry": ["Hm.", f"It is {instance['secret']}!"],
        "never": ["7 or 8", "9" * 10_000],
        "wrong": ["0"] * instance["tries"],
    }
    outcomes = {}
    for name, script in scripts.items():
        player = FunctionPlayer(lambda talk, script=script: script[talk.turn])
        (episode,) = play(higherlower, player, [instance])
        assert len(episode.replies()) == len(script)
        outcomes[name] = episode
    assert outcomes["after a retry"].main_score == 100
    assert isinstance(outcomes["never"].outcome, Abort)
    assert outcomes["never"].outcome.fault == "guesser"
    assert outcomes["wrong"].lose and outcomes["wrong"].main_score == 0


# --- wheels and environments ----------------------------------------------------------------------


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    projects = (ROOT / "playpen-core", GAME_PACK, TRAINER_PACK)
    return {project.name: build_wheel(project, folder) for project in projects}


@pytest.fixture(scope="session")
def core_alone(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("core-alone") / "venv")
    environment.install(wheels["playpen-core"], deps=True)
    return environment


@pytest.fixture(scope="session")
def with_game(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("with-game") / "venv")
    environment.install(wheels["playpen-core"], wheels["playpen-game-higherlower"], deps=True)
    return environment


def install_stranger(name: str, plugin: str, folder: Path) -> Path:
    """Build a pack with nothing but a plug-in module and install it; gives its directory."""
    source = folder / name
    module = name.replace("-", "_")
    (source / module).mkdir(parents=True)
    (source / module / "__init__.py").write_text(plugin)
    (source / "pyproject.toml").write_text(
        textwrap.dedent(f"""
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"

            [project]
            name = "{name}"
            version = "0.0.1"

            [project.entry-points.playpen]
            {name} = "{module}"

            [tool.hatch.build.targets.wheel]
            packages = ["{module}"]
            """)
    )
    wheel = build_wheel(source, folder / "wheels")
    pip("install", "--no-deps", "--target", folder / "installed", wheel)
    return folder / "installed"


# --- a game pack ----------------------------------------------------------------------------------


@pytest.mark.integration
def test_the_core_alone_says_that_no_games_are_installed(
    core_alone: Environment, tmp_path: Path
) -> None:
    listed = output_of(core_alone.playpen("list", cwd=tmp_path))
    assert "No games are installed" in listed
    assert "playpen-core" in listed and "program:" in listed
    message = output_of(core_alone.playpen("show", "higherlower", cwd=tmp_path), status=2)
    assert "there is no game 'higherlower'" in message


@pytest.mark.integration
def test_an_installed_game_is_listed_and_shown(with_game: Environment, tmp_path: Path) -> None:
    listed = output_of(with_game.playpen("list", "games", cwd=tmp_path))
    assert "games of playpen-game-higherlower" in listed
    assert "higherlower guesser find a secret number" in listed
    shown = output_of(with_game.playpen("show", "higherlower", cwd=tmp_path))
    assert "from playpen-game-higherlower" in shown
    assert "guesser looks for the secret number" in shown
    assert re.search(r"easy \d+ \d+ \d+ hard \d+ \d+ \d+", shown)


@pytest.mark.integration
def test_an_installed_game_is_played_replayed_and_scored(
    with_game: Environment, tmp_path: Path
) -> None:
    output_of(
        with_game.playpen(
            "play", "higherlower", "-p", "program:oracle", "-n", 20, "-o", "run", cwd=tmp_path
        )
    )
    replayed = output_of(with_game.playpen("replay", "run", cwd=tmp_path))
    assert "20 episodes replayed, 20 agree, 0 differ" in replayed
    output_of(with_game.playpen("score", "run", cwd=tmp_path))
    (score,) = json.loads((tmp_path / "run/scores.json").read_text())["games"]
    assert (score["episodes"], score["played"], score["success"]) == (20, 100, 20)
    versions = json.loads((tmp_path / "run/run.json").read_text())["versions"]
    assert versions["playpen-game-higherlower"] == "1.0.0"


@pytest.mark.integration
def test_a_broken_pack_is_reported_by_name_and_the_rest_works(
    with_game: Environment, tmp_path: Path
) -> None:
    extra = install_stranger("playpen-game-broken", "import a_module_that_nobody_has\n", tmp_path)
    listed = output_of(with_game.playpen("list", "games", cwd=tmp_path, extra=extra))
    assert "playpen-game-broken does not import" in listed
    assert "a_module_that_nobody_has" in listed
    assert "higherlower" in listed
    played = with_game.playpen(
        "play", "higherlower", "-p", "program:oracle", "-n", 1, cwd=tmp_path, extra=extra
    )
    output_of(played)


@pytest.mark.integration
def test_two_packs_that_claim_one_name_are_both_named_when_it_is_used(
    with_game: Environment, tmp_path: Path
) -> None:
    plugin = textwrap.dedent("""
        from playpen import GameSpec, hookimpl

        @hookimpl
        def playpen_games():
            path = "playpen_game_rival:Rival"
            return [GameSpec(name="higherlower", path=path, summary="", roles=("guesser",))]
        """)
    extra = install_stranger("playpen-game-rival", plugin, tmp_path)
    both = "claimed twice, by playpen-game-higherlower and playpen-game-rival"
    used = with_game.playpen(
        "play", "higherlower", "-p", "program:oracle", "-o", "run", cwd=tmp_path, extra=extra
    )
    assert both in output_of(used, status=2)
    assert not (tmp_path / "run").exists()
    assert both in output_of(with_game.playpen("list", cwd=tmp_path, extra=extra))


# --- a trainer pack -------------------------------------------------------------------------------

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def with_trainer(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The three wheels, and this interpreter's other packages: torch is too large to copy."""
    folder = tmp_path_factory.mktemp("with-trainer")
    borrowed = folder / "borrowed"
    borrowed.mkdir()
    for kind in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for package in Path(kind).iterdir():
            # Of the playpen distributions, only the wheels may be seen.
            if not package.name.startswith("playpen"):
                (borrowed / package.name).symlink_to(package)
    environment = Environment(folder / "venv")
    environment.install(*wheels.values(), deps=False)
    (environment.packages / "borrowed.pth").write_text(f"{borrowed}\n")
    return environment


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of some ten thousand parameters that reads and writes single bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    make_tokenizer: Any = PreTrainedTokenizerFast
    tokenizer = make_tokenizer(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    folder = tmp_path_factory.mktemp("tiny-model")
    make_model: Any = LlamaForCausalLM
    make_model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def config(tiny_model: Path, tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(
        textwrap.dedent(f"""
            [learner]
            player = "hf:{tiny_model}"

            [games]
            names = ["higherlower"]

            [trainer]
            learning_rate = 5e-3
            epochs = 3
            batch_size = 4
            """)
    )
    return file


@pytest.mark.integration
def test_an_installed_trainer_is_listed(with_trainer: Environment, tmp_path: Path) -> None:
    listed = output_of(with_trainer.playpen("list", "trainers", cwd=tmp_path))
    assert "trainers of playpen-trainer-plainloop" in listed
    assert "plainloop supervised learning from episodes" in listed


@pytest.mark.integration
def test_an_installed_trainer_makes_a_player_that_can_play(
    with_trainer: Environment, config: Path, tmp_path: Path
) -> None:
    said = output_of(
        with_trainer.playpen("train", "plainloop", "-c", config, "-o", "out", cwd=tmp_path)
    )
    assert "hf:out/checkpoint" in said
    lines = (tmp_path / "out/metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < losses[0] / 2
    assert (tmp_path / "out/checkpoint/model.safetensors").is_file()
    output_of(
        with_trainer.playpen(
            *("play", "higherlower", "-p", "hf:out/checkpoint?max_new_tokens=8"),
            *("-n", 4, "-o", "run"),
            cwd=tmp_path,
        )
    )
    (score,) = json.loads((tmp_path / "run/scores.json").read_text())["games"]
    assert (score["episodes"], score["failed"]) == (4, 0)


@pytest.mark.integration
def test_the_trainer_learns_the_replies_and_nothing_else(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(TRAINER_PACK / "src")
    trainer = importlib.import_module("playpen_plainloop.trainer")
    from transformers import AutoTokenizer

    from playpen.chat_format import ChatFormat

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model)
    talk = [
        Message("user", "Find it."),
        Message("assistant", "50", Reply("50")),
        Message("user", "Have you seen this?"),
        Message("assistant", "a fixed exchange"),
        Message("user", "higher"),
        Message("assistant", "75", Reply("75")),
    ]
    short, long = (
        trainer.token_rows(ChatFormat(tokenizer), "guesser", part) for part in (talk[:2], talk)
    )
    assert [len(short), len(long)] == [1, 1]
    batch = trainer.collate([*short, *long])
    whole = tokenizer.decode(batch["input_ids"][1])
    plain = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in talk], tokenize=False
    )
    assert whole == plain.rstrip("\n")
    for row, replies in enumerate(("50<|im_end|>", "50<|im_end|>75<|im_end|>")):
        labels = batch["labels"][row]
        learned = labels != -100
        assert tokenizer.decode(labels[learned]) == replies
        assert (batch["input_ids"][row][learned] == labels[learned]).all()
    assert batch["attention_mask"].sum(dim=1).tolist() == [len(short[0].ids), len(long[0].ids)]
