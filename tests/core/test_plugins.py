"""Discovery: laziness, broken packs, conflicts, and messages that help."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable

import pytest
from tests.core.conftest import PackFolder

from playpen import plugins
from playpen.plugins import PluginError, Registry, get_game, load, make_player, read_recipe

HEADER = "from playpen.hookspecs import *\nfrom playpen.hookspecs import hookimpl\n"


def games(*names: str, path: str = "nowhere:Nothing") -> str:
    """Source of a plug-in that brings games of these names."""
    specs = [f"GameSpec(name={n!r}, path={path!r}, summary='', roles=())" for n in names]
    return f"{HEADER}@hookimpl\ndef playpen_games():\n    return [{', '.join(specs)}]\n"


def players(*schemes: str, path: str = "nowhere:Nothing", extra: str | None = None) -> str:
    """Source of a plug-in that brings players of these schemes."""
    specs = [
        f"PlayerSpec(scheme={s!r}, path={path!r}, summary='', extra={extra!r})" for s in schemes
    ]
    return f"{HEADER}@hookimpl\ndef playpen_players():\n    return [{', '.join(specs)}]\n"


Install = Callable[..., Registry]


# --- discovery -----------------------------------------------------------------------------------


def test_the_installed_core_brings_its_players() -> None:
    found = Registry()
    assert {"program", "human", "replay", "hf"} <= set(found.players)
    assert "playpen-core" in {pack.distribution for pack in found.packs}


def test_a_pack_is_found_with_its_distribution_and_version(packs: PackFolder) -> None:
    packs.add("my-pack", games("one", "two"), version="2.5")
    found = packs.registry()
    (pack,) = found.packs
    assert (pack.name, pack.distribution, pack.version) == ("my-pack", "my-pack", "2.5")
    assert list(found.games) == ["one", "two"]
    assert found.distribution_of("two") == "my-pack"
    assert found.distribution_of("three") == ""


def test_listing_imports_nothing_that_a_spec_names(packs: PackFolder) -> None:
    (packs.path / "heavy_game.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    packs.add("my-pack", games("one", path="heavy_game:Game"))
    found = packs.registry()
    assert list(found.games) == ["one"]
    assert not found.broken
    assert "heavy_game" not in sys.modules


def test_a_game_is_imported_when_it_is_used_and_made_once(installed: PackFolder) -> None:
    game = get_game("guessing")
    assert game.name == "guessing"
    assert get_game("guessing") is game


def test_one_module_under_two_entry_points_is_one_plugin(packs: PackFolder) -> None:
    packs.add("my-pack", games("one"))
    entries = [
        importlib.metadata.EntryPoint(name, "my_pack", "playpen") for name in ("first", "second")
    ]
    found = Registry(entries)
    assert [len(claims) for claims in found.games.values()] == [1]
    assert not found.conflicts() and not found.broken


# --- broken packs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise RuntimeError('bad day')", "RuntimeError: bad day"),
        ("def broken(:", "SyntaxError: "),
        ("import sys; sys.exit('leaving')", "SystemExit: leaving"),
        ("raise BaseException('rude')", "BaseException: rude"),
    ],
)
def test_a_pack_that_does_not_import_is_reported_and_others_work(
    install: Install, source: str, cause: str
) -> None:
    found = install(bad_pack=source, good_pack=games("one"))
    (broken,) = found.broken
    assert (broken.name, broken.distribution) == ("bad-pack", "bad-pack")
    assert cause in broken.cause
    assert "bad-pack" in str(broken) and cause in str(broken)
    assert [pack.name for pack in found.packs] == ["good-pack"]
    assert list(found.games) == ["one"]


def test_an_entry_point_to_a_missing_module_is_reported(packs: PackFolder) -> None:
    packs.add("bad-pack", "")
    (packs.path / "bad_pack.py").unlink()
    (broken,) = packs.registry().broken
    assert "No module named 'bad_pack'" in broken.cause


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("return None", "TypeError"),
        ("return 5", "TypeError"),
        ("return 'abc'", "playpen_games() must return GameSpec, not 'a'"),
        ("return [('one', 'a:B')]", "playpen_games() must return GameSpec, not ('one', 'a:B')"),
        (
            "return [PlayerSpec(scheme='x', path='a:B', summary='')]",
            "playpen_games() must return GameSpec, not PlayerSpec(",
        ),
        ("return [GameSpec(name='x')]", "TypeError: Missing required argument"),
        ("raise ValueError('bad hook')", "ValueError: bad hook"),
        ("yield 5", "playpen_games() must return GameSpec, not 5"),
        ("import sys; sys.exit('leaving')", "leaving"),
        ("return [GameSpec(name=5, path='a:B', summary='', roles=())]", ""),
        ("return [GameSpec(name=None, path='a:B', summary='', roles=())]", ""),
    ],
)
def test_a_hook_that_returns_rubbish_is_reported_and_others_work(
    install: Install, body: str, cause: str
) -> None:
    bad = f"{HEADER}@hookimpl\ndef playpen_games():\n    {body}\n"
    found = install(bad_pack=bad, good_pack=games("one"))
    (broken,) = found.broken
    assert (broken.name, broken.distribution) == ("playpen_games", "bad-pack")
    assert cause in broken.cause
    assert list(found.games) == ["one"]


def test_one_bad_hook_does_not_take_the_others_of_its_pack(install: Install) -> None:
    source = games("one") + "@hookimpl\ndef playpen_players():\n    return 5\n"
    found = install(my_pack=source)
    assert list(found.games) == ["one"]
    assert [broken.name for broken in found.broken] == ["playpen_players"]


def test_a_hook_with_an_argument_that_there_is_not_is_reported(install: Install) -> None:
    source = f"{HEADER}@hookimpl\ndef playpen_games(colour):\n    return []\n"
    found = install(bad_pack=source, good_pack=games("one"))
    (broken,) = found.broken
    assert broken.distribution == "bad-pack"
    assert "colour" in broken.cause
    assert list(found.games) == ["one"]


def test_an_unknown_game_mentions_the_packs_that_are_broken(install: Install) -> None:
    found = install(bad_pack="import no_such_library", good_pack=games("one"))
    with pytest.raises(PluginError, match=r"no game 'two'.*'bad-pack'.*no_such_library"):
        found.find("game", found.games, "two")


# --- names ---------------------------------------------------------------------------------------


def test_a_name_that_two_packs_claim_names_both(install: Install) -> None:
    found = install(pack_b=games("one"), pack_a=games("one", "two"))
    message = r"the game 'one' is claimed twice, by pack-a and pack-b\. Uninstall one"
    with pytest.raises(PluginError, match=message):
        found.find("game", found.games, "one")
    assert found.find("game", found.games, "two").name == "two"
    (conflict,) = found.conflicts()
    assert "pack-a and pack-b" in conflict


def test_conflicts_are_found_for_every_kind(install: Install) -> None:
    both = players("x") + "".join(
        f"@hookimpl\ndef playpen_{kind}s():\n"
        f"    return [{kind.title()}Spec(name='x', path='a:B', summary='')]\n"
        for kind in ("trainer", "reward", "recipe")
    )
    found = install(pack_a=both, pack_b=both)
    kinds = [line.split()[1] for line in found.conflicts()]
    assert kinds == ["player", "trainer", "reward", "recipe"]


def test_one_pack_that_claims_a_name_twice_is_a_conflict_too(install: Install) -> None:
    assert len(install(pack_a=games("one", "one")).conflicts()) == 1


def test_an_unknown_name_gets_a_suggestion(install: Install) -> None:
    found = install(my_pack=games("wordle", "taboo"))
    with pytest.raises(PluginError, match=r"there is no game 'wordl'; did you mean 'wordle'\?"):
        found.find("game", found.games, "wordl")
    with pytest.raises(PluginError, match=r"there is no game 'chess'\.$"):
        found.find("game", found.games, "chess")


def test_without_any_games_it_says_so(install: Install) -> None:
    found = install(my_pack=players("x"))
    with pytest.raises(PluginError, match=r"No games are installed; see `playpen list packs`"):
        found.find("game", found.games, "wordle")


# --- importing -----------------------------------------------------------------------------------


def test_a_missing_extra_is_named(packs: PackFolder) -> None:
    (packs.path / "heavy_player.py").write_text("import no_such_library", encoding="utf-8")
    packs.add("my-pack", players("big", path="heavy_player:Big", extra="my-pack[big]"))
    with pytest.raises(PluginError) as caught:
        make_player("big:x")
    message = str(caught.value)
    assert "the player big: cannot be imported" in message
    assert "no_such_library" in message
    assert 'pip install "my-pack[big]"' in message


@pytest.mark.parametrize(
    "source",
    [
        "import no_such_library",
        "from playpen.game import Gamee",
        "raise OSError('libcuda.so: cannot open')",
        "x = undefined_name",
        "def broken(:",
    ],
)
def test_a_game_whose_module_does_not_import_is_reported_with_its_pack(
    packs: PackFolder, source: str
) -> None:
    (packs.path / "bad_game.py").write_text(source, encoding="utf-8")
    packs.add("my-pack", games("one", path="bad_game:Game"))
    with pytest.raises(PluginError, match="the game 'one' of my-pack cannot be imported"):
        get_game("one")


def test_a_path_to_nothing_is_reported(packs: PackFolder) -> None:
    packs.add("my-pack", games("one", path="playpen.game:Nothing"))
    with pytest.raises(
        PluginError, match=r"the game 'one' of my-pack: the module playpen\.game has no"
    ):
        get_game("one")


@pytest.mark.parametrize("path", ["playpen.game:Role", "playpen.moves:ask", "playpen.game"])
def test_a_path_to_something_else_than_a_game_is_reported(packs: PackFolder, path: str) -> None:
    packs.add("my-pack", games("one", path=path))
    with pytest.raises(PluginError, match=path):
        get_game("one")


def test_a_path_to_something_else_than_a_player_is_reported(packs: PackFolder) -> None:
    packs.add("my-pack", players("one", path="playpen.moves:ask"))
    with pytest.raises(PluginError, match="one"):
        make_player("one:")


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("no_such_package:x.toml", "No module named 'no_such_package'"),
        ("my_recipes:missing.toml", "No such file"),
        ("my_recipes:binary.toml", "invalid start byte"),
        ("my_recipes", "Is a directory"),
        (":x.toml", ""),
        ("bad_package:x.toml", "bad day"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_reported(packs: PackFolder, path: str, cause: str) -> None:
    for name, source in (("my_recipes", ""), ("bad_package", "raise RuntimeError('bad day')")):
        (packs.path / name).mkdir()
        (packs.path / name / "__init__.py").write_text(source, encoding="utf-8")
    (packs.path / "my_recipes" / "binary.toml").write_bytes(b"\xff")
    packs.add(
        "my-pack",
        f"{HEADER}@hookimpl\ndef playpen_recipes():\n"
        f"    return [RecipeSpec(name='one', path={path!r}, summary='')]\n",
    )
    with pytest.raises(PluginError) as caught:
        read_recipe("one")
    message = str(caught.value)
    assert message.startswith(f"the recipe 'one': {path} cannot be read (")
    assert cause in message


def test_the_registry_is_loaded_once() -> None:
    assert plugins.registry() is plugins.registry()


def test_load_gives_what_a_path_names() -> None:
    assert load("playpen.plugins:load", what="it") is load
