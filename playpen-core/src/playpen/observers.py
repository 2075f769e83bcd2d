"""Telling plug-ins what happens; one that raises does not end what it observes."""

from __future__ import annotations

import warnings
from typing import Any

from playpen.errors import PlaypenError
from playpen.plugins import registry

_warned: set[tuple[str, str]] = set()
"""Plug-ins and hooks of which it was told that they raise."""


def tell(event: str, *, may_refuse: bool = False, **arguments: Any) -> None:
    """Call a hook of all plug-ins that implement it, the one registered last first.

    What a plug-in raises becomes a warning, once for each of its hooks.

    Args:
        event: name of the hook.
        may_refuse: a `PlaypenError` goes to the caller: nothing has begun yet.
        arguments: of the hook.

    Raises:
        PlaypenError: of a plug-in that refuses.
        KeyboardInterrupt: somebody pressed Ctrl-C meanwhile.
    """
    for implementation in reversed(getattr(registry().manager.hook, event).get_hookimpls()):
        try:
            implementation.function(*(arguments[name] for name in implementation.argnames))
        except BaseException as error:
            refuses = may_refuse and isinstance(error, PlaypenError)
            if refuses or isinstance(error, KeyboardInterrupt):
                raise
            _warn(implementation.plugin_name, event, error)


def _warn(plugin: str, event: str, error: BaseException) -> None:
    if (plugin, event) not in _warned:
        _warned.add((plugin, event))
        cause = f"{type(error).__name__}: {error}"
        warnings.warn(f"the plug-in {plugin} failed in {event}: {cause}", stacklevel=3)
