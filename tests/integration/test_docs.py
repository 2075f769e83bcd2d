"""The pages that are made from code are up to date, and the README does not lie."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from playpen.cli import cli
from playpen.plugins import registry

REPOSITORY = Path(__file__).parents[2]


def test_the_reference_is_up_to_date():
    # In a process of its own: other tests add commands and packs to this one.
    done = subprocess.run(
        [sys.executable, REPOSITORY / "docs" / "make_reference.py", "--check"],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "COLUMNS"},
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_names_every_game_player_and_only_real_commands():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    plugins = registry()
    ours = [n for n, claims in plugins.games.items() if claims[0][1] == "playpen-games-clembench"]
    assert [name for name in ours if f"`{name}`" not in text] == []
    assert [s for s in plugins.players if f"`{s}:" not in text] == []
    plugins.manager.hook.playpen_commands(cli=cli)
    used = set(re.findall(r"(?:\$ |`)playpen ([\w-]+)", text))
    assert used - set(cli.commands) == set()


def test_the_readme_links_lead_somewhere():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_readmes_sample_code_is_the_packs():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [sample] = re.findall(r"```python\n(class HigherLower.*?)```", text, re.DOTALL)
    path = "tests/packs/playpen-game-higherlower/src/playpen_higherlower/game.py"
    assert sample in (REPOSITORY / path).read_text(encoding="utf-8")


def test_the_readmes_python_runs(capsys):
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [sample] = re.findall(r"```python\n(import playpen.*?)```", text, re.DOTALL)
    exec(compile(sample, "README.md", "exec"), {})
    assert "Success" in capsys.readouterr().out


def test_the_readmes_configuration_is_valid(tmp_path):
    from playpen.training import make_trainer, read_config

    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [sample] = re.findall(r"```toml\n# sft\.toml\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "sft.toml"
    file.write_text(sample, encoding="utf-8")
    config = read_config(file)
    assert make_trainer("sft", config).options.lora_r == 16
