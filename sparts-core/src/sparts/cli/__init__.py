"""The `sparts` command: run tasks without code, see what is installed, find out what is wrong.

`COMMANDS` is the one table of our own subcommands. Plugins add theirs by entry points of the group
``sparts.commands``. Both name a function that takes the rest of the command line and returns an
exit status; its module is imported only when the subcommand is called.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple, cast

from sparts import entry_points
from sparts.errors import (
    PluginError,
    SpartsError,
    UsageError,
    message_of,
    nearest,
    status_of,
)
from sparts.standard_streams import command_output, complain, open_closed_streams, write_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_INTERRUPTED = 130


class Command(NamedTuple):
    """A subcommand of ours.

    Attributes:
        target: ``module:function``, called with the words after the subcommand; it returns the exit
            status (None: 0). A `UsageError` that it raises is shown without a traceback, with
            status 2.
        summary: what it does, for ``sparts --help``; at most 60 characters.
    """

    target: str
    summary: str


COMMANDS = {
    "run": Command("sparts.cli.run:main", "run a service, or tasks by their names"),
    "tasks": Command(
        "sparts.cli.tasks:main", "list the task types that are installed, or describe one"
    ),
    "plugins": Command(
        "sparts.cli.plugins:main", "list what the installed distributions add to sparts"
    ),
    "doctor": Command("sparts.cli.doctor:main", "import everything and report each problem"),
}
FLAGS = {"run-reload": "--reload", "doctor-compat": "--compat"}
"""Commands of sparts-dev that a flag of one of ours calls; ``sparts --help`` lists none of them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Be the `sparts` command, and return its exit status.

    Args:
        argv: the words after ``sparts``; None takes those of the process.
    """
    open_closed_streams()
    if getattr(sys.stdout, "errors", "") == "strict":  # show what its encoding lacks as \u6f22
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    words = list(sys.argv[1:] if argv is None else argv)
    if not sys.flags.safe_path and "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m sparts` has it
    name = words[0] if words else "--help"
    try:
        with command_output():
            status = _run(name, words[1:])
            sys.stdout.flush()
            return status
    except SpartsError as error:
        write_out()
        command = f"sparts{'' if name.startswith('-') else ' ' + name}"
        complain(f"{command}: error: {message_of(error)}")
        return status_of(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _run(name: str, words: list[str]) -> int:
    """Run the subcommand of a name, or what stands in its place, and return the exit status."""
    if name in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return 0
    if name == "--version":
        found = entry_points.distribution("sparts-core")
        print("sparts-core", found.version if found else "?")
        return 0
    entry = find_command(name)
    sys.argv = [f"sparts {name}", *words]
    return load_command(entry)(words) or 0


def our_commands() -> list[entry_points.EntryPoint]:
    """Return our own subcommands as the entry points that they could be."""
    group = entry_points.COMMANDS
    return [
        entry_points.EntryPoint(group, name, command.target, "sparts-core", "")
        for name, command in COMMANDS.items()
    ]


def find_command(name: str) -> entry_points.EntryPoint:
    """Return the subcommand of a name; ours come before those of plugins.

    Raises:
        UsageError: there is none, or several plugins have it.
    """
    ours, others = our_commands(), entry_points.find(entry_points.COMMANDS)
    found = [each for each in ours if each.name == name]
    found = found or [each for each in others if each.name == name]
    if len(found) > 1:
        who = " and ".join(entry.owner for entry in found)
        raise UsageError(
            f"{who} both provide the command {name!r}. Keep one out: "
            f"SPARTS_DISABLE_PLUGINS={found[-1].distribution}"
        )
    if found:
        return found[0]
    if name.startswith("-"):
        raise UsageError(f"No option {name!r}. A command comes first: see `sparts --help`.")
    if name in (known := entry_points.known_providers(entry_points.COMMANDS)):
        what = f"No option {FLAGS[name]!r}" if name in FLAGS else f"No command is named {name!r}"
        raise UsageError(f"{what}. {entry_points.install_hint(known[name])}")
    near = nearest(name, [entry.name for entry in (*ours, *others)])
    near = f"sparts run {name}" if ":" in name else near
    hint = f"Did you mean {near!r}?" if near else "See `sparts --help`."
    raise UsageError(f"No command is named {name!r}. {hint}")


def load_command(entry: entry_points.EntryPoint) -> Callable[[list[str]], int | None]:
    """Import a subcommand and return its function.

    Raises:
        PluginError: it is a plugin's, and cannot be imported or is no function.
    """
    own = entry.value.startswith("sparts.cli.")
    function = entry.load() if own else entry_points.load_of(entry, "Command", PluginError)
    if not callable(function):
        raise PluginError(f"Command {entry} is not a function but {function!r}.")
    return cast("Callable[[list[str]], int | None]", function)


HEAD = """\
usage: sparts COMMAND [options]

Run long-running services made of tasks, and see what is installed for them.

commands:
"""
FOOT = """
examples:
  sparts run TornadoHTTPTask           a service from the name of a task
  sparts run my_service:MyService -h   all options of a service of your own
  sparts tasks                         what there is to run
  sparts tasks TornadoHTTPTask         what one task does, needs and takes
  sparts doctor                        is everything well?

`sparts COMMAND --help` shows more. SPARTS_DISABLE_PLUGINS=a,b keeps plugins
out, SPARTS_LOAD_PLUGINS=a lets only those in: by distribution or entry point.
"""


def help_text() -> str:
    """Return what ``sparts --help`` prints. Imports nothing of a plugin's."""
    others = [e for e in entry_points.find(entry_points.COMMANDS) if e.name not in FLAGS]
    found = [(name, command.summary) for name, command in COMMANDS.items()]
    found += [(each.name, summary_of(each) or f"(of {each.owner})") for each in others]
    width = max(len(name) for name, _ in found)
    return HEAD + "".join(f"  {name:<{width}} {text}\n" for name, text in found) + FOOT


def summary_of(entry: entry_points.EntryPoint) -> str:
    """Return the first line of the docstring of a plugin's command, read and not imported."""
    import ast

    module, _, name = entry.value.partition(" ")[0].partition(":")
    stem = module.replace(".", "/")
    ends = (f"{stem}.py", f"{stem}/__init__.py")
    files = (os.path.join(place, end) for place in sys.path for end in ends)
    try:
        with open(next(filter(os.path.isfile, files), ""), "rb") as source:
            found = ast.parse(source.read()).body
    except (OSError, SyntaxError, ValueError):
        return ""
    mine = (each for each in found if isinstance(each, ast.FunctionDef) and each.name == name)
    line = "".join(ast.get_docstring(each) or "" for each in mine).partition("\n")[0]
    line = line.removesuffix(".").replace("`", "")
    return line[:1].lower() + line[1:]
