"""What the static benchmarks have in common: one question, one answer, no second try."""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import Any

from playpen import Episode, Game, Instance, Lose, Metrics, Role, Success
from playpen_clembench.counts import request_counts
from playpen_clembench.static.fingerprint import fingerprint

ANSWERER = "answerer"


def verdict(is_right: bool) -> Success | Lose:
    """100 for a right answer, 0 for a wrong one."""
    return Success() if is_right else Lose(fault=ANSWERER)


class SingleTurn(Game):
    """Base of the static benchmarks.

    The questions of the benchmarks are other people's: they are read from official instance files.
    Those that the generators make are made up, for tests and demonstrations.
    """

    roles = (Role(ANSWERER, "answers one question, once"),)
    rules = "2.0"
    levels_stand_alone = True

    def templated(self, instance: Instance, variable: str) -> str:
        """The instance's input, put into its experiment's template or else into our own prompt.

        A template is one of Jinja2 with a single variable; as there, a line end after its last
        line is dropped.
        """
        template, text = instance.get("initial_prompt"), instance["input"]
        if template is None:
            return self.prompt(self.name, instance, INPUT=text)
        # With a function, because the text may hold backslashes.
        return re.sub(
            rf"\{{\{{ *{variable} *\}}\}}", lambda match: text, template.removesuffix("\n")
        )

    def metrics(self, episode: Episode) -> Metrics:
        """The request counts; there are no scores of rounds (docs/rules/static.md, "Scores")."""
        return Metrics(request_counts(len(episode.replies()), int(episode.aborted)))

    def fingerprint(self, instance: Instance) -> str:
        """The question, whatever the template around it."""
        return fingerprint(self.name, instance["input"])

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """The schema of this benchmark's instances, one of several in the package."""
        path = importlib.resources.files(__package__).joinpath("schemas", f"{cls.name}.json")
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return schema
