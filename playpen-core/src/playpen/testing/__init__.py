"""The conformance kit: what every game should stand, as a pytest plug-in for authors of packs.

Without a test file, for all games of a distribution, or for one game::

    pytest --playpen-pack my-pack

Or as part of a test suite::

    from playpen.testing import GameConformance

    class TestMyGame(GameConformance):
        game = MyGame()

It needs pytest and hypothesis: ``pip install "playpen-core[testing]"``.  What each check means and
how to mend a game that fails it stands in ``docs/conformance.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playpen.testing.conformance import GameConformance

__all__ = ["GameConformance"]


def __getattr__(name: str) -> type[GameConformance]:
    """Import the base class when it is asked for: every pytest run loads this package.

    Raises:
        ImportError: pytest or hypothesis is missing; says what to install.
    """
    if name != "GameConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from playpen.testing.conformance import GameConformance
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the conformance kit needs {error.name}, which is not installed; "
            'install it with: pip install "playpen-core[testing]"'
        ) from error
    return GameConformance
