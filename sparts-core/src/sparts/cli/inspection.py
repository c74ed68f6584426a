"""What is known of one installed task type, after an import that may fail."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts import entry_points, references
from sparts.entry_points.extras import missing_extra
from sparts.errors import UsageError
from sparts.options.arguments import first_line
from sparts.vservice import VService

if TYPE_CHECKING:
    from sparts.vtask import VTask


class Sparts(VService):
    """The service that `sparts run` makes, for the names of options and variables."""


class Inspected(NamedTuple):
    """An entry point of a task, and what came of importing it.

    Attributes:
        entry: the entry point.
        task: the class; None if it was not or could not be imported.
        blocked: whether the environment keeps it out; then it is not imported.
        needs: the extra that it lacks, as ``sparts-core[cron]``.
        problem: what is wrong with it, as a sentence; ``""`` for nothing, or if it needs an extra.
        cause: the same without what it is wrong with; or which module an extra would bring.
    """

    entry: entry_points.EntryPoint
    task: type[VTask] | None = None
    blocked: bool = False
    needs: str | None = None
    problem: str = ""
    cause: str = ""

    @property
    def state(self) -> str:
        """One line: what it does, or why it does nothing."""
        if self.blocked:
            return "BLOCKED by SPARTS_DISABLE_PLUGINS or SPARTS_LOAD_PLUGINS"
        if self.needs:
            return f"needs {self.needs}"
        return f"BROKEN: {self.cause}" if self.task is None else first_line(self.task)


def inspect_task(entry: entry_points.EntryPoint) -> Inspected:
    """Import the task of an entry point, unless it is blocked; raises nothing."""
    if entry_points.blocked(entry):
        return Inspected(entry, blocked=True)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a module prints is not our answer
            return Inspected(entry, references.resolve(entry_points.load_checked(entry)))
    except UsageError as error:
        cause = error.__cause__
        if isinstance(cause, ImportError) and (extra := missing_extra(entry, cause)):
            return Inspected(entry, needs=extra, cause=str(cause))
        short = str(error).removeprefix(f"Task {entry} could not be imported: ")
        return Inspected(entry, problem=str(error), cause=short)


def needs_of(task: type[VTask]) -> list[str]:
    """Return the names of what a task depends on directly, as it names them."""
    return [each if isinstance(each, str) else each.__name__ for each in task._dependencies()]


def describe(found: Inspected) -> dict[str, Any]:
    """Return what is known of a task, without its options, as plain values for JSON."""
    entry, task = found.entry, found.task
    return {
        "name": entry.name, "distribution": entry.distribution, "version": entry.version,
        "target": entry.value, "description": first_line(task) if task else None,
        "depends_on": needs_of(task) if task else None, "blocked": found.blocked,
        "needs": found.needs, "broken": found.problem or None,
    }  # fmt: skip
