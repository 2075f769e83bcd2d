"""Asking and parsing, outcomes, and the resources of a game's package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from tests.core.sample_games import (
    EndlessGame,
    GuessingGame,
    drive,
    game_of,
    guessing,
    instance_of,
    outcome_of,
    whole_number,
)

from playpen.conversation import Conversation
from playpen.episode import Said
from playpen.game import Game, Metrics, Role
from playpen.instance import Instance
from playpen.moves import Abort, Ask, Lose, Play, Success, Violated, Violation, ask
from playpen.prompts import PromptError, fill

# --- ask -----------------------------------------------------------------------------------------


def asking(retries: int, retry: str | None = "Again.") -> Game:
    """A game of one question whose only right answer is ``yes``."""

    def parse(text: str) -> bool:
        if text != "yes":
            raise Violation("not_yes", f"{text!r} is not yes", retry)
        return True

    def play(instance: Instance) -> Play:
        answer = yield from ask("a", "Well?", parse, retries=retries)
        return Success(100 if answer else 0)

    return game_of(play)


def test_without_a_parser_the_text_comes_back_untouched() -> None:
    heard: list[str] = []

    def play(instance: Instance) -> Play:
        heard.append((yield from ask("a", "Well?")))
        return Success()

    drive(game_of(play), instance_of("inline"), {"a": ["  as\nsaid \0"]})
    assert heard == ["  as\nsaid \0"]


def test_the_game_gets_what_the_parser_returns() -> None:
    heard: list[int] = []

    def play(instance: Instance) -> Play:
        heard.append((yield from ask("a", "Well?", whole_number)))
        return Success()

    drive(game_of(play), instance_of("inline"), {"a": [" 12 "]})
    assert heard == [12]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_role_is_asked_again_exactly_as_often_as_the_game_allows(retries: int) -> None:
    replies = [f"no {i}" for i in range(retries + 1)]
    episode, seen = drive(asking(retries), instance_of("inline"), {"a": [*replies, "yes"]})
    assert len(seen) == retries + 1
    assert episode.outcome == Abort("not_yes", f"'no {retries}' is not yes", fault="a")


@pytest.mark.parametrize("retries", [1, 3])
def test_the_last_permitted_retry_still_counts(retries: int) -> None:
    replies = ["no"] * retries + ["yes"]
    assert outcome_of(asking(retries), instance_of("inline"), {"a": replies}) == Success()


def test_a_retry_shows_the_reply_and_the_retry_text() -> None:
    _, seen = drive(asking(1), instance_of("inline"), {"a": ["no", "yes"]})
    assert [m.content for m in seen[1].messages] == ["Well?", "no", "Again."]


def test_every_violation_is_recorded_after_its_reply_with_its_role() -> None:
    episode, _ = drive(asking(1), instance_of("inline"), {"a": ["no", "nope"]})
    assert [e for e in episode.events if isinstance(e, Violated)] == [
        Violated("a", "not_yes", "'no' is not yes", retried=True),
        Violated("a", "not_yes", "'nope' is not yes", retried=False),
    ]
    kinds = [type(event) for event in episode.events]
    assert kinds == [Ask, Said, Violated, Ask, Said, Violated]


def test_a_violation_without_a_retry_text_is_not_asked_again() -> None:
    episode, seen = drive(asking(5, retry=None), instance_of("inline"), {"a": ["no", "yes"]})
    assert len(seen) == 1
    assert isinstance(episode.outcome, Abort)
    assert episode.events[-1] == Violated("a", "not_yes", "'no' is not yes", retried=False)


def test_a_game_may_catch_a_violation_and_go_on() -> None:
    def play(instance: Instance) -> Play:
        try:
            yield from ask("a", "Number?", whole_number)
        except Violation as violation:
            return Lose(5, fault=violation.role)
        return Success()

    episode, _ = drive(game_of(play), instance_of("inline"), {"a": ["no"]})
    assert episode.outcome == Lose(5, fault="a")
    assert [e.code for e in episode.events if isinstance(e, Violated)] == ["not_a_number"]


def test_a_violation_that_the_game_itself_raises_aborts_without_a_fault() -> None:
    def play(instance: Instance) -> Play:
        yield Ask("a", "Well?")
        raise Violation("stalemate", "nobody can move")

    assert outcome_of(game_of(play), instance_of("inline"), {"a": ["x"]}) == Abort(
        "stalemate", "nobody can move", fault=None
    )


def test_a_retry_of_a_side_question_stays_a_side_question_with_its_limit() -> None:
    def play(instance: Instance) -> Play:
        yield from ask("a", "Number?", whole_number, retries=1, keep=False, max_new_tokens=3)
        return Success()

    episode, seen = drive(game_of(play), instance_of("inline"), {"a": ["no", "4"]})
    assert [(c.side, c.max_new_tokens, len(c.messages)) for c in seen] == [(True, 3, 1)] * 2
    assert episode.conversation("a") == []


# --- outcomes ------------------------------------------------------------------------------------


def test_an_abort_has_no_score() -> None:
    assert Abort("x", "y").score is None


def test_an_outcome_keeps_its_role_scores_and_marks() -> None:
    outcome = Lose(3, fault="b", role_scores={"a": 1, "b": 2}, unscored=True)

    def play(instance: Instance) -> Play:
        yield Ask("a", "?")
        return outcome

    episode, _ = drive(game_of(play), instance_of("inline"), {"a": [""]})
    assert episode.outcome == outcome
    assert (episode.lose, episode.success, episode.aborted) == (True, False, False)
    assert episode.main_score == 3


# --- prompts and schemas -------------------------------------------------------------------------

PACKAGED = """
from playpen.game import Game, Role

