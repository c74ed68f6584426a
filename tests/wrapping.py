"""Services all of whose calls one wrapper sees."""

from __future__ import annotations

from typing import Any

from sparts.hookspecs import hookimpl
from sparts.testing.running import service_of
from sparts.vservice import VService


class Plugin:
    """Wraps all calls in one wrapper."""

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper

    @hookimpl
    def sparts_call_wrap(self) -> Any:
        """Return the wrapper."""
        return self.wrapper


def wrapped_by(wrapper: Any, *tasks: Any) -> type[VService]:
    """Return a service of these tasks, all of whose calls a wrapper sees (None: none does)."""
    plugin = Plugin(wrapper)
    return service_of(*tasks, initService=lambda service: service.hooks.register(plugin))
