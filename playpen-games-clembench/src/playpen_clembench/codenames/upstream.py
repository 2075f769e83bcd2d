"""What clembench's recordings and its checkout hold besides the instances."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playpen_clembench.codenames.board import ASSIGNMENTS
from playpen_clembench.codenames.roles import CLUEGIVER, GUESSER

_VARIABLES = "|".join([*(f"{name}_words" for name in ASSIGNMENTS), "board", "clue", "number"])
_CLEMBENCH_VARIABLE = re.compile(rf"\$(?:({_VARIABLES})\b|\{{({_VARIABLES})\}})")


def with_our_placeholders(template: str) -> str:
    """A prompt template of clembench (``$board`` or ``${board}``) in our form (``$BOARD$``)."""
    return _CLEMBENCH_VARIABLE.sub(lambda match: f"${(match[1] or match[2]).upper()}$", template)


def add_prompt_templates(experiments: list[dict[str, Any]], folder: Path) -> None:
    """Give every experiment the prompt templates that it does not bring itself.

    Args:
        experiments: the experiments of an instances file; they are changed.
        folder: the game's folder in the checkout; templates that it lacks are left out.
    """
    for moment, kind in (("initial", "initial"), ("intermittent", "follow_up")):
        for role in (CLUEGIVER, GUESSER):
            file = folder / "resources" / f"{moment}_prompts" / f"prompt_{role}.template"
            if file.is_file():
                template = file.read_text(encoding="utf-8")
                for experiment in experiments:
                    experiment.setdefault(f"{role}_{kind}_prompt", template)


def opponents_moves(events: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The words of each move of the opponents: a run of ``opponent revealed`` events each."""
    runs = itertools.groupby(events, key=lambda event: event["type"] == "opponent revealed")
    return [[event["content"]["word"] for event in run] for moved, run in runs if moved]
