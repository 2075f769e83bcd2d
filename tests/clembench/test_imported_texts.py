"""Importing a checkout brings the texts that clembench keeps beside its instances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from playpen import Conversation, Player, get_game, make_player, play
from playpen.instance import InstanceError
from playpen.interop.clembench import find_instances, import_instances
from playpen.players.program import FunctionPlayer


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up checkout with codenames and privateshared."""
    monkeypatch.setenv("PLAYPEN_HOME", str(tmp_path / "home"))
    root = tmp_path / "games-of-theirs"
    for name in ("codenames", "privateshared"):
        folder = root / name
        (folder / "in").mkdir(parents=True)
        write(folder / "clemgame.json", {"game_name": name, "players": 2})
        game = get_game(name)
        level = game.levels()[0]
        write(folder / "in" / "instances.json", game.generate("train", level=level, n=2))
    return root


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")


def messages(name: str, player: Player | None = None) -> list[str]:
    """Everything that anybody is told in an episode of the imported set."""
    game = get_game(name)
    instances = find_instances("games-of-theirs", game)
    [episode] = play(game, player or make_player("program:oracle"), instances[:1])
    assert episode.failure is None
    roles = game.role_names()
    return [m.content for r in roles for m in episode.conversation(r) if m.role == "user"]


def test_codenames_uses_the_templates_of_the_checkout(checkout: Path):
    prompts = checkout / "codenames" / "resources"
    clue = "THEIR CLUE PROMPT\n$team_words|$opponent_words|$innocent_words|$assassin_words"
    write(prompts / "initial_prompts" / "prompt_cluegiver.template", clue)
    write(
        prompts / "initial_prompts" / "prompt_guesser.template", "THEIR GUESS $board $clue $number"
    )
    import_instances(checkout)

    def clue_for_the_first_word(conversation: Conversation) -> str:
        word = conversation.last.partition("\n")[2].partition(",")[0]
        return f"CLUE: zzz\nTARGETS: {word}"

    said = messages("codenames", FunctionPlayer(clue_for_the_first_word))
    assert any(text.startswith("THEIR CLUE PROMPT") for text in said)
    assert any(text.startswith("THEIR GUESS") for text in said)
    assert not any("$" in text for text in said)


def test_privateshared_uses_the_pools_of_the_checkout(checkout: Path):
    game = get_game("privateshared")
    document = json.loads((checkout / "privateshared" / "in" / "instances.json").read_text())
    [experiment] = document["experiments"]
    slots = experiment["game_instances"][0]["slots"]
    texts = checkout / "privateshared" / "resources" / "texts" / experiment["name"]
    write(texts / "requests.json", {slot: [f"THEIR REQUEST {slot}"] * 30 for slot in slots})
    import_instances(checkout)
    assert any("THEIR REQUEST" in text for text in messages("privateshared"))
    assert "texts" in find_instances("games-of-theirs", game)[0].experiment.config


def test_without_such_files_our_own_texts_are_used(checkout: Path):
    import_instances(checkout)
    assert messages("codenames")
    assert messages("privateshared")


@pytest.mark.parametrize("tags", [["3.0"], ["3.0", "diagnostic_1.0"]])
def test_instances_of_other_rules_are_refused(checkout: Path, tags: list[str]):
    entry = {"game_name": "codenames", "players": 2, "benchmark": tags}
    write(checkout / "codenames" / "clemgame.json", entry)
    with pytest.raises(InstanceError, match=r"'codenames' are for the rules 3\.0; the installed"):
        import_instances(checkout)
    with pytest.raises(InstanceError, match="for the rules 3"):
        import_instances(checkout / "codenames" / "in" / "instances.json")


@pytest.mark.parametrize("tags", [["2.0"], ["2.0", "3.0"], ["static_1.0"], []])
def test_instances_of_our_rules_are_taken(checkout: Path, tags: list[str]):
    entry = {"game_name": "codenames", "players": 2, "benchmark": tags}
    write(checkout / "codenames" / "clemgame.json", entry)
    assert {entry.game for entry in import_instances(checkout)} == {"codenames", "privateshared"}
