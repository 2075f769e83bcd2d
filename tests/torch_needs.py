"""Which tests need torch: read from what they import, so that nobody has to keep a list.

Core and games work without torch, and are tested without it on every supported Python.  Files are
read, never imported: where torch is missing, most that need it could not be.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
SOURCES = (REPOSITORY, *sorted(REPOSITORY.glob("playpen-*/src")))
TORCH = frozenset({"torch", "transformers", "tokenizers", "accelerate", "peft", "trl"})


def file_needs_torch(file: Path) -> bool:
    """Whether importing a file imports torch, in the file or in modules of ours that it imports."""
    return _reach_torch(_imported_by_file(file))


def function_needs_torch(file: Path, name: str) -> bool:
    """Whether a function of a file imports torch in its body, likewise."""
    return _reach_torch(_imported_by_functions(file).get(name, frozenset()))


def _reach_torch(modules: Iterable[str]) -> bool:
    """Whether one of these modules is torch's, or imports one that is."""
    seen: set[str] = set()
    unread = set(modules)
    while unread:
        if any(module.split(".")[0] in TORCH for module in unread):
            return True
        seen |= unread
        files = {file for module in unread for file in _files(module)}
        unread = {module for file in files for module in _imported_by_file(file)} - seen
    return False


@functools.cache
def _imported_by_file(file: Path) -> frozenset[str]:
    return frozenset(_imports(_parsed(file).body))


@functools.cache
def _imported_by_functions(file: Path) -> dict[str, frozenset[str]]:
    return {
        node.name: frozenset(_imports(node.body))
        for node in _parsed(file).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports(code: Iterable[ast.AST]) -> Iterator[str]:
    """Modules that code imports when it runs; of `from a import b` both `a` and `a.b`."""
    for node in code:
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                continue  # runs later
            case ast.If(ast.Name("TYPE_CHECKING"), _, orelse):
                yield from _imports(orelse)
            case ast.expr():
                continue
            case _:
                yield from _imports(ast.iter_child_nodes(node))


@functools.cache
def _files(module: str) -> tuple[Path, ...]:
    """The files, if they are in the repository, of a module and of the packages around it."""
    parts = module.split(".")
    places = [
        source.joinpath(*parts[: length + 1])
        for source in SOURCES
        if (source / parts[0]).is_dir()
        for length in range(len(parts))
    ]
    files = [file for p in places for file in (p / "__init__.py", p.with_suffix(".py"))]
    return tuple(file for file in files if file.is_file())