class Packaged(Game):
    name = "packaged"
    roles = (Role("a"),)
"""


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Game]:
    """A game in a package of its own, with prompts in two languages and a schema."""
    return package_in(tmp_path, monkeypatch, regular=True)


def package_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *, regular: bool) -> type[Game]:
    """Write the package and import its game; `regular`: it has an ``__init__.py``."""
    package = folder / f"packaged_{folder.name.replace('-', '_')}"
    for language, text in {"en": "Hello $NAME$, $COUNT$!\n\n", "de": "Hallo $NAME$!"}.items():
        prompts = package / "prompts" / language
        prompts.mkdir(parents=True)
        (prompts / "greet.md").write_text(text, encoding="utf-8")
    (package / "schema.json").write_text('{"$defs": {"instance": {}}}', encoding="utf-8")
    (package / "game.py").write_text(PACKAGED, encoding="utf-8")
    if regular:
        (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    game: type[Game] = importlib.import_module(f"{package.name}.game").Packaged
    return game


def test_a_prompt_is_the_file_with_its_placeholders_filled(packaged: type[Game]) -> None:
    instance = instance_of("packaged")
    assert packaged().prompt("greet", instance, NAME="Ada", COUNT=2) == "Hello Ada, 2!"


def test_a_prompt_is_read_in_the_language_of_the_instance(packaged: type[Game]) -> None:
    instance = instance_of("packaged", lang="de")
    assert packaged().prompt("greet", instance, NAME="Ada") == "Hallo Ada!"


def test_a_package_without_an_init_file_finds_its_prompts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = package_in(tmp_path, monkeypatch, regular=False)
    assert game.schema() == {"$defs": {"instance": {}}}
    assert game().prompt("greet", instance_of("packaged", lang="de"), NAME="Ada") == "Hallo Ada!"


def test_a_text_of_the_instance_replaces_the_file(packaged: type[Game]) -> None:
    given = "$NAME$ owes $5, $UNKNOWN$"
    text = packaged().prompt("greet", instance_of("packaged"), given, NAME="Ada")
    assert text == "Ada owes $5, $UNKNOWN$"


def test_a_missing_value_is_an_error_that_names_prompt_game_and_value(
    packaged: type[Game],
) -> None:
    with pytest.raises(PromptError, match=r"'greet' of 'packaged' has no value for COUNT"):
        packaged().prompt("greet", instance_of("packaged"), NAME="Ada")


@pytest.mark.parametrize(("name", "language"), [("nothing", "en"), ("greet", "xx")])
def test_a_missing_prompt_file_is_an_error_that_says_which_to_add(
    packaged: type[Game], name: str, language: str
) -> None:
    with pytest.raises(PromptError, match=rf"add the file prompts/{language}/{name}\.md"):
        packaged().prompt(name, instance_of("packaged", lang=language))


def test_values_are_filled_in_one_pass() -> None:
    assert fill("$A$ $B$ $A$", {"A": "$B$", "B": 1}) == "$B$ 1 $B$"


def test_the_schema_is_read_from_the_package(packaged: type[Game]) -> None:
    assert packaged.schema() == {"$defs": {"instance": {}}}


def test_a_game_without_a_schema_file_has_none() -> None:
    class Bare(Game):
        name = "bare"
        roles = (Role("a"),)

    assert Bare.schema() is None


def test_the_defaults_of_a_game_say_what_is_missing() -> None:
    game = game_of(EndlessGame().play, name="bare")
    with pytest.raises(NotImplementedError, match="'bare' has no instance generator"):
        game.generate("train")
    with pytest.raises(LookupError, match="'bare' has no oracle for the role 'a'"):
        game.oracle("a")
    assert game.metrics(drive(GuessingGame(), guessing(), {"guesser": ["7"]})[0]) == Metrics()
    assert game.fingerprint(guessing()) == guessing().hash


NEIGHBOURS = {
    "generate.py": """
def levels():
    return ("easy", "hard")

def generate(split, *, seed, level, n):
    return {"experiments": [], "asked": [split, seed, level, n]}

class Only:
    def levels(self):
        return ("only",)

ONLY = Only()
""",
    "oracle.py": """
def answer(conversation):
    return "yes"
""",
}


@pytest.fixture
def with_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Game:
    """A game that names the modules beside it, which are not imported yet."""
    package = tmp_path / f"neighbours_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    for name, text in NEIGHBOURS.items():
        (package / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    class Named(Game):
        name = "named"
        roles = (Role("a"), Role("b"))
        generator = f"{package.name}.generate"
        oracles = {"a": f"{package.name}.oracle:answer"}

    return Named()


def test_generator_and_oracles_are_found_where_the_game_names_them(with_neighbours: Game) -> None:
    package = str(with_neighbours.generator).partition(".")[0]
    assert [name for name in sys.modules if name.startswith(package)] == []
    assert with_neighbours.levels() == ("easy", "hard")
    assert f"{package}.oracle" not in sys.modules
    assert with_neighbours.generate("train")["asked"] == ["train", 0, None, None]
    document = with_neighbours.generate("test", seed=3, level="easy", n=2)
    assert document["asked"] == ["test", 3, "easy", 2]
    assert with_neighbours.oracle("a")(Conversation("a", [])) == "yes"
    with pytest.raises(LookupError, match="'named' has no oracle for the role 'b'"):
        with_neighbours.oracle("b")


def test_a_generator_may_be_an_object_in_a_module(with_neighbours: Game) -> None:
    class Other(type(with_neighbours)):
        generator = f"{with_neighbours.generator}:ONLY"

    assert Other().levels() == ("only",)
