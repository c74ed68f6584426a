"""Hook plugins: the core's own, and those of other distributions; loaded, blocked, called.

`sparts.dispatch` calls them. The library `sparts.entry_points` finds those, and tasks by name.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import sys
from typing import TYPE_CHECKING, Any

from sparts.entry_points import PLUGINS, find, kept_out_names
from sparts.hookspecs import hookimpl
from sparts.settings import Settings
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparts.dispatch import Hooks
    from sparts.options import OptionGroup
    from sparts.protocols import Service, Task

# -- hooks -----------------------------------------------------------------------------------------


#: The core's own hook plugins, modules of `sparts.builtin`, in the order of their registration.
BUILT_IN = (
    *("memory", "overrides", "checks", "listeners", "dryrun"),
    *("daemon", "processes", "runit", "systemd", "logs", "config"),
)


def built_in(name: str) -> Any:
    """Import and return one of the core's own hook plugins."""
    return importlib.import_module(f"sparts.builtin.{name}")


def blocked_options(service_class: type[Any]) -> dict[Any, str]:
    """Return the option groups of the core's own plugins that are blocked, each with its plugin.

    They stay in the parser, so that a user who sets one gets an error.
    """
    found: dict[Any, str] = {}
    for name in filter(kept_out_names().__contains__, BUILT_IN):
        if (add := getattr(built_in(name), "sparts_options_add", None)) is not None:
            groups = add()
            found.update(dict.fromkeys([groups] if isinstance(groups, type) else groups, name))
    return found


def load_hooks(tolerant: bool = False) -> Hooks:
    """Import every hook plugin that is installed and not blocked, the core's own first.

    Args:
        tolerant: leave out what is broken, and note it in `Hooks.broken`: for ``-h``.

    Raises:
        PluginError: one fails to import or implements no valid hook; the message names it.
    """
    own = tuple(itertools.filterfalse(kept_out_names().__contains__, BUILT_IN))
    entries = find(PLUGINS)
    if not entries:
        return _registered(own).copy()
    from sparts.dispatch.through_pluggy import PluginHooks

    hooks = PluginHooks(_own(own))
    hooks.load(entries, tolerant)
    return hooks


def _own(names: Iterable[str]) -> dict[str, Any]:
    return {"sparts": sys.modules[__name__]} | {name: built_in(name) for name in names}


@functools.lru_cache(maxsize=1)
def _registered(names: tuple[str, ...]) -> Hooks:
    """Return what `load_hooks` copies, which a start does three times."""
    from sparts.dispatch import Hooks

    return Hooks(_own(names))


# -- what sparts itself does at a hook, after the plugins ------------------------------------------


@hookimpl(tryfirst=True)
def sparts_options_add() -> type[OptionGroup]:
    """Add the options of the kernel."""
    return Settings


@hookimpl(trylast=True)
def sparts_process_wrap(service: Service) -> Any:
    """Run the service in this thread until it ends."""
    return service._run_process()


@hookimpl(trylast=True)
def sparts_service_reload(service: Service) -> None:
    """Read the options again, and have the tasks take in what changed."""
    service._instance.reloading.reload_parts()


@hookimpl(trylast=True)
def sparts_task_init(task: Task) -> bool:
    """Initialise the task."""
    ours(task).initTask()
    return True


@hookimpl(trylast=True)
def sparts_task_start(task: Task) -> bool:
    """Start the task."""
    ours(task).start()
    return True


@hookimpl(trylast=True)
def sparts_task_stop(task: Any) -> bool:
    """Stop the task."""
    task._supervisor.stop()
    return True
