"""``sparts tasks``: every task type that is installed, or all that is known of one."""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import textwrap
from typing import TYPE_CHECKING, Any

from sparts import entry_points, references
from sparts.cli import inspection
from sparts.cli.columns import rows, wrapped
from sparts.errors import PluginError
from sparts.masking import MASK
from sparts.options import add_options
from sparts.options.sources import bound_options

if TYPE_CHECKING:
    from sparts.options.binding import Binding


def main(argv: list[str]) -> int:
    """List the installed task types, or describe those that are named.

    Raises:
        UsageError: no task of a name is installed, or it cannot be imported.
    """
    parser = argparse.ArgumentParser(
        prog="sparts tasks",
        description="List the task types that are installed, with what each does. One that cannot "
        "be imported is shown with the reason; `sparts doctor` shows more.",
        epilog="With names: what each needs, and its options. `sparts run NAME` runs it.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a task, in any form that `sparts run` takes"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if args.names:
        found = [_load(name) for name in args.names]
        if args.json:
            _print_json([_describe_all(each) for each in found])
        else:
            print("\n".join(map(_text, found)))
        return 0
    entries = [entry for entry in entry_points.installed() if entry.group == entry_points.TASKS]
    inspected = [inspection.inspect_task(entry) for entry in entries]
    if args.json:
        _print_json([inspection.describe(each) for each in inspected])
    else:
        print(_listing(inspected))
    return 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def _listing(inspected: list[inspection.Inspected]) -> str:
    lines: list[str] = []
    inspected.sort(key=lambda each: (each.entry.distribution, each.entry.name))
    for owner, each in itertools.groupby(inspected, lambda found: found.entry.owner):
        lines.append(owner)
        lines += rows([(found.entry.name, found.state) for found in each])
    return "\n".join(lines) or "No task types are installed."


def _load(name: str) -> inspection.Inspected:
    """Import the task of a name, an alias left out."""
    target = name.rpartition("=")[2]
    if ":" in target:
        from sparts.cli.targets import import_object

        task = references.resolve(import_object(target))
        module = task.__module__.partition(".")[0]
        entry = entry_points.EntryPoint(entry_points.TASKS, task.__name__, target, module, "")
        return inspection.Inspected(entry, task)
    own, _, distribution = target.partition("@")
    known = [
        entry
        for entry in entry_points.installed()
        if (entry.group, entry.name) == (entry_points.TASKS, own)
        and (not distribution or entry.distribution == entry_points.normalized(distribution))
    ]
    if len(known) != 1:
        entry_points.load_task(own, distribution or None)  # says what is wrong
    found = inspection.inspect_task(known[0])
    if found.task is None:
        what = found.problem or f"Task {found.entry} is not available: {found.state}."
        raise PluginError(what)
    return found


def _text(found: inspection.Inspected) -> str:
    task: Any = found.task  # `_load` has found it
    parser = argparse.ArgumentParser(add_help=False, usage=argparse.SUPPRESS)
    add_options(parser, inspection.Sparts, [task])
    lines = [f"{task.__name__}, of {found.entry.owner.strip()}", ""]
    for paragraph in (inspect.getdoc(task) or "").replace("`", "").split("\n\n"):
        plain = not any(line.startswith((" ", "- ")) for line in paragraph.splitlines())
        shown = wrapped(paragraph, "  ") if plain else textwrap.indent(paragraph, "  ").splitlines()
        lines += [*shown, ""]
    needs = ", ".join(inspection.needs_of(task)) or "no other task"
    lines += wrapped(f"needs {needs}", "", " " * 6)
    options = parser.format_help().partition("\n\n")[2] or "  none\n"
    return "\n".join([*lines, "", "options:", options])


def _describe_all(found: inspection.Inspected) -> dict[str, Any]:
    task: Any = found.task  # `_load` has found it
    options = [_describe_option(binding) for binding in bound_options(task, inspection.Sparts)]
    return {**inspection.describe(found), "documentation": inspect.getdoc(task), "options": options}


def _describe_option(binding: Binding) -> dict[str, Any]:
    option, default = binding.option, binding.default
    secret = option.secret and default is not None
    return {
        "flag": binding.flag, "environment": binding.env, "default": MASK if secret else default,
        "required": option.required, "choices": option.choices, "help": option.help,
    }  # fmt: skip
