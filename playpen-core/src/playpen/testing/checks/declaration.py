"""What a game says about itself: its class, its `GameSpec`, its prompt files."""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Collection
from importlib.resources.abc import Traversable

import pytest

from playpen.game import Game, Role
from playpen.instance import SPLITS
from playpen.plugins import PluginError, load
from playpen.testing.findings import fault
from playpen.testing.game_under_test import GameUnderTest


class DeclarationChecks:
    """The class, the spec and the prompt files agree with each other."""

    def test_class_is_complete(self, subject: GameUnderTest) -> None:
        """Name, roles with one-line summaries, range of scores, limits."""
        game = subject.game
        where = f"{type(game).__name__} ({game.name})"
        if not game.name or any(letter.isspace() or letter in "/:" for letter in game.name):
            fault(where, f"the name {game.name!r} cannot be typed", "use letters, digits and _.")
        if not game.roles or not all(isinstance(role, Role) for role in game.roles):
            fault(where, f"roles is {game.roles!r}", 'set roles = (Role("name", "summary"), ...).')
        if len(set(game.role_names())) != len(game.roles):
            fault(where, "two roles have the same name", "give each role a name of its own.")
        for role in game.roles:
            if not _is_line(role.summary):
                fault(
                    where,
                    f"the summary of the role {role.name!r} is {role.summary!r}",
                    f'say in one line what it does: Role("{role.name}", "finds the word").',
                )
        low, high = game.score_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            fault(
                where, f"score_range is {game.score_range}", "give two finite numbers, low, high."
            )
        if game.max_replies < 1:
            fault(where, f"max_replies is {game.max_replies}", "allow at least one reply.")
        if not 0 <= game.oracle_wins <= 1:
            fault(where, f"oracle_wins is {game.oracle_wins}", "give a share between 0 and 1.")
        shared = getattr(game, "shared_fields", ())
        if isinstance(shared, str) or not all(isinstance(name, str) for name in shared):
            fault(where, f"shared_fields is {shared!r}", 'give names: frozenset({"board"}).')

    def test_spec_agrees_with_the_class(self, subject: GameUnderTest) -> None:
        """`GameSpec` has the roles of the class, a one-line summary, and leads to the class."""
        game, spec = subject.game, subject.spec
        if spec is None:
            pytest.skip(f"no installed plug-in has a GameSpec for {game.name!r}")
        where = f"GameSpec of {game.name}"
        try:
            target = load(spec.path, what=f"path={spec.path!r}")
        except PluginError as error:
            fault(where, str(error), 'write path="package.module:Class".')
        if target is not type(game):
            fault(
                where,
                f"path={spec.path!r} is not the class {type(game).__qualname__} that is checked",
                "let it name the class, or check the class that it names.",
            )
        if tuple(spec.roles) != game.role_names():
            fault(
                where,
                f"its roles are {spec.roles}, those of the class {game.role_names()}",
                "write the same names in the same order.",
            )
        if not _is_line(spec.summary):
            fault(where, f"the summary is {spec.summary!r}", "describe the game in one line.")
        if not spec.languages:
            fault(where, "it has no languages", 'name at least one, such as languages=("en",).')

    def test_prompts_exist_in_every_language(self, subject: GameUnderTest) -> None:
        """Every language of the `GameSpec` has every prompt file; none is empty."""
        game = subject.game
        languages = subject.spec.languages if subject.spec else ("en",)
        used = {i.language for s in SPLITS for i in subject.instances(s, None)}
        if foreign := sorted(used - set(languages)):
            fault(
                game.name,
                f"there are instances in {', '.join(foreign)}; "
                f"the GameSpec names {', '.join(languages)}",
                "add the language to GameSpec.languages, with its prompts, or mend the instances.",
            )
        folder = _prompts(game)
        if folder is None:
            pytest.skip(f"{game.package()} has no folder prompts/")
        files = {language: _files(folder.joinpath(language)) for language in languages}
        everything = set().union(*files.values())
        for language, texts in files.items():
            for name in sorted(everything - texts.keys()):
                fault(
                    f"{game.name}, language {language!r}",
                    f"the file prompts/{language}/{name} is missing",
                    "write it, or take the language out of GameSpec.languages.",
                )
            for name, text in texts.items():
                if not text.strip():
                    fault(
                        f"{game.name}, language {language!r}",
                        f"the file prompts/{language}/{name} is empty",
                        "write what the role needs to know.",
                    )


def shared_fields(game: Game) -> Collection[str]:
    """The instance fields that more than one role is told, as the game's class declares them."""
    return frozenset(getattr(game, "shared_fields", ()))


def _is_line(text: str) -> bool:
    return bool(text.strip()) and len(text.splitlines()) == 1


def _prompts(game: Game) -> Traversable | None:
    try:
        folder = importlib.resources.files(game.package()).joinpath("prompts")
    except (TypeError, ImportError):  # a game in a single module has no folder of its own
        return None
    return folder if folder.is_dir() else None


def _files(folder: Traversable) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    return {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.is_file()}
