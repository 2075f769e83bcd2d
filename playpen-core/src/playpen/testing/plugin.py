"""The pytest plug-in: ``--playpen-pack`` collects the checks of every game of a pack.

It is loaded in every run of pytest where Playpen is installed, so it imports nothing more until it
is asked to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playpen.testing.packs import PackModule


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("playpen", "conformance of Playpen's games")
    group.addoption(
        "--playpen-pack",
        action="append",
        default=[],
        metavar="NAME",
        dest="playpen_packs",
        help="check all games of a distribution, or one game (can be given more than once); "
        "without paths, nothing else is collected",
    )
    group.addoption(
        "--playpen-thorough",
        action="store_true",
        dest="playpen_thorough",
        help="try much more, and something new in every run",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect nothing but the packs, unless paths are given."""
    if config.getoption("playpen_packs") and config.args_source is not config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the checks of the packs, before anybody selects or reorders."""
    for module in _modules(session):
        items.extend(session.genitems(module))


def _modules(session: pytest.Session) -> list[PackModule]:
    names: list[str] = session.config.getoption("playpen_packs")
    if not names:
        return []
    try:
        from playpen.testing.packs import PackModule, find_pack
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"--playpen-pack needs {error.name}, which is not installed; "
            'install it with: pip install "playpen-core[testing]"'
        ) from None
    packs = {pack.name: pack for pack in map(find_pack, names)}
    return [PackModule.of(session, pack) for pack in packs.values()]
