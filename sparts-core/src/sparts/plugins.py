"""Entry points and the pluggy manager: find, check, block, load.

Finding reads ``entry_points.txt`` of every installed distribution, where a path entry is a folder,
by itself (https://packaging.python.org/en/latest/specifications/entry-points/): importlib.metadata
alone costs more time to import than a whole service needs to start. What is not a folder is left
to it.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.errors import AmbiguousTaskError, PluginError, TaskLoadError, TaskNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TASKS = "sparts.tasks"
PLUGINS = "sparts.plugins"
COMMANDS = "sparts.commands"

#: The tasks of our own plugins, so that a missing one can be told with the command that brings it.
OUR_TASKS = {
    "TornadoIOLoopTask": "sparts-tornado",
    "TornadoHTTPTask": "sparts-tornado",
}


class EntryPoint(NamedTuple):
    """One line of a distribution's ``entry_points.txt``."""

    group: str
    name: str
    value: str
    distribution: str
    version: str

    def load(self) -> Any:
        """Import and return the object that it names; whatever the import raises passes through."""
        module, _, attributes = self.value.partition(":")
        found = importlib.import_module(module.strip())
        for attribute in filter(None, attributes.partition("[")[0].strip().split(".")):
            found = getattr(found, attribute)
        return found

    def __str__(self) -> str:
        return f"{self.name!r} of {self.distribution} {self.version} ({self.value})"


# -- find ------------------------------------------------------------------------------------------


def find(group: str) -> list[EntryPoint]:
    """Return the entry points of one of our groups, sorted by name, blocked ones left out.

    Scans the installed distributions once for each state of ``sys.path``. Imports nothing of
    theirs.
    """
    path = tuple(sys.path)
    if path not in _scanned:
        _scanned.clear()
        _scanned[path] = sorted(_scan(path))
    return [entry for entry in _scanned[path] if entry.group == group and not blocked(entry)]


_scanned: dict[tuple[str, ...], list[EntryPoint]] = {}


def _scan(path: Iterable[str]) -> Iterator[EntryPoint]:
    seen: set[str] = set()  # the first distribution of a name on the path hides later ones
    for entry in dict.fromkeys(path):
        try:
            if entry.endswith(".egg"):
                raise NotADirectoryError
            folders = [
                f for f in os.listdir(entry or ".") if f.endswith((".dist-info", ".egg-info"))
            ]
        except NotADirectoryError:
            yield from _scan_by_metadata(seen, [entry])
            continue
        except OSError:
            continue
        for folder in folders:
            yield from _read_folder(seen, os.path.join(entry, folder))
    others = [finder for finder in sys.meta_path if finder is not PathFinder]
    if any(hasattr(finder, "find_distributions") for finder in others):
        yield from _scan_by_metadata(seen, None)


def _read_folder(seen: set[str], folder: str) -> Iterator[EntryPoint]:
    stem = os.path.basename(folder).rpartition(".")[0]
    name, _, version = stem.partition("-")
    name = normalized(name)
    if name in seen:
        return
    seen.add(name)
    try:
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return
    if "sparts." in text:
        yield from _parse(text, name, version.partition("-")[0] or _read_version(folder))


def _read_version(folder: str) -> str:
    """Return the version of a development install, whose folder's name does not tell it."""
    try:
        with open(os.path.join(folder, "PKG-INFO"), encoding="utf-8", errors="replace") as file:
            return next((s[8:].strip() for s in file if s.startswith("Version:")), "?")
    except OSError:
        return "?"


def _parse(text: str, distribution: str, version: str) -> Iterator[EntryPoint]:
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif group in (TASKS, PLUGINS, COMMANDS) and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield EntryPoint(group, name.strip(), value.strip(), distribution, version)


def _scan_by_metadata(seen: set[str], path: list[str] | None) -> Iterator[EntryPoint]:
    from importlib import metadata

    for found in metadata.distributions(path=sys.path if path is None else path):
        name = normalized(found.metadata["Name"] or "")
        if name and name not in seen:
            seen.add(name)
            for entry in found.entry_points:
                if entry.group in (TASKS, PLUGINS, COMMANDS):
                    yield EntryPoint(entry.group, entry.name, entry.value, name, found.version)


def normalized(distribution: str) -> str:
    """Return a distribution's name as the packaging standard compares it (PEP 503)."""
    words = distribution.lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(filter(None, words))


# -- block -----------------------------------------------------------------------------------------


def blocked(entry: EntryPoint) -> bool:
    """Tell whether the environment keeps an entry point out.

    ``SPARTS_DISABLE_PLUGINS=a,b`` keeps those out; ``SPARTS_LOAD_PLUGINS=a`` lets only those in
    (empty:
    none); both by distribution or by entry-point name.
    """
    names = {entry.name, entry.distribution}
    only = os.environ.get("SPARTS_LOAD_PLUGINS")
    if only is not None and not names & _listed(only):
        return True
    return bool(names & _listed(os.environ.get("SPARTS_DISABLE_PLUGINS", "")))


