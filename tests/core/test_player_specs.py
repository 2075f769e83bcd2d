"""Spec strings: parsing, printing, typed options, aliases."""

from __future__ import annotations

import string
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.conftest import PackFolder
from tests.core.sample_games import FlakyPlayer

from playpen.player import (
    NoOptions,
    SpecError,
    SpecString,
    did_you_mean,
    load_aliases,
    parse_options,
    parse_spec,
)
from playpen.plugins import PluginError, make_player, resolve_spec

# --- parsing and printing ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("human:", SpecString("human")),
        ("program:oracle", SpecString("program", "oracle")),
        ("program:package.module:function", SpecString("program", "package.module:function")),
        ("hf:org/name?dtype=bfloat16", SpecString("hf", "org/name", {"dtype": "bfloat16"})),
        ("hf:./runs/grpo/checkpoint-40", SpecString("hf", "./runs/grpo/checkpoint-40")),
        ("hf:x?", SpecString("hf", "x")),
        ("hf:x?a=", SpecString("hf", "x", {"a": ""})),
        ("hf:x?a=1&b=%26%3D%3F", SpecString("hf", "x", {"a": "1", "b": "&=?"})),
        (
            "openai:m?base_url=http://127.0.0.1:8000/v1&n=2",
            SpecString("openai", "m", {"base_url": "http://127.0.0.1:8000/v1", "n": "2"}),
        ),
    ],
)
def test_a_spec_is_scheme_target_and_options(text: str, spec: SpecString) -> None:
    assert parse_spec(text) == spec


def test_a_printed_spec_is_as_people_write_it() -> None:
    spec = SpecString("openai", "m", {"n": "2", "base_url": "http://127.0.0.1:8000/v1"})
    assert str(spec) == "openai:m?base_url=http://127.0.0.1:8000/v1&n=2"
    assert str(SpecString("human")) == "human:"


schemes = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1)
targets = st.text().filter(lambda text: "?" not in text)
options = st.dictionaries(st.text(min_size=1), st.text(), max_size=4)


@given(schemes, targets, options)
def test_every_spec_can_be_printed_and_parsed_again(
    scheme: str, target: str, given_options: dict[str, str]
) -> None:
    spec = SpecString(scheme, target, given_options)
    assert parse_spec(str(spec)) == spec


@given(st.text())
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    try:
        spec = parse_spec(text)
    except SpecError:
        return
    assert parse_spec(str(spec)) == spec


def test_specs_that_differ_in_the_order_of_options_print_the_same() -> None:
    assert str(parse_spec("hf:x?b=1&a=2")) == str(parse_spec("hf:x?a=2&b=1"))


@pytest.mark.parametrize("text", ["hf:x?dtype", "hf:x?a=1&", "hf:x?&a=1", "hf:x?a=1&&b=2"])
def test_options_that_are_no_pairs_are_refused_with_the_form(text: str) -> None:
    with pytest.raises(SpecError, match=r"options are written \?name=value&name=value"):
        parse_spec(text)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="temperature"):
        parse_spec("hf:x?temperature=0&temperature=1")


def test_a_text_that_is_neither_spec_nor_alias_says_how_to_write_one() -> None:
    with pytest.raises(SpecError, match=r"'oracle' is not a player.*program:oracle"):
        parse_spec("oracle")
    with pytest.raises(SpecError, match=r"did you mean 'smol'\?"):
        parse_spec("smoll", {"smol": "hf:x"})


def test_a_suggestion_is_made_only_where_a_name_is_close() -> None:
    assert did_you_mean("wordl", ["wordle", "taboo"]) == "; did you mean 'wordle'?"
    assert did_you_mean("chess", ["wordle", "taboo"]) == "."


# --- typed options -------------------------------------------------------------------------------


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """One option of every type that a spec may carry."""

    temperature: float = 0.0
    max_new_tokens: int | None = 300
    strict: bool = False
    thinking: str = "strip"


def test_options_take_the_declared_types() -> None:
    spec = parse_spec("hf:x?temperature=0.7&max_new_tokens=5&strict=true&thinking=keep")
    assert parse_options(spec, Options) == Options(0.7, 5, True, "keep")
    assert parse_options(parse_spec("hf:x"), Options) == Options()
    assert parse_options(parse_spec("hf:x?max_new_tokens=null"), Options).max_new_tokens is None


