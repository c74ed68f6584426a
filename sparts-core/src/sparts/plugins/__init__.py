"""Entry points and the pluggy manager: find, check, block, load.

Here is what every service needs; `hooks` calls hook plugins where there are any, `extras` tells
which extra a task lacks.

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

from sparts.errors import AmbiguousTaskError, TaskLoadError, TaskNotFoundError, UsageError, describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sparts.plugins.dispatch import Hooks

TASKS = "sparts.tasks"
PLUGINS = "sparts.plugins"
COMMANDS = "sparts.commands"


class EntryPoint(NamedTuple):
    """One line of a distribution's ``entry_points.txt``."""

    group: str
    name: str
    value: str
    distribution: str
    version: str

    def load(self) -> Any:
        """Import and return the object that it names; whatever the import raises passes through."""
        return load_object(self.value)

    @property
    def owner(self) -> str:
        """The distribution and its version, as messages show them."""
        return f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.name!r} of {self.owner} ({self.value})"


def load_object(target: str) -> Any:
    """Import and return what ``module:name`` means; whatever the import raises passes through."""
    module, _, attributes = target.partition(":")
    found = importlib.import_module(module.strip())
    for attribute in filter(None, attributes.partition("[")[0].strip().split(".")):
        found = getattr(found, attribute)
    return found


# -- find ------------------------------------------------------------------------------------------


def find(group: str) -> list[EntryPoint]:
    """Return the entry points of one of our groups, sorted by name, blocked ones left out.

    Scans the installed distributions once for each state of ``sys.path``, and not at all when every
    plugin is blocked. Imports nothing of theirs.
    """
    if os.environ.get("SPARTS_LOAD_PLUGINS", "all").strip(" ,") == "":
        return []
    return [entry for entry in installed() if entry.group == group and not blocked(entry)]


def installed() -> list[EntryPoint]:
    """Return the entry points of all our groups, sorted by group and name, blocked ones too."""
    path = tuple(sys.path)
    if path not in _scanned:
        _scanned.clear()
        _scanned[path] = sorted(_scan(path))
    return _scanned[path]


_scanned: dict[tuple[str, ...], list[EntryPoint]] = {}


def _scan(path: Iterable[str]) -> Iterator[EntryPoint]:
    seen: set[str] = set()  # the first distribution of a name on the path hides later ones
    for entry in dict.fromkeys(path):
        try:
            if entry.endswith(".egg"):
                raise NotADirectoryError
            names = os.listdir(entry or ".")
        except NotADirectoryError:
            yield from _scan_by_metadata(seen, [entry])
            continue
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                yield from _read_folder(seen, os.path.join(entry, name), name)
    others = [finder for finder in sys.meta_path if finder is not PathFinder]
    if any(hasattr(finder, "find_distributions") for finder in others):
        yield from _scan_by_metadata(seen, None)


