"""``sparts doctor``: imports everything that is installed for sparts, and reports problems."""

from __future__ import annotations

import argparse
import os
import shlex
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sparts import entry_points, plugins
from sparts.cli.columns import wrapped
from sparts.entry_points.extras import missing_extra
from sparts.entry_points.scanning import leftovers
from sparts.errors import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from packaging.requirements import Requirement
    from sparts.cli import inspection


class Finding(NamedTuple):
    """Something to report.

    Attributes:
        text: sentences for a person.
        todo: what to do about it.
        wrong: False for what is good to know and nothing wrong.
    """

    text: str
    todo: str = ""
    wrong: bool = True


def main(argv: list[str]) -> int:
    """Examine what is installed; status 1 if anything is wrong."""
    parser = argparse.ArgumentParser(
        prog="sparts doctor",
        description="Import every task type, hook module and subcommand that is installed, and "
        "report problems of them and of their installation. A task whose extra is not "
        "installed is reported as such and is no problem.",
        epilog="Exit status: 0 if all is well, 1 if something is wrong. What is blocked "
        "(SPARTS_DISABLE_PLUGINS, SPARTS_LOAD_PLUGINS) is not imported.",
    )
    parser.add_argument(
        "--compat",
        metavar="MODULE:SERVICE",
        help="show what a service for sparts 0.7 finds unchanged, changed and missing (with "
        "sparts-dev)",
    )
    if target := parser.parse_args(argv).compat:
        from sparts.cli import find_command, load_command

        return load_command(find_command("doctor-compat"))([target]) or 0
    wrong = 0
    for finding in examine():
        wrong += finding.wrong
        print("\n".join(wrapped(finding.text, "WRONG: " if finding.wrong else "Note:  ", " " * 7)))
        if finding.todo:
            print("\n".join(wrapped(finding.todo, "       To do: ", " " * 14)))
    kinds = Counter(entry.group for entry in entry_points.installed())
    owners = {entry.distribution for entry in entry_points.installed()}
    text = (
        f"Examined: distributions {len(owners)}, tasks {kinds[entry_points.TASKS]}, "
        f"hook modules {kinds[entry_points.PLUGINS]}, commands {kinds[entry_points.COMMANDS]}; "
    )
    print("\n".join(wrapped(text + (f"{wrong} wrong." if wrong else "all is well."), rest="")))
    return 1 if wrong else 0


def examine() -> Iterator[Finding]:
    """Look at everything; what comes first may be the cause of what comes later."""
    yield from examine_namespace()
    yield from examine_leftovers()
    yield from examine_requirements()
    yield from examine_blocks()
    try:
        from sparts.cli import inspection
    except Exception as error:
        yield Finding(
            f"sparts itself cannot be imported: {describe(error)}",
            "pip install --force-reinstall --no-deps sparts-core",
        )
        return
    entries = entry_points.find(entry_points.TASKS)
    yield from examine_names("task", entries)
    yield from examine_tasks([inspection.inspect_task(entry) for entry in entries])
    yield from examine_hooks()
    yield from examine_commands()


def examine_namespace() -> Iterator[Finding]:
    """Find what damages the packages that the distributions share."""
    from sparts_command import find_strays, stray_message

    for file in find_strays():
        text, _, todo = stray_message(file).partition(". ")
        yield Finding(f"{text}.", todo)
    for found in entry_points.distributions("sparts"):
        yield Finding(
            f"sparts {found.version}, of which sparts-core is the successor, is installed "
            f"beside it; both have files of the same names.",
            "pip uninstall sparts, then pip install --force-reinstall --no-deps sparts-core",
        )


def examine_leftovers() -> Iterator[Finding]:
    """Name the folders that an installation or an uninstallation left behind."""
    for folder in leftovers():
        text = f"{folder} is the leftover of an installation that was stopped, and is ignored."
        yield Finding(text, f"Remove it: rm -r {shlex.quote(folder)}", wrong=False)


def examine_requirements() -> Iterator[Finding]:
    """Compare what distributions require with what is installed, if `packaging` is.

    So for the distributions of tasks and hooks, then for what these require: a server of HTTP or
    gRPC stands on a dozen others, whose versions have to fit each other.
    """
    try:
        from packaging import requirements
    except ImportError:
        text = "Versions that distributions require were not examined: that needs packaging."
        yield Finding(text, "pip install packaging", wrong=False)
        return
    owners = sorted({"sparts-core", *(entry.distribution for entry in entry_points.installed())})
    # Each with the extras that are asked of it; None: all that are there are looked at.
    waiting: list[tuple[str, frozenset[str] | None]] = [(owner, None) for owner in owners]
    seen = set(waiting)
    for owner, asked in waiting:
        found = entry_points.distribution(owner)
        if found is None:
            continue
        for line in found.requires or ():
            try:
                required = requirements.Requirement(line)
            except requirements.InvalidRequirement as error:
                yield Finding(f"{owner} {found.version} requires {line!r}: {error}")
                continue
            extras = found.metadata.get_all("Provides-Extra") or ()
            needed = _is_asked(required, asked or ("",))
            if not needed and (asked is not None or not _is_asked(required, extras)):
                continue
            installed = entry_points.distribution(required.name)
            todo = f"pip install '{required.name}{required.specifier}'"
            if installed is None:
                if needed:
                    text = f"{owner} {found.version} requires {required.name}, which is missing."
                    yield Finding(text, todo)
                continue
            if not required.specifier.contains(installed.version, prereleases=True):
                yield Finding(
                    f"{owner} {found.version} requires {required.name}{required.specifier}; "
                    f"installed is {installed.version}.",
                    todo,
                )
            following = entry_points.normalized(required.name), frozenset({"", *required.extras})
            if following[0] not in owners and following not in seen:
                seen.add(following)
                waiting.append(following)


