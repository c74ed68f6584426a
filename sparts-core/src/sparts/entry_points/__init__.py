"""Entry points: find, block, load; tasks by name.

`scanning` reads what is installed, `extras` finds which extra a task lacks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sparts.entry_points.scanning import EntryPoint as EntryPoint
from sparts.entry_points.scanning import distribution as distribution
from sparts.entry_points.scanning import distributions as distributions
from sparts.entry_points.scanning import load_object as load_object
from sparts.entry_points.scanning import normalized as normalized
from sparts.entry_points.scanning import scan, search_path
from sparts.errors import (
    AmbiguousTaskError,
    TaskLoadError,
    TaskNotFoundError,
    UsageError,
    describe,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TASKS = "sparts.tasks"
PLUGINS = "sparts.plugins"
COMMANDS = "sparts.commands"
OPTIONS, MODULES = "options", "modules"
"""No groups, but what `known_providers` calls the flags of hook plugins, and import names."""


# -- find ------------------------------------------------------------------------------------------


def find(group: str) -> list[EntryPoint]:
    """Return the entry points of one of our groups, sorted by name, blocked ones left out.

    Scans the installed distributions once for each state of ``sys.path``, and not at all when every
    plugin is blocked. Imports nothing of theirs.
    """
    if os.environ.get("SPARTS_LOAD_PLUGINS", "all").strip(" ,") == "":
        return []
    some = "SPARTS_LOAD_PLUGINS" in os.environ or kept_out_names()
    return [each for each in installed() if each.group == group and not (some and blocked(each))]


def installed() -> list[EntryPoint]:
    """Return the entry points of all our groups, sorted by group and name, blocked ones too."""
    path = tuple(search_path())
    if path not in _scanned:
        _scanned.clear()
        _scanned[path] = sorted(scan(path, (TASKS, PLUGINS, COMMANDS)))
    return _scanned[path]


_scanned: dict[tuple[str, ...], list[EntryPoint]] = {}


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


def named_in(argv: Sequence[str]) -> list[str]:
    """Return the values of ``--no-plugin`` in a command line that no parser has read yet."""
    flag = "--no-plugin"
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    after = [own[at + 1] for at, word in enumerate(own[:-1]) if word == flag]
    return after + [word[len(flag) + 1 :] for word in own if word.startswith(flag + "=")]


def blocked(entry: EntryPoint) -> bool:
    """Return whether an entry point is kept out.

    ``SPARTS_DISABLE_PLUGINS=a,b`` and ``--no-plugin a`` keep those out; ``SPARTS_LOAD_PLUGINS=a``
    lets only those in (empty: none); all by distribution or by entry-point name.
    """
    names = {entry.name, entry.distribution}
    only = os.environ.get("SPARTS_LOAD_PLUGINS")
    return bool(names & kept_out_names()) or (only is not None and not names & _listed(only))


def kept_out_names() -> set[str]:
    """Return what is blocked by its own name; nothing else blocks a plugin of the core."""
    return _kept_out | _listed(os.environ.get("SPARTS_DISABLE_PLUGINS", ""))


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
    task = load_of(entry, "Task", TaskLoadError)
    if not isinstance(task, type):
        raise TaskLoadError(f"Task {entry} is not a class but {task!r}.")
    if task.__name__ != entry.name:
        raise TaskLoadError(
            f"Task {entry} is a class named {task.__name__!r}. The entry point and its "
            f"class must have one name: correct the entry point in the distribution, or rename the "
            f"class."
        )
    return task


def load_of(entry: EntryPoint, kind: str, failure: type[UsageError]) -> Any:
    """Import what an entry point names; an error says what of which kind it is, and what it needs.

    Raises:
        UsageError: its import failed; of the type ``failure``.
    """
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        needed = None
        if isinstance(error, ImportError):
            from sparts.entry_points.extras import missing_extra, missing_requirement

            needed = missing_extra(entry, error) or missing_requirement(entry, error)
        hint = f". It needs {needed}: pip install '{needed}'" if needed else module_hint(error)
        message = f"{kind} {entry} could not be imported: {describe(error)}{hint}"
        raise failure(message) from error


def _not_found(name: str, distribution: str | None, everything: list[EntryPoint]) -> str:
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
    if near := nearest(name, {*names, *known}):
        message += f" Did you mean {near!r}?"
        if near not in names:
            message += f" {install_hint(known[near])}"
    elif names:
        message += f" Installed are: {', '.join(names)}."
    return message


def known_providers(group: str) -> dict[str, str]:
    """Return which distribution provides a name of a group, installed or not.

    Read from ``known.txt`` beside this module, which `make known` writes from the entry points of
    the distributions of this project.
    """
    import pkgutil

    text = (pkgutil.get_data(__name__, "known.txt") or b"").decode()
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name: distribution for kind, name, distribution in rows if kind == group}


def module_hint(error: BaseException) -> str:
    """Return what to install for a module of this project that an import did not find, or ``""``.

    It is to follow the text of the error.
    """
    name = (isinstance(error, ImportError) and error.name) or ""
    distribution = known_providers(MODULES).get(name) if name.startswith("sparts.") else None
    return f". It comes with {distribution}: pip install {distribution}" if distribution else ""


def install_hint(distribution: str) -> str:
    """Return what to do about something that a distribution provides which is not there."""
    if any(entry.distribution == distribution for entry in installed()):
        return (
            f"It comes with {distribution}, which SPARTS_DISABLE_PLUGINS, SPARTS_LOAD_PLUGINS or "
            f"--no-plugin keeps out."
        )
    return f"It comes with {distribution}: pip install {distribution}"
