"""``sparts new``: a whole project, for a service or for a plugin, whose tests pass at once.

A plugin adds projects of its own by a command ``new-WORD`` (group ``sparts.commands``), which is
also what ``sparts new KIND NAME --WORD ARGUMENT`` calls, as ``new-WORD KIND NAME ARGUMENT --in
FOLDER``. It writes them with `sparts.dev.scaffold.write_project`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sparts import entry_points
from sparts.cli import load_command
from sparts.dev import scaffold
from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX = "new-"
"""What the commands of plugins that write projects begin with."""
KINDS = {
    "periodic": ("--@@flag@@-greeting", "Good morning from @@Task@@"),
    "async": ("--@@flag@@-greeting", "Good morning from @@Task@@"),
    "server": ("--@@flag@@-greeting", "@@Task@@ Server Started on"),
    "loop": ("", "All tasks started"),
    "hooks": ("", ""),
}
"""What a plugin may bring, each with an option for a test, and the line that its task logs."""


class Part(NamedTuple):
    """A task of a service that is made of several."""

    task: str
    module: str = ""
    """The module of the project that the task is in; ``""``: it is named in ``TASKS``."""
    holds: str = ""
    """What the module holds."""
    argv: Sequence[str] = ()
    """What a test's command line needs so that no fixed port is taken."""
    needs: str = ""
    """The distribution that it comes from."""

    @property
    def listed(self) -> str:
        """How ``TASKS`` names it."""
        return self.task if self.module else f'"{self.task}"'


PARTS = {
    "queue": Part("@@Stem@@QueueTask", "jobs", "work that others put in a queue"),
    "periodic": Part("@@Task@@", "tasks", "what it does again and again"),
    "http": Part(
        *("@@Stem@@WebTask", "web", "what it answers over HTTP"),
        *(("--http-host=127.0.0.1", "--http-port=0"), "sparts-tornado"),
    ),
    "status": Part("StatusHTTPTask", argv=("--status-port=0",), needs="sparts-tornado"),
}
"""What a service may be made of, in the order of its tasks."""


def main(argv: list[str]) -> int:
    """Write a whole project, for a service or a plugin.

    Raises:
        UsageError: the name is none for a project, the folder exists, or options do not fit.
    """
    parser = scaffold.parser(
        "sparts new",
        "Write a complete project into a new folder NAME: tasks, a hook, tests, checks, CI. Its "
        "tests pass at once.",
        scaffold.SUMMARIES,
        "acme-jobs",
    )
    parser.add_argument(
        *("--kind",), dest="brings", choices=KINDS, metavar="KIND",
        help=f"what a plugin brings: {', '.join(KINDS)} (default: periodic)",
    )  # fmt: skip
    others = [e for e in entry_points.find(entry_points.COMMANDS) if e.name.startswith(PREFIX)]
    parser.add_argument(
        "--with", dest="parts", metavar="PART,...", help=f"tasks of a service: {', '.join(PARTS)}"
    )
    # argparse fails to print the usage of a group in which nothing is
    group = parser.add_mutually_exclusive_group() if others else parser
    for entry in others:
        group.add_argument(
            f"--{entry.name.removeprefix(PREFIX)}",
            dest=entry.name,
            metavar="ARGUMENT",
            help=f"of {entry.owner}; see `sparts {entry.name} --help`",
        )
    args, unknown = parser.parse_known_args(argv)
    for word in unknown:
        _refuse(word.partition("=")[0])
    if args.brings and args.kind != "plugin":
        raise UsageError("--kind is for plugins: `sparts new plugin NAME --kind server`.")
    if args.parts is not None and args.kind != "service":
        raise UsageError("--with is for services: `sparts new service NAME --with http,queue`.")
    for entry in others:
        if argument := getattr(args, entry.name):
            if args.brings or args.parts is not None:
                flag = entry.name.removeprefix(PREFIX)
                raise UsageError(
                    f"--{flag} chooses the whole project: leave out --kind and --with."
                )
            command = [args.kind, args.name, argument, "--in", args.parent]
            return load_command(entry)(command) or 0
    if args.kind == "plugin":
        folder = write_plugin(args.name, args.parent, args.brings or "periodic")
    else:
        folder = write_service(args.name, args.parent, parts_of(args.parts))
    scaffold.tell(folder)
    return 0


def _refuse(word: str) -> None:
    command = PREFIX + word.removeprefix("--")
    if command in (known := entry_points.known_providers(entry_points.COMMANDS)):
        raise UsageError(f"No option {word!r}. {entry_points.install_hint(known[command])}")
    raise UsageError(f"{word!r} means nothing here: see `sparts new --help`.")


def write_plugin(name: str, parent: Path | str, brings: str = "periodic") -> Path:
    """Write a plugin into ``parent / name``, and return that; see `scaffold.write_project`.

    Args:
        name: the name of the distribution.
        parent: the folder to make it in.
        brings: one of `KINDS`.
    """
    option, line = KINDS[brings]
    words = {
        "line": line,
        "arguments": f'        "{option}",\n        "Good morning",\n' if option else "",
        "example": f' {option} "Good morning"' if option else "",
    }
    if brings == "hooks":
        words |= {"tasks": "", "summary": "Hooks for sparts services."}
    if brings == "server":
        words["needs"] = f', "{scaffold.requirement("sparts-net")}"'
    return scaffold.write_project("plugin", name, parent, words, [scaffold.TEMPLATES / brings])


def parts_of(text: str | None) -> list[str]:
    """Return the parts of a service that ``--with`` names, in the order of `PARTS`.

    Raises:
        UsageError: one is unknown.
    """
    named = ["periodic"] if text is None else [each.strip() for each in text.split(",")]
    if unknown := [each for each in named if each not in PARTS]:
        raise UsageError(f"--with knows no {unknown[0]!r}: use {', '.join(PARTS)}.")
    return [each for each in PARTS if each in named]


def write_service(name: str, parent: Path | str, parts: Sequence[str] = ("periodic",)) -> Path:
    """Write a service into ``parent / name``, and return that; see `scaffold.write_project`.

    Args:
        name: the name of the distribution.
        parent: the folder to make it in.
        parts: names of `PARTS`.
    """
    chosen = [PARTS[part] for part in parts]
    own = sorted((each.module, each.task) for each in chosen if each.module)
    needs = dict.fromkeys(each.needs for each in chosen if each.needs)
    imports = "".join(f"from @@package@@.{module} import {task}\n" for module, task in own)
    words = {
        "needs": "".join(f', "{scaffold.requirement(each)}"' for each in needs),
        "tasks": scaffold.entry_points(own),
        "imports": f"\n{imports}" if own else "",
        "listed": _tuple([each.listed for each in chosen]),
        "arguments": "".join(f'        "{arg}",\n' for each in chosen for arg in each.argv),
        "rows": "".join(
            f"| `src/@@package@@/{e.module}.py` | {e.holds} |\n" for e in chosen if e.module
        ),
    }
    if len(chosen) > 1:
        words["summary"] = "A service of several tasks."
    folders = [*parts, *(["http-queue"] if {"http", "queue"} <= {*parts} else [])]
    templates = [scaffold.TEMPLATES / each for each in folders]
    return scaffold.write_project("service", name, parent, words, templates)


def _tuple(items: Sequence[str]) -> str:
    """Return a tuple as the formatter writes it: one item on its line, or a line for each."""
    lines = "".join(f"        {item},\n" for item in items)
    return f"(\n{lines}    )" if len(items) > 1 else f"({items[0]},)"