def _is_asked(required: Requirement, extras: Iterable[str]) -> bool:
    """Return whether something is required with one of these extras."""
    marker = required.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def examine_blocks() -> Iterator[Finding]:
    """Report plugins that the environment keeps out, and of names that nobody has."""
    known = {
        name for entry in entry_points.installed() for name in (entry.name, entry.distribution)
    }
    for variable in ("SPARTS_DISABLE_PLUGINS", "SPARTS_LOAD_PLUGINS"):
        for name in filter(None, map(str.strip, os.environ.get(variable, "").split(","))):
            if not known & {name, entry_points.normalized(name)}:
                text = f"{variable} names {name!r}, which is nothing that is installed."
                yield Finding(text, wrong=False)
    if blocked := [str(each) for each in entry_points.installed() if entry_points.blocked(each)]:
        yield Finding(f"Blocked, so not examined: {', '.join(blocked)}.", wrong=False)


def examine_names(kind: str, entries: list[entry_points.EntryPoint]) -> Iterator[Finding]:
    """Find names that several have."""
    for name, count in Counter(entry.name for entry in entries).items():
        if count > 1:
            own = [entry for entry in entries if entry.name == name]
            text = f"{' and '.join(entry.owner for entry in own)} both provide a {kind} {name!r}."
            choices = " or ".join(repr(f"{name}@{entry.distribution}") for entry in own)
            choose = f"Name it {choices}, or keep one out: " if kind == "task" else "Keep one out: "
            yield Finding(text, f"{choose}SPARTS_DISABLE_PLUGINS={own[-1].distribution}")


def examine_tasks(tasks: list[inspection.Inspected]) -> Iterator[Finding]:
    """Report which tasks cannot be imported or are not what their entry point says."""
    from sparts.builtin.overrides import find_problems  # imports what may be broken

    for found in tasks:
        if found.needs:
            yield _needs_extra(f"Task {found.entry}", found.needs, found.cause)
        elif found.problem:
            yield Finding(found.problem, _ask_or_block(found.entry))
        elif found.task is not None:
            for problem in find_problems(None, [found.task]):
                yield Finding(f"{found.entry}: {problem}", wrong=problem.error)


def examine_hooks() -> Iterator[Finding]:
    """Import hook modules, hold them to the specifications, and ask what they add to a service."""
    from sparts.cli.inspection import Sparts
    from sparts.errors import UsageError
    from sparts.kernel.runner import build_parser, resolve_tasks

    hooks = plugins.load_hooks(tolerant=True)
    problems: list[UsageError] = []
    for add in (resolve_tasks, build_parser):
        try:
            add(Sparts, hooks)
        except UsageError as error:
            problems.append(error)
    for problem in dict.fromkeys(map(str, [*hooks.broken, *problems])):
        own = [entry for entry in entry_points.find(entry_points.PLUGINS) if str(entry) in problem]
        yield Finding(problem, _ask_or_block(own[0]) if own else "")


def examine_commands() -> Iterator[Finding]:
    """Import the subcommands of plugins."""
    from sparts.cli import COMMANDS, load_command
    from sparts.errors import PluginError

    entries = entry_points.find(entry_points.COMMANDS)
    yield from examine_names("command", entries)
    for entry in entries:
        if entry.name in COMMANDS:
            text = f"Command {entry} is never called: `sparts {entry.name}` is a command of ours."
            yield Finding(text, _ask_or_block(entry))
        try:
            load_command(entry)
        except PluginError as error:
            cause = error.__cause__
            extra = missing_extra(entry, cause) if isinstance(cause, ImportError) else None
            if extra is None:
                yield Finding(str(error), _ask_or_block(entry))
            else:
                yield _needs_extra(f"Command {entry}", extra, cause)


def _needs_extra(what: str, extra: str, cause: object) -> Finding:
    return Finding(f"{what} needs {extra}: {cause}.", f"To use it: pip install '{extra}'", False)


def _ask_or_block(entry: entry_points.EntryPoint) -> str:
    return (
        f"Install it again or another version, inform its authors, or keep it out: "
        f"SPARTS_DISABLE_PLUGINS={entry.distribution}"
    )
