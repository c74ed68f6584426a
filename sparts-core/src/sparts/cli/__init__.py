"""The `sparts` command: run tasks without code, see what is installed, find out what is wrong.

`COMMANDS` is the one table of our own subcommands. Plugins add theirs by entry points of the group
``sparts.commands``. Both name a function that takes the rest of the command line and returns an
exit status; its module is imported only when the subcommand is called.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast

from sparts import entry_points
from sparts.errors import PluginError, SpartsError, UsageError, message_of, nearest, status_of
from sparts.this_process import command_output, complain, open_closed_streams, write_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_INTERRUPTED = 130


COMMANDS = {
    "run": "run a service, or tasks by their names",
    "tasks": "list the task types that are installed, or describe one",
    "plugins": "list what the installed distributions add to sparts",
    "doctor": "import everything and report each problem",
}
"""Our subcommands, with what each does, in 60 characters at most, for ``sparts --help``.

``main`` of the module of that name in here is called with the words after the subcommand. It
returns the exit status (None: 0). A `UsageError` that it raises is shown without a traceback, with
status 2.
"""
FLAGS = {"run-reload": "run --reload", "doctor-compat": "doctor --compat"}
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


def find_command(name: str) -> entry_points.EntryPoint:
    """Return the subcommand of a name; ours come before those of plugins.

    Raises:
        UsageError: there is none, or several plugins have it.
    """
    group = entry_points.COMMANDS
    if name in COMMANDS:
        return entry_points.EntryPoint(group, name, f"sparts.cli.{name}:main", "sparts-core", "")
    others = entry_points.find(group)
    found = [each for each in others if each.name == name]
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
    if name in (known := entry_points.known_providers(group)):
        flag = FLAGS.get(name, "").partition(" ")[2]
        what = f"No option {flag!r}" if flag else f"No command is named {name!r}"
        raise UsageError(f"{what}. {entry_points.install_hint(known[name])}")
    near = nearest(name, [*COMMANDS, *(entry.name for entry in others)])
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


def help_text() -> str:
    """Return what ``sparts --help`` prints. Imports nothing of a plugin's."""
    from importlib import resources

    others = [e for e in entry_points.find(entry_points.COMMANDS) if e.name not in FLAGS]
    found = [*COMMANDS.items()]
    found += [(each.name, summary_of(each) or f"(of {each.owner})") for each in others]
    width = max(len(name) for name, _ in found)
    commands = "".join(f"  {name:<{width}} {text}\n" for name, text in found)
    return resources.files(__name__).joinpath("help.txt").read_text().format(commands=commands)


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
