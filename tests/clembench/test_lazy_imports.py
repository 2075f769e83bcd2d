"""A game is imported without what makes its instances and plays its roles."""

from __future__ import annotations

import subprocess
import sys

from playpen.plugins import registry
from playpen.testing.packs import find_pack

IMPORTS = """
import importlib, json, sys
for path in sys.argv[1:]:
    importlib.import_module(path.partition(":")[0])
print(json.dumps([name for name in sys.modules if name.startswith("playpen_clembench.")]))
"""


def test_games_are_imported_without_their_generators_and_oracles() -> None:
    names = find_pack("playpen-games-clembench").games
    paths = [registry().games[name][0][0].path for name in names]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *paths], capture_output=True, text=True, check=True
    )
    assert "playpen_clembench.taboo.game" in done.stdout
    for part in ("generate", "oracle", "made_up"):
        assert part not in done.stdout