def _read_folder(seen: set[str], folder: str, base: str) -> Iterable[EntryPoint]:
    name, _, version = base[: base.rindex(".")].partition("-")
    name = normalized(name)
    if name in seen:
        return ()
    seen.add(name)
    try:  # as open() does, but in half of the time: there may be hundreds, nearly all for others
        descriptor = os.open(folder + "/entry_points.txt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        data = os.read(descriptor, _READ)
        while len(data) % _READ == 0 and (more := os.read(descriptor, _READ)):
            data += more
    except OSError:
        return ()
    finally:
        os.close(descriptor)
    if b"sparts." not in data:
        return ()
    text = data.decode(errors="replace")
    return _parse(text, name, version.partition("-")[0] or _read_version(folder))


_READ = 1 << 16


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
    name = distribution.lower().replace("_", "-").replace(".", "-")
    return name if "--" not in name else "-".join(filter(None, name.split("-")))


# -- block -----------------------------------------------------------------------------------------


_kept_out: set[str] = set()


def keep_out(names: Iterable[str]) -> None:
    """Block plugins for the rest of this process, as ``SPARTS_DISABLE_PLUGINS`` does; any thread.

    What has been imported already stays. A name that nobody has is passed over.
    """
    _kept_out.update(_listed(",".join(names)))


def kept_out(name: str) -> str:
    """Return the name of a plugin that `keep_out` blocked.

    Raises:
        UsageError: it was not.
    """
    if not _kept_out >= _listed(name):
        raise UsageError(
            f"{name!r} comes too late, plugins are loaded already. Write the flag in full, or set "
            f"SPARTS_DISABLE_PLUGINS={name}"
        )
    return name


def named_in(argv: Sequence[str], flag: str = "--no-plugin") -> list[str]:
    """Return the values of a flag in a command line that no parser has read yet."""
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    after = [own[at + 1] for at, word in enumerate(own[:-1]) if word == flag]
    return after + [word[len(flag) + 1 :] for word in own if word.startswith(flag + "=")]


def blocked(entry: EntryPoint) -> bool:
    """Tell whether an entry point is kept out.

    ``SPARTS_DISABLE_PLUGINS=a,b`` and ``--no-plugin a`` keep those out; ``SPARTS_LOAD_PLUGINS=a``
    lets only those in (empty: none); all by distribution or by entry-point name.
    """
    names = {entry.name, entry.distribution}
    only = os.environ.get("SPARTS_LOAD_PLUGINS")
    if only is not None and not names & _listed(only):
        return True
    return bool(names & (_kept_out | _listed(os.environ.get("SPARTS_DISABLE_PLUGINS", ""))))


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
        who = " and ".join(entry.owner for entry in found)
        choices = " or ".join(repr(f"{name}@{entry.distribution}") for entry in found)
        raise AmbiguousTaskError(f"{who} both provide a task named {name!r}. Name it as {choices}.")
    return load_checked(found[0])


def load_checked(entry: EntryPoint) -> type[Any]:
    """Import the task type that an entry point names.

    Raises:
        TaskLoadError: its import failed, or it is not a class of that name.
    """
    try:
        task = entry.load()
    except (Exception, SystemExit) as error:
        message = f"Task {entry} could not be imported: {describe(error)}"
        if isinstance(error, ImportError):
            from sparts.plugins.extras import missing_extra

            if extra := missing_extra(entry, error):
                message += f". It needs {extra}: pip install '{extra}'"
        raise TaskLoadError(message) from error
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

    for entry in installed():
        mine = distribution is None or entry.distribution == normalized(distribution)
        if (entry.group, entry.name) == (TASKS, name) and mine and blocked(entry):
            return (
                f"Task {entry} is kept out by SPARTS_DISABLE_PLUGINS, SPARTS_LOAD_PLUGINS or "
                f"--no-plugin."
            )
    names = sorted({entry.name for entry in everything})
    if distribution is not None:
        providers = [entry.distribution for entry in everything if entry.name == name]
        if providers:
            return (
                f"{distribution} provides no task named {name!r}; {' and '.join(providers)} does."
            )
    message = f"No task is named {name!r}."
    known = known_providers(TASKS)
    if name in known and name not in names:
        return f"{message} {install_hint(known[name])}"
    near = difflib.get_close_matches(name, {*names, *known}, n=1, cutoff=0.6)
    if near:
        message += f" Did you mean {near[0]!r}?"
        if near[0] not in names:
            message += f" {install_hint(known[near[0]])}"
    elif names:
        message += f" Installed are: {', '.join(names)}."
    return message


def known_providers(group: str) -> dict[str, str]:
    """Return which distribution provides a name of a group, installed or not.

    Read from ``known.txt`` beside this module, which `make known` writes from the entry points of
    the distributions of this project.
    """
    from importlib import resources

    lines = resources.files(__name__).joinpath("known.txt").read_text().splitlines()
    rows = (line.split() for line in lines if not line.startswith("#"))
    return {name: distribution for kind, name, distribution in rows if kind == group}


def install_hint(distribution: str) -> str:
    """Return what to do about something that a distribution provides which is not installed."""
    return f"It comes with {distribution}: pip install {distribution}"


# -- hooks -----------------------------------------------------------------------------------------


def load_hooks(tolerant: bool = False) -> Hooks:
    """Import every hook plugin that is installed and not blocked.

    Args:
        tolerant: leave out what is broken, and note it in `Hooks.broken`: for ``-h``.

    Raises:
        PluginError: one fails to import or implements no valid hook; the message names it.
    """
    entries = find(PLUGINS)
    if not entries:
        from sparts.plugins.dispatch import Hooks

        return Hooks()
    from sparts.plugins.hooks import PluginHooks

    return PluginHooks.load(entries, tolerant)