def test_an_option_with_special_characters_arrives_unchanged() -> None:
    text = "a&b=c?d%20 é/:,+#"
    spec = parse_spec(str(SpecString("hf", "x", {"thinking": text})))
    assert parse_options(spec, Options).thinking == text


def test_an_unknown_option_gets_a_suggestion_and_the_known_ones() -> None:
    with pytest.raises(SpecError) as caught:
        parse_options(parse_spec("hf:x?temprature=1"), Options)
    message = str(caught.value)
    assert message.startswith("hf:x?temprature=1: unknown option 'temprature'")
    assert "did you mean 'temperature'?" in message
    assert "Options of hf: max_new_tokens, strict, temperature, thinking." in message


def test_a_player_without_options_says_so() -> None:
    with pytest.raises(SpecError, match=r"unknown option 'x'\. Options of human: none\."):
        parse_options(parse_spec("human:?x=1"), NoOptions)


@pytest.mark.parametrize(
    ("option", "kind"),
    [("temperature=warm", "float"), ("max_new_tokens=2.5", "int"), ("strict=maybe", "bool")],
)
def test_an_option_of_the_wrong_type_names_it_and_the_type(option: str, kind: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_options(parse_spec(f"hf:x?{option}"), Options)
    message = str(caught.value)
    assert option.partition("=")[0] in message
    assert kind in message
    assert message.startswith("hf:x?")


# --- aliases -------------------------------------------------------------------------------------


def write_toml(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "playpen.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_alias_stands_for_its_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml(tmp_path, '[players.smol]\nspec = "hf:org/smol?dtype=bfloat16"\n')
    monkeypatch.chdir(tmp_path)
    assert resolve_spec("smol") == SpecString("hf", "org/smol", {"dtype": "bfloat16"})


def test_the_nearest_file_upwards_counts(tmp_path: Path) -> None:
    write_toml(tmp_path, '[players.far]\nspec = "human:"\n')
    inner = tmp_path / "a" / "b"
    write_toml(tmp_path / "a", '[players.near]\nspec = "program:oracle"\n')
    inner.mkdir()
    assert load_aliases(inner) == {"near": "program:oracle"}
    assert load_aliases(tmp_path) == {"far": "human:"}


def test_a_spec_is_never_looked_up_among_the_aliases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toml(tmp_path, "not toml at all")
    monkeypatch.chdir(tmp_path)
    assert resolve_spec("human:") == SpecString("human")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[players.x\n", "not valid TOML"),
        ("[players.x]\nspecs = 'human:'\n", r"\[players\.x\] needs a line spec"),
        ("[players.x]\nspec = 5\n", r"\[players\.x\] needs a line spec"),
        ("[players]\nx = 'human:'\n", r"\[players\.x\] needs a line spec"),
        ("players = 'human:'\n", r"\[players"),
        ("players = ['human:']\n", r"\[players"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    write_toml(tmp_path, text)
    with pytest.raises(SpecError, match=rf"playpen\.toml: .*{message}"):
        load_aliases(tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    write_toml(tmp_path, "").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"playpen\.toml: not valid TOML"):
        load_aliases(tmp_path)


def test_without_any_file_there_are_no_aliases(tmp_path: Path) -> None:
    write_toml(tmp_path, "[tool]\nx = 1\n")
    assert load_aliases(tmp_path) == {}


# --- making players ------------------------------------------------------------------------------


def test_a_player_is_made_with_its_options(installed: PackFolder) -> None:
    player = make_player("flaky:?failures=5")
    assert isinstance(player, FlakyPlayer)
    with pytest.raises(SpecError, match="did you mean 'failures'"):
        make_player("flaky:?failure=5")


def test_an_unknown_scheme_gets_a_suggestion(installed: PackFolder) -> None:
    with pytest.raises(PluginError, match=r"no player 'flakey'; did you mean 'flaky'\?"):
        make_player("flakey:")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "write program:oracle or program:package.module:function"),
        ("oracel", "write program:oracle or"),
        ("no_such_module:f", "cannot be imported"),
        ("tests.core.sample_games:nothing", "has no 'nothing'"),
        ("tests.core.sample_games:WORDS", "is not a function"),
        ("asyncio:sleep", "is not a function from a conversation to a text"),
    ],
)
def test_a_program_that_is_not_there_is_named(target: str, message: str) -> None:
    with pytest.raises(SpecError, match=rf"program:{target}.*{message}"):
        make_player(f"program:{target}")
