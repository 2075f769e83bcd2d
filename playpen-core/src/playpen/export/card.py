"""The dataset card: what a folder of rows holds, where it comes from and what it is not.

Labels, paths and names in it are somebody else's text.  None of them is in the YAML part but names
of games that are plain words; in the Markdown part they stand in code spans that they cannot leave.
"""

from __future__ import annotations

import re
import shlex
import types
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, get_type_hints

import msgspec

from playpen.escape import escape
from playpen.export.conversations import Gathered, Selection, counted
from playpen.export.records import KINDS, ChatMessage, Format, Made, MessagePairRow, Row
from playpen.plugins import CORE

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_PURPOSE: dict[Format, str] = {
    "sft": (
        "One row per reply, for TRL's `SFTTrainer`: `prompt` is the chat as the player saw it, "
        "`completion` the reply alone.  With TRL's defaults the loss is on the completion only, "
        "whatever the chat template."
    ),
    "dpo": (
        "One row per pair, for TRL's `DPOTrainer`: two players of the same role on the same "
        "instance, who were told the same until they replied differently (`prompt`), and the "
        "dialogue that earned the larger reward (`chosen`) or the smaller one (`rejected`) from "
        "there on."
    ),
    "kto": (
        "One row per conversation, for TRL's `KTOTrainer`: `prompt` comes before the player's "
        "first reply, `completion` is all the rest, `label` says whether it is wanted."
    ),
    "messages": (
        "One row per conversation: `messages` is the whole of it, and `replies` lists the places "
        "(from 0) where the player speaks.  TRL's `SFTTrainer` takes it with "
        "`assistant_only_loss=True`; without that it also learns the game's words."
    ),
}
_PURPOSE["parquet"] = _PURPOSE["messages"]
_MIXED = (
    "`{columns}` also hold what the game told the player between the replies, and TRL's trainer "
    "learns those words as if the player had said them.  Playpen's own `{trainer}` masks them."
)
_LIMITS: dict[Format, tuple[str, ...]] = {
    "sft": (),
    "dpo": (_MIXED.format(columns="chosen` and `rejected", trainer="dpo"),),
    "kto": (_MIXED.format(columns="completion", trainer="kto"),),
    "messages": (
        "Assistant messages that are not among `replies` were written by the game, not said by "
        "the player.",
    ),
}
_LIMITS["parquet"] = _LIMITS["messages"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a dataset was asked for.

    Attributes:
        form: its format.
        selection: what was let through.
        reward: name of the reward.
        threshold: with ``kto``, the reward that wanted conversations exceed.
        command: the command line.
    """

    form: Format
    selection: Selection
    reward: str = "outcome"
    threshold: float = 0.0
    command: Sequence[str] = ()


def dataset_card(recipe: Recipe, gathered: Gathered, made: Made, *, data: str) -> str:
    """The text of ``README.md``.

    Args:
        recipe: how the dataset was asked for.
        gathered: what the runs held.
        made: the rows.
        data: name of the file that holds them.
    """
    parts = [
        _front_matter(recipe.form, made.rows, data),
        f"# Dialogue games, for {recipe.form}\n",
        f"{len(made.rows)} rows from {gathered.episodes} recorded episodes of dialogue games, "
        f"exported by {CORE} {version(CORE)}.  {_PURPOSE[recipe.form]}\n",
        "```python\n"
        "from datasets import load_dataset\n\n"
        'dataset = load_dataset("PATH_OF_THIS_FOLDER", split="train")\n'
        "```\n",
        "## What it holds\n",
        _counts(made.rows),
        "## Where it comes from\n",
        *_runs(gathered),
        "Every row names its run, episode, instance (by content hash), game, level, split, role, "
        "player, seed, repeat, outcome, score and reward.\n",
        "## How it was chosen\n",
        _bullets(_chosen(recipe, gathered, made)),
        "## Known limits\n",
        _bullets(_limits(recipe, gathered)),
        "## Licence\n",
        "None is stated.  Before you share the dataset, add one to the first lines of this file "
        "that suits the games' texts and the terms of the models that spoke.\n",
    ]
    return "\n".join(parts)


def columns(kind: type[Row]) -> dict[str, Any]:
    """The type of each column of a kind of rows, `None` left out of what may be missing."""
    types_of: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for name in kind.__struct_fields__:
        hint = hints[name]
        if isinstance(hint, types.UnionType):
            [hint] = [part for part in hint.__args__ if part is not type(None)]
        types_of[name] = hint
    return types_of


_YAML: dict[Any, list[str]] = {
    str: ["dtype: string"],
    int: ["dtype: int64"],
    float: ["dtype: float64"],
    bool: ["dtype: bool"],
    list[int]: ["list: int64"],
    list[ChatMessage]: [
        "list:",
        "- name: role",
        "  dtype: string",
        "- name: content",
        "  dtype: string",
    ],
}


def _front_matter(form: Format, rows: Sequence[Row], data: str) -> str:
    games = sorted({row.game for row in rows})
    tags = ["playpen", "dialogue-games", "trl", form]
    tags += [game for game in games if _PLAIN.fullmatch(game) and game not in tags]
    size = next((name for limit, name in _SIZES if len(rows) < limit), "n>1M")
    lines = [
        "---",
        "pretty_name: Dialogue games",
        "task_categories:",
        "- text-generation",
        "size_categories:",
        f'- "{size}"',
        "tags:",
        *(f'- "{tag}"' for tag in tags),
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        f"    path: {data}",
        # Columns that are empty at first would be guessed wrongly.
        "dataset_info:",
        "  config_name: default",
        "  features:",
    ]
    for name, kind in columns(KINDS[form]).items():
        lines.append(f"  - name: {name}")
        lines += [f"    {line}" for line in _YAML[kind]]
    return "\n".join([*lines, "---", ""])


def _counts(rows: Sequence[Row]) -> str:
    """Rows per game, role and outcome; of a pair, that of the chosen one and the rejected one."""

    def outcome(row: Row) -> str:
        if isinstance(row, MessagePairRow):
            return f"{row.chosen_outcome} over {row.rejected_outcome}"
        return row.outcome

    counts: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.game, row.role, outcome(row))
        counts[key] = counts.get(key, 0) + 1
    table = ["| game | role | outcome | rows |", "|---|---|---|---:|"]
    for (game, role, ended), count in sorted(counts.items()):
        table.append(f"| {_cell(game)} | {_cell(role)} | {ended} | {count} |")
    splits = counted(row.split or "unknown" for row in rows)
    table.append("\nSplits: " + ", ".join(f"{name} {n}" for name, n in splits.items()) + ".")
    return "\n".join(table) + "\n"


def _runs(gathered: Gathered) -> Iterable[str]:
    for path, config in gathered.runs.items():
        players = ", ".join(
            code(label) if label == spec else f"{code(label)} ({code(spec)})"
            for label, spec in config.players.items()
        )
        versions = ", ".join(f"{name} {number}" for name, number in config.versions.items())
        rules = ", ".join(f"{name} {number}" for name, number in config.rules.items())
        lines = [
            f"players: {players or 'not recorded'}",
            f"seed: {config.seed}",
            f"rules of the games: {code(rules)}",
            f"versions: {code(versions)}",
            f"begun: {code(config.created)}",
            f"command: {code(shlex.join(['playpen', *config.command]))}",
        ]
        yield f"Run {code(path)}:\n"
        yield _bullets(lines)


def _chosen(recipe: Recipe, gathered: Gathered, made: Made) -> Iterable[str]:
    selection = recipe.selection
    for what, names in (
        ("games", selection.games),
        ("roles", selection.roles),
        ("players", selection.players),
        ("outcomes", selection.outcomes),
    ):
        yield f"{what}: {', '.join(map(code, names)) or 'all'}"
    if selection.min_score is not None:
        yield f"main score: at least {selection.min_score:g}"
    yield f"reward: {code(recipe.reward)}, of a role's whole part in an episode"
    if recipe.form == "kto":
        yield f"wanted (`label`): a reward above {recipe.threshold:g}"
    yield f"{gathered.left_out} finished episodes were not let through"
    yield f"{gathered.failed} episodes failed (no outcome) and are never exported"
    if made.blameless:
        yield f"{made.blameless} conversations left out, since another role is to blame"
    if made.unpaired:
        yield f"{made.unpaired} situations give no pair: alike, or they part where others spoke"
    yield f"command: {code(shlex.join(['playpen', *recipe.command]))}"


def _limits(recipe: Recipe, gathered: Gathered) -> Iterable[str]:
    if gathered.test:
        yield (
            f"**It holds {gathered.test} episodes of a test split.  A model that learned from it "
            "must not be scored on that split.**"
        )
    yield (
        "Replies are what the game saw: reasoning and other text that was cut off before is not "
        "in them."
    )
    yield (
        "The words were chosen by programs and language models; nobody has checked them for "
        "truth or decency."
    )
    yield (
        "The split of an instance is `null` where it was read from a file: it may belong to "
        "somebody's test set."
    )
    yield from _LIMITS[recipe.form]


def code(text: str) -> str:
    """Somebody else's text as one Markdown code span, which it cannot end or change."""
    line = escape(text, one_line=True).strip() or "-"
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _cell(text: str) -> str:
    """The same in a table, where a bar would end the cell even in code."""
    return code(text.replace("|", r"\x7c"))


def _bullets(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)
