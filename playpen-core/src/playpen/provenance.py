"""Where the instances of a score come from: a published set, a pack, or somebody's file.

A score is a number over a named set of instances under named rules.  Published instances are known
by hashes that a pack ships (`GameSpec.published`); nothing of an instance's game need be installed.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.resources
import io
import json
import lzma
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from playpen.instance import Instance
from playpen.plugins import PluginError, registry
from playpen.store import Run

MIXED = "mixed"


class InstanceSet(msgspec.Struct, frozen=True):
    """What a score is over.

    Attributes:
        name: of the set, such as ``official 2.0.1``; `MIXED` if there are several.
        official: all instances are published ones.
        rules: version of the rules that were played; `MIXED` if there are several.
    """

    name: str
    official: bool
    rules: str

    def __str__(self) -> str:
        return f"{self.name}, rules {self.rules}"


def published_hash(data: Mapping[str, Any]) -> str:
    """What a hash list knows an instance by: its own fields but ``game_id``, as JSON.

    Keys are sorted, there are no blanks, text is UTF-8 as it is; 24 hexadecimal digits of sha256.
    """
    fields = {key: value for key, value in data.items() if key != "game_id"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class Published(NamedTuple):
    """A list of published instances.

    Attributes:
        sets: of each hash, the names of the sets that hold it.
        sizes: how many instances each set holds.
    """

    sets: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]

    def common(self, hashes: Iterable[str]) -> str:
        """The smallest set that holds all, the newest of several; "" if none does."""
        held = [self.sets[one] for one in hashes]
        common = [name for name in held[0] if all(name in names for names in held)]
        return min(reversed(common), key=lambda name: self.sizes[name], default="")


@cache
def read_published(path: str) -> Published:
    """Read a list of published instances.

    Args:
        path: ``package:folder/file.tsv.xz`` with the columns ``hash`` and ``files``; each file is
            written ``revision:name``, and several are separated by blanks.

    Raises:
        PluginError: the file is missing, or is no such list.
    """
    package, _, name = path.partition(":")
    try:
        content = importlib.resources.files(package).joinpath(name).read_bytes()
        rows = csv.DictReader(io.StringIO(lzma.decompress(content).decode("utf-8")), delimiter="\t")
        sets = {row["hash"]: _revisions(row["files"]) for row in rows}
    except (OSError, ImportError, lzma.LZMAError, UnicodeDecodeError, KeyError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise PluginError(f"{path} is no list of published instances ({cause})") from None
    return Published(sets, Counter(name for names in sets.values() for name in names))


def _revisions(files: str) -> tuple[str, ...]:
    """``recorded:2025-validation`` is a selection of its own; else the revision is the name."""
    names: dict[str, None] = {}
    for file in files.split(" "):
        revision, _, name = file.partition(":")
        if name:
            names[name if revision == "recorded" else revision] = None
    return tuple(names)


def _published(game: str) -> Published:
    claims = registry().games.get(game, [])
    path = claims[0][0].published if claims else None
    return Published({}, {}) if path is None else read_published(path)


def instance_sets(run: Run) -> dict[str, InstanceSet]:
    """Per game of a run, what its score is over.

    Raises:
        RunError: ``instances.jsonl`` is damaged.
    """
    by_game = run.instances_by_game()
    return {game: _instance_set(run, game, by_game[game]) for game in sorted(by_game)}


def _instance_set(run: Run, game: str, instances: Sequence[Instance]) -> InstanceSet:
    config = run.config
    rules = config.rules.get(game) or "unknown"
    if config.prompts.get(game) == "pack":
        pack = registry().distribution_of(game)
        version = config.versions.get(pack, "")
        split = f" ({config.split})" if config.split else ""
        return InstanceSet(f"{pack} {version}{split}".strip() or "a pack's own", False, rules)
    published = _published(game)
    hashes = [published_hash(instance.data) for instance in instances]
    known = sum(one in published.sets for one in hashes)
    if known and known == len(hashes):
        return InstanceSet(f"official {published.common(hashes)}".strip(), True, rules)
    if known:
        return InstanceSet(MIXED, False, rules)
    source = f" ({Path(config.source).name})" if config.source else ""
    return InstanceSet(f"not published{source}", False, rules)


def together(sets: Iterable[InstanceSet]) -> InstanceSet:
    """What an average over games is over.

    Several official sets are official, under the names of all.
    """
    distinct = list(dict.fromkeys(sets))
    names = list(dict.fromkeys(one.name for one in distinct))
    rules = list(dict.fromkeys(one.rules for one in distinct))
    official = bool(distinct) and all(one.official for one in distinct)
    if len(names) == 1:
        name = names[0]
    elif official:
        name = "official " + ", ".join(sorted(n.removeprefix("official").strip() for n in names))
    else:
        name = MIXED if names else "nothing"
    return InstanceSet(name.strip(), official, rules[0] if len(rules) == 1 else MIXED)
