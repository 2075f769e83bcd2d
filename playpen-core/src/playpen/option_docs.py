"""The options of a plug-in, read off its options class and that class's docstrings.

They are shown as a list, as a TOML file to fill in, and as JSON Schema.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

REQUIRED = "required"
UNSET = "unset"
"""What stands in the place of a default, for options that have none or `None`."""

_ATTRIBUTE = re.compile(r"^ {4}(?P<names>\w+(?:, \w+)*): (?P<text>.*(?:\n {8}.*)*)", re.MULTILINE)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WORDS: dict[Any, str] = {
    dict: "table",
    list: "list",
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Any: "value",
}
_COUNTED = re.compile(r"^(whole number|number|text|table|list|value)\b(?!.* or )")
_BOUNDS = {
    "ge": "of at least",
    "gt": "above",
    "le": "of at most",
    "lt": "below",
    "multiple_of": "divisible by",
    "min_length": "of length at least",
    "max_length": "of length at most",
    "pattern": "matching",
}


class Option(NamedTuple):
    """One option: its name, type in words, default as TOML, and meaning."""

    name: str
    type: str
    default: str
    meaning: str


def options_of(kind: type[msgspec.Struct]) -> list[Option]:
    """All options that a class has, in order, inherited ones first."""
    meanings = _meanings(kind)
    return [
        Option(
            field.encode_name,
            type_in_words(field.type),
            _default(field),
            meanings.get(field.name, ""),
        )
        for field in msgspec.structs.fields(kind)
    ]


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return REQUIRED
    made = field.default_factory is not msgspec.NODEFAULT
    value = field.default_factory() if made else field.default
    return UNSET if value is None else toml_value(value)


def _meanings(kind: type) -> dict[str, str]:
    """The entries of the sections ``Attributes`` of a class's docstring and its bases'."""
    return {
        name: " ".join(match["text"].split())
        for base in reversed(kind.__mro__)
        for match in _ATTRIBUTE.finditer(
            inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        )
        for name in match["names"].split(", ")
    }


def summary_of(kind: type) -> str:
    """The first paragraph of a class's docstring, without the name of its table."""
    first = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    return re.sub(r"^``\[\w+\]``: ", "", " ".join(first.split()))


def plain(text: str) -> str:
    """Text of a docstring without its marks of code."""
    return text.replace("`", "")


# --- types in words ------------------------------------------------------------------------------


def bare_type(hint: Any) -> Any:
    """The type without its bounds, and without the `None` that stands for left out."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif get_origin(hint) in (Union, types.UnionType):
            kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
            if len(kinds) != 1:
                return hint
            hint = kinds[0]
        else:
            return hint


def type_in_words(hint: Any) -> str:
    """What a type admits in a TOML file: ``whole number of at least 1``, ``list of texts``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_in_words(arguments[0]) + "".join(map(_bounds, arguments[1:]))
    if origin in (Union, types.UnionType):
        return " or ".join(type_in_words(kind) for kind in arguments if kind is not types.NoneType)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is dict:
        return "table" if arguments[1] is Any else _many("table", arguments[1])
    if origin in (list, tuple):
        return _many("list", arguments[0])
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "table"
    return _WORDS.get(hint) or str(getattr(hint, "__name__", hint))


def _many(container: str, hint: Any) -> str:
    inner = type_in_words(hint)
    several, counted = _COUNTED.subn(r"\1s", inner)
    return f"{container} of {several}" if counted else f"{container}, each entry {inner}"


def _bounds(meta: object) -> str:
    if not isinstance(meta, msgspec.Meta):
        return ""
    if meta.ge is not None and meta.le is not None:
        return re.sub(r"e\+0?", "e", f" from {meta.ge:g} to {meta.le:g}")
    bounds = [(words, getattr(meta, name)) for name, words in _BOUNDS.items()]
    limits = [f"{words} {bound}" for words, bound in bounds if bound is not None]
    return f" {' and '.join(limits)}" if limits else ""


# --- TOML ----------------------------------------------------------------------------------------


def toml_value(value: Any) -> str:
    """A value as it is written in a TOML file."""
    value = msgspec.to_builtins(value, enc_hook=str)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = (f"{_toml_key(key)} = {toml_value(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    return repr(value)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else toml_value(key)


def toml_template(
    title: str, tables: Mapping[str, type[msgspec.Struct]], examples: Mapping[str, object]
) -> str:
    """A TOML file with all options at their defaults, each under its meaning.

    Options without a default are commented out.

    Args:
        title: what the file begins with.
        tables: options class of each table, by the table's name (``reward.terms.outcome``).
        examples: values that stand in the place of defaults, by the option's full name.
    """
    lines = [*_comment(title), ""]
    for table, kind in tables.items():
        lines += [*_comment(summary_of(kind)), f"[{table}]", ""]
        for option in options_of(kind):
            name = f"{table}.{option.name}"
            if any(other.startswith(f"{name}.") for other in tables):
                lines += [*_comment(f"{option.name}: {option.meaning}"), ""]  # a table of its own
                continue
            default, status = option.default, ""
            if name in examples:
                default, status = toml_value(examples[name]), "; an example"
            elif default in (REQUIRED, UNSET):
                status = f"; {default}"
            lines += _comment(f"{option.meaning.rstrip('.')} ({option.type}{status})")
            settled = default not in (REQUIRED, UNSET)
            lines += [f"{option.name} = {default}" if settled else f"#{option.name} =", ""]
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        plain(text), 80, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


# --- JSON Schema ---------------------------------------------------------------------------------


def json_schemas(
    kinds: Sequence[type[msgspec.Struct]],
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """References to the schemas of some classes, and all schemas by name.

    Every option is described by the docstring of its class.
    """
    references, schemas = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for kind, reference in zip(kinds, references, strict=True):
        schema = schemas[reference["$ref"].removeprefix("#/$defs/")]
        schema["description"] = summary_of(kind)
        for name, meaning in _meanings(kind).items():
            if name in schema["properties"]:
                schema["properties"][name]["description"] = meaning
    return list(references), schemas
