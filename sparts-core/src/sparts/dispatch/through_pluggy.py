"""Hook plugins of other distributions: imported, checked, and called through pluggy."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy
from sparts.dispatch import Hooks, Implementation, implementations, name_of, specifications
from sparts.errors import PluginError, UsageError, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Self

    from sparts.entry_points.scanning import EntryPoint


class PluginHooks(Hooks):
    """Calls hooks by name through pluggy.

    Raises:
        PluginError: a plugin fails to import or implements no valid hook; the message names it.
    """

    def __init__(
        self,
        entries: Iterable[EntryPoint] = (),
        plugins: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self.manager: pluggy.PluginManager = pluggy.PluginManager("sparts")
        self.manager.add_hookspecs(type("Specifications", (), dict(specifications)))
        super().__init__(plugins)
        for entry in entries:
            self.register(load_module(entry), str(entry))

    @classmethod
    def load(
        cls, entries: Sequence[EntryPoint], tolerant: bool, plugins: Mapping[str, object]
    ) -> Self:
        """Import plugins; if ``tolerant``, leave out the broken ones, now and in `collect`."""
        broken: list[UsageError] = []
        try:
            hooks = cls(entries, plugins)
        except PluginError:
            if not tolerant:
                raise
            well = [entry for entry in entries if not _add_problem(entry, broken)]
            hooks = cls(well, plugins)
        hooks.tolerant, hooks.broken = tolerant, broken
        return hooks

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
        found = getattr(self.manager.hook, hook).get_hookimpls()
        return tuple(
            Implementation(
                each.plugin, each.plugin_name, each.function, each.argnames, 0, each.wrapper
            )
            for each in reversed(found)
        )


def load_module(entry: EntryPoint) -> Any:
    """Import a hook plugin.

    Raises:
        PluginError: the import failed; the message names the plugin.
    """
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        message = f"Hook plugin {entry} could not be imported: {describe(error)}"
        raise PluginError(message) from error


def _add_problem(entry: EntryPoint, broken: list[UsageError]) -> bool:
    """Return whether a plugin is broken; if so, note why."""
    try:
        PluginHooks([entry])
    except PluginError as error:
        broken.append(error)
        return True
    return False