def _listed(text: str) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    return names | {normalized(name) for name in names}


# -- tasks by name ---------------------------------------------------------------------------------


def load_task(name: str, distribution: str | None = None) -> type[Any]:
    """Import the task type of a name from the entry points, of one distribution if given.

    Raises:
        TaskNotFoundError: nobody provides it; the message suggests what was meant or what to
            install.
        AmbiguousTaskError: several distributions provide it; the message says how to choose.
        TaskLoadError: its import failed, or it is not a class of that name.
    """
    everything = find(TASKS)
    found = [entry for entry in everything if entry.name == name]
    if distribution is not None:
        found = [entry for entry in found if entry.distribution == normalized(distribution)]
    if not found:
        raise TaskNotFoundError(_not_found(name, distribution, everything))
    if len(found) > 1:
        who = " and ".join(f"{entry.distribution} {entry.version}" for entry in found)
        choices = " or ".join(repr(f"{name}@{entry.distribution}") for entry in found)
        raise AmbiguousTaskError(f"{who} both provide a task named {name!r}. Name it as {choices}.")
    return _load_checked(found[0])


def _load_checked(entry: EntryPoint) -> type[Any]:
    try:
        task = entry.load()
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise TaskLoadError(f"Task {entry} could not be imported: {cause}") from error
    if not isinstance(task, type):
        raise TaskLoadError(f"Task {entry} is not a class but {task!r}.")
    if task.__name__ != entry.name:
        raise TaskLoadError(
            f"Task {entry} is a class named {task.__name__!r}. The entry point and its "
            f"class must have one name: correct the entry point in the distribution, or rename the "
            f"class."
        )
    return task


def _not_found(name: str, distribution: str | None, everything: list[EntryPoint]) -> str:
    import difflib

    names = sorted({entry.name for entry in everything})
    if distribution is not None:
        providers = [entry.distribution for entry in everything if entry.name == name]
        if providers:
            return (
                f"{distribution} provides no task named {name!r}; {' and '.join(providers)} does."
            )
    message = f"No task is named {name!r}."
    if name in OUR_TASKS and name not in names:
        return f"{message} It comes with {OUR_TASKS[name]}: pip install {OUR_TASKS[name]}"
    near = difflib.get_close_matches(name, {*names, *OUR_TASKS}, n=1, cutoff=0.6)
    if near:
        message += f" Did you mean {near[0]!r}?"
        if near[0] not in names:
            message += f" It comes with {OUR_TASKS[near[0]]}: pip install {OUR_TASKS[near[0]]}"
    elif names:
        message += f" Installed are: {', '.join(names)}."
    return message


# -- hooks -----------------------------------------------------------------------------------------


class _Defaults:
    """What sparts itself does at a hook; with no plugin installed, all that is done."""

    @staticmethod
    def sparts_task_init(task: Any) -> bool:
        task.initTask()
        return True

    @staticmethod
    def sparts_task_start(task: Any) -> bool:
        task.start()
        return True

    @staticmethod
    def sparts_task_stop(task: Any) -> bool:
        task.stop()
        return True


class Hooks:
    """Calls hooks by name. Imports pluggy only when there is a plugin to call."""

    def __init__(self, entries: Iterable[EntryPoint] = ()) -> None:
        self.manager: Any = None
        for entry in entries:
            try:
                module = entry.load()
            except Exception as error:
                cause = f"{type(error).__name__}: {error}"
                raise PluginError(f"Hook plugin {entry} could not be imported: {cause}") from error
            self.register(module, str(entry))

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin: a module or object with functions marked by `sparts.hookspecs.hookimpl`.

        Raises:
            PluginError: it implements no hook, or one that does not exist or has other parameters.
        """
        import pluggy

        if self.manager is None:
            self.manager = self._make_manager()
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

    @staticmethod
    def _make_manager() -> Any:
        import pluggy
        from sparts import hookspecs

        manager = pluggy.PluginManager("sparts")
        manager.add_hookspecs(hookspecs)
        for name in vars(_Defaults):
            if name.startswith("sparts_"):
                hookspecs.hookimpl(trylast=True)(getattr(_Defaults, name))
        manager.register(_Defaults, "sparts")
        return manager

    def call(self, hook: str, /, **arguments: Any) -> Any:
        """Call a hook; returns its results, or its first result where the specification says so."""
        if self.manager is not None:
            return getattr(self.manager.hook, hook)(**arguments)
        default = getattr(_Defaults, hook, None)
        return default(**arguments) if default else []


def load_hooks() -> Hooks:
    """Import every hook plugin that is installed and not blocked.

    Raises:
        PluginError: one fails to import or implements no valid hook; the message names it.
    """
    return Hooks(find(PLUGINS))
