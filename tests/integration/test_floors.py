"""Imports run downwards: there is no circle but the named ones, types counted."""

from __future__ import annotations

import graphlib

import grimp
import pytest

PACKAGES = ("playpen", "playpen_clembench", "playpen_trainers")
NAMED = {("playpen.hookspecs", "playpen.training")}
"""A hook may name what it hands over."""


def imports(named: set[tuple[str, str]]) -> graphlib.TopologicalSorter[str]:
    """Every module with what it imports, inside functions and for types too, but for `named`."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False)
    assert all(graph.direct_import_exists(importer=a, imported=b) for a, b in named)
    return graphlib.TopologicalSorter(
        {
            module: {
                other
                for other in graph.find_modules_directly_imported_by(module)
                if (module, other) not in named
            }
            for module in graph.modules
        }
    )


def test_there_is_no_import_circle_but_the_named_ones() -> None:
    imports(NAMED).prepare()  # raises CycleError, with the circle


def test_the_named_exceptions_are_needed() -> None:
    with pytest.raises(graphlib.CycleError):
        imports(set()).prepare()
