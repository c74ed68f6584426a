"""Hook plugins of other distributions: imported, checked, and called through pluggy."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy
from sparts.dispatch import Hooks, Implementation, implementations, name_of, specifications
from sparts.entry_points import load_of
from sparts.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sparts.entry_points.scanning import EntryPoint


class PluginHooks(Hooks):
    """Calls hooks by name through pluggy."""

    def __init__(self, plugins: Mapping[str, object] = MappingProxyType({})) -> None:
        self.manager: pluggy.PluginManager = pluggy.PluginManager("sparts")
        self.manager.add_hookspecs(type("Specifications", (), dict(specifications)))
        super().__init__(plugins)

    def load(self, entries: Iterable[EntryPoint], tolerant: bool = False) -> None:
        """Import and register plugins; if ``tolerant``, leave out and note what is broken, here
        and in `collect`.

        Raises:
            PluginError: one fails to import or implements no valid hook; the message names it.
        """
        self.tolerant = tolerant
        for entry in entries:
            try:
                self.register(load_of(entry, "Hook plugin", PluginError), str(entry))
            except PluginError as error:
                if not tolerant:
                    raise
                self.broken.append(error)

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin; see `Hooks.register`."""
        name = name or name_of(plugin)
        implementations(plugin, name)
        try:
            self.manager.register(plugin, name)
        except ValueError as error:
            raise PluginError(f"Hook plugin {name} is registered already.") from error

    def unregister(self, plugin: object) -> None:
        """Remove a plugin; see `Hooks.unregister`."""
        if self.manager.is_registered(plugin):
            self.manager.unregister(plugin)

    def call(self, hook: str, /, **arguments: Any) -> Any:
        """Call a hook; returns its results, or its first result where the specification says so."""
        return getattr(self.manager.hook, hook)(**arguments)

    def callers(self, hook: str) -> tuple[Implementation, ...]:
        """Return the implementations of a hook, in the order in which they are called."""
        return tuple(
            Implementation(i.plugin, i.plugin_name, i.function, i.argnames, 0, i.wrapper)
            for i in reversed(getattr(self.manager.hook, hook).get_hookimpls())
        )
