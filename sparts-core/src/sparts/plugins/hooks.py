"""Hook plugins: imported, checked against the specifications, and called through pluggy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy
from sparts import hookspecs
from sparts.errors import PluginError, UsageError, describe, message_of
from sparts.plugins import EntryPoint, Hooks, _Defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self


class PluginHooks(Hooks):
    """Calls hooks by name in every plugin that implements them.

    Raises:
        PluginError: a plugin fails to import or implements no valid hook; the message names it.
    """

    def __init__(self, entries: Iterable[EntryPoint] = ()) -> None:
        super().__init__()
        self.tolerant = False
        self.manager = _make_manager()
        for entry in entries:
            self.register(load_module(entry), str(entry))

    @classmethod
    def load(cls, entries: Sequence[EntryPoint], tolerant: bool) -> Self:
        """Import plugins; if ``tolerant``, leave out the broken ones, now and in `collect`."""
        broken: list[UsageError] = []
        try:
            hooks = cls(entries)
        except PluginError:
            if not tolerant:
                raise
            hooks = cls(entry for entry in entries if not _add_problem(entry, broken))
        hooks.tolerant, hooks.broken = tolerant, broken
        return hooks

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin: a module or object with functions marked by `sparts.hookspecs.hookimpl`.

        Raises:
            PluginError: it implements no hook, or one that does not exist or has other parameters.
        """
        try:
            self.manager.register(plugin, name)
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"Hook plugin {name} is wrong: {error}") from error
        if not self.manager.get_hookcallers(plugin):
            raise PluginError(
                f"Hook plugin {name} implements no hook. Mark its functions with "
                f"`from sparts.hookspecs import hookimpl`, and name them as in sparts.hookspecs."
            )

    def call(self, hook: str, /, **arguments: Any) -> Any:
        """Call a hook; returns its results, or its first result where the specification says so."""
        return getattr(self.manager.hook, hook)(**arguments)

    def collect(
        self, hook: str, convert: Callable[[Any], Any] | None = None, /, **arguments: Any
    ) -> list[Any]:
        """Return what all plugins contribute by a hook; see `Hooks.collect`.

        Plugins are asked one by one, so that an error names the one that it comes from.
        """
        found: list[Any] = []
        caller = getattr(self.manager.hook, hook)
        for plugin in [each.plugin for each in reversed(caller.get_hookimpls())]:
            others = [other for other in self.manager.get_plugins() if other is not plugin]
            name = self.manager.get_name(plugin)
            try:
                for result in self.manager.subset_hook_caller(hook, others)(**arguments):
                    items = _items(result)
                    found += items if convert is None else [convert(item) for item in items]
            except Exception as error:
                told = message_of(error) if isinstance(error, UsageError) else describe(error)
                problem = PluginError(f"Hook plugin {name} failed in {hook}: {told}")
                if not self.tolerant:
                    raise problem from error
                self.broken.append(problem)
        return found


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
    """Tell whether a plugin is broken; if so, note why."""
    try:
        PluginHooks([entry])
    except PluginError as error:
        broken.append(error)
        return True
    return False


def _make_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("sparts")
    manager.add_hookspecs(hookspecs)
    for name in vars(_Defaults):
        if name.startswith("sparts_"):
            hookspecs.hookimpl(trylast=True)(getattr(_Defaults, name))
    manager.register(_Defaults, "sparts")
    return manager


def _items(result: Any) -> list[Any]:
    """What one implementation returned: one thing, several, or a mapping's pairs."""
    if isinstance(result, str | type):
        return [result]
    return list(result.items() if isinstance(result, Mapping) else result)
