"""Writing a dataset: a folder with a card and one file of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from playpen.export.card import Recipe, columns, dataset_card
from playpen.export.conversations import ExportError, Gathered, gather
from playpen.export.records import KINDS, ChatMessage, Made, Row, make_rows
from playpen.files import write_folder_atomically
from playpen.plugins import load, registry
from playpen.rewards import RewardFunction, Rewards
from playpen.store import Run

EXTRA = "playpen-core[export]"


_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T][\d:.]*Z?)?")


class Exported(msgspec.Struct):
    """What was written.

    Attributes:
        path: the folder.
        gathered: what the runs held.
        made: the rows.
        dates: columns of nothing but dates, which `datasets` reads from JSON Lines as points in
            time (``2026-11-22`` comes back as ``2026-11-22 00:00:00``).
    """

    path: Path
    gathered: Gathered
    made: Made
    dates: list[str]


def export_dataset(runs: Sequence[Run], path: Path, recipe: Recipe) -> Exported:
    """Write the conversations of some runs as a dataset that `datasets.load_dataset` reads.

    Nothing is left behind if it fails.

    Args:
        runs: where the episodes are.
        path: the folder to make.
        recipe: what to write.

    Raises:
        ExportError: the folder is there already or cannot be written, there is nothing to write,
            or pyarrow is missing.
        PluginError: there is no such reward.
        RunError: a run is damaged.
    """
    if path.exists() or path.is_symlink():
        raise ExportError(f"{path} is there already; remove it, or choose another folder with -o")
    if recipe.form == "parquet":
        _require_pyarrow()  # before the work, not after it
    gathered = gather(runs, recipe.selection, _rewards(recipe.reward))
    made = make_rows(recipe.form, gathered.conversations, threshold=recipe.threshold)
    if not made.rows:
        raise ExportError(_nothing(recipe, gathered, made))
    data = "train.parquet" if recipe.form == "parquet" else "train.jsonl"
    card = dataset_card(recipe, gathered, made, data=data)
    try:
        with write_folder_atomically(path) as folder:
            (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
            if recipe.form == "parquet":
                _write_parquet(folder / data, made.rows, KINDS[recipe.form])
            else:
                _write_lines(folder / data, made.rows)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}") from None
    return Exported(path, gathered, made, [] if recipe.form == "parquet" else _dates(made.rows))


def _rewards(name: str) -> Rewards:
    plugins = registry()
    spec = plugins.find("reward", plugins.rewards, name)
    kind: type[RewardFunction] = load(spec.path, what=f"the reward {name!r}")
    return Rewards([kind()])


def _nothing(recipe: Recipe, gathered: Gathered, made: Made) -> str:
    if recipe.form == "dpo":
        return (
            f"nothing to export: no two of the {len(gathered.conversations)} conversations make a "
            "pair.  A pair is the same role of the same instance, told the same until it replied "
            "differently, with different rewards: play instances repeatedly, or name several runs"
        )
    return (
        f"nothing to export: in all {made.blameless} conversations another role is to blame for "
        "how the episode ended"
    )


def _write_lines(file: Path, rows: Sequence[Row]) -> None:
    encoder = msgspec.json.Encoder()
    with file.open("wb") as stream:
        for row in rows:
            stream.write(encoder.encode(row) + b"\n")


def _dates(rows: Sequence[Row]) -> list[str]:
    return [name for name in rows[0].__struct_fields__ if _holds_dates(rows, name)]


def _holds_dates(rows: Sequence[Row], column: str) -> bool:
    """Whether every text of a column is a date, and there is one."""
    some = False
    for row in rows:
        value = getattr(row, column)
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            text = text.content if isinstance(text, ChatMessage) else text
            if text is None:
                continue
            if not (isinstance(text, str) and _DATE.fullmatch(text)):
                return False
            some = True
    return some


def _write_parquet(file: Path, rows: Sequence[Row], kind: type[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    arrow = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
        list[int]: pyarrow.list_(pyarrow.int64()),
        list[ChatMessage]: pyarrow.list_(message),
    }
    schema = pyarrow.schema([(name, arrow[hint]) for name, hint in columns(kind).items()])
    table = pyarrow.Table.from_pylist(msgspec.to_builtins(rows), schema=schema)
    pyarrow.parquet.write_table(table, file)


def _require_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ExportError(
            f'writing parquet needs pyarrow ({error}): pip install "{EXTRA}"'
        ) from None
