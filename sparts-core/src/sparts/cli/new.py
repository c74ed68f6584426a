"""``sparts new``: a whole project, for a service or for a plugin, whose tests pass at once.

The files lie in ``templates/``: ``common`` and one folder a kind. In their names, ``PACKAGE`` is
the project's package, ``dot_`` a dot, and ``.in`` keeps tools from taking them for what they are
not. In their texts, ``@@word@@`` is replaced.

A plugin adds projects of its own by a command ``new-WORD`` (group ``sparts.commands``), which is
also what ``sparts new KIND NAME --WORD ARGUMENT`` calls, as ``new-WORD KIND NAME ARGUMENT --in
FOLDER``. It writes them with `write_project`.
"""

from __future__ import annotations

import argparse
import datetime
import keyword
import os
import re
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sparts import plugins
from sparts.cli import load_command
from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

SUMMARIES = {"service": "A service of one task.", "plugin": "Tasks for sparts services."}
"""The kinds of projects, and what each says of itself at first."""
PREFIX = "new-"
"""What the commands of plugins that write projects begin with."""
LONGEST = 30
"""The longest name, so that no line of a project grows past its limit."""
TAKEN = {
    "hatchling",
    "mypy",
    "pluggy",
    "pytest",
    "ruff",
    "sparts",
    "sparts_command",
    "src",
    "test",
    "tests",
}
"""Names of packages that a project's own must not hide, besides those of Python."""


def main(argv: list[str]) -> int:
    """Write a project into a new folder, and say what to do next.

    Raises:
        UsageError: the name is none for a project, or the folder exists.
    """
    parser = argparse.ArgumentParser(
        prog="sparts new",
        description="Write a complete project into a new folder NAME: a task, a hook, tests, "
        "checks, CI. Its tests pass at once.",
    )
    parser.add_argument("kind", choices=SUMMARIES, help="what to write")
    parser.add_argument(
        "name", metavar="NAME", help="the name of the distribution, such as acme-jobs"
    )
    parser.add_argument(
        "--in", dest="parent", metavar="FOLDER", default=".", help="where to make its folder"
    )
    others = [e for e in plugins.find(plugins.COMMANDS) if e.name.startswith(PREFIX)]
    # argparse fails to tell the usage of a group in which nothing is
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
    for entry in others:
        if argument := getattr(args, entry.name):
            command = [args.kind, args.name, argument, "--in", args.parent]
            return load_command(entry)(command) or 0
    tell(write_project(args.kind, args.name, Path(args.parent)))
    return 0


def _refuse(word: str) -> None:
    command = PREFIX + word.removeprefix("--")
    if command in (known := plugins.known_providers(plugins.COMMANDS)):
        raise UsageError(f"No option {word!r}. {plugins.install_hint(known[command])}")
    raise UsageError(f"{word!r} means nothing here: see `sparts new --help`.")


def tell(folder: Path) -> None:
    """Say what was written, and what to do next."""
    print(f"Wrote {folder}. Next:")
    print(f"  cd {folder}")
    print('  python -m pip install -e ".[dev]"')
    print("  ./check")


def write_project(
    kind: str,
    name: str,
    parent: Path,
    more_words: Mapping[str, str] | None = None,
    more_files: Mapping[str, str] | None = None,
) -> Path:
    """Write a project into the new folder ``parent / name``, and return that.

    Args:
        kind: ``"service"`` or ``"plugin"``.
        name: the name of the distribution.
        parent: the folder to make it in.
        more_words: stand for further words, or in place of those of `words_of`.
        more_files: texts by their paths, in addition to the templates or in place of them.

    Raises:
        UsageError: the name is none for a project, the folder exists, or it cannot be written.
    """
    words = {**words_of(kind, name), **(more_words or {})}
    files = {**dict(render(kind, words)), **(more_files or {})}
    folder = target = parent / name
    made = False
    try:
        folder.mkdir()
        made = True
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                target.chmod(target.stat().st_mode | 0o111)
    except FileExistsError as error:
        raise UsageError(
            f"{folder} exists already, and is left as it is. Choose another name, or another "
            f"folder with --in."
        ) from error
    except OSError as error:
        if made:
            shutil.rmtree(folder, ignore_errors=True)  # so that it can be made again
        place = error.filename or target  # a write names no file
        raise UsageError(f"{place}: cannot be written: {error.strerror}.") from error
    return folder


def words_of(kind: str, name: str) -> dict[str, str]:
    """Return what stands for each ``@@word@@`` in a project of this name.

    Raises:
        UsageError: it is no name for a project; the message says why.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", name, re.ASCII):
        raise UsageError(
            f"{name!r} cannot name a project: use letters and digits, with single dashes between, "
            f"and a letter first."
        )
    if len(name) > LONGEST:
        raise UsageError(f"{name!r} is too long: use at most {LONGEST} characters.")
    package = name.lower().replace("-", "_")
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        raise UsageError(f"{name!r} cannot name a project: it is a word of the language.")
    if package in TAKEN or package in sys.stdlib_module_names:
        raise UsageError(
            f"{name!r} cannot name a project: its package would hide {package!r}, which Python or "
            f"sparts needs."
        )
    parts = re.split("[-_]", name)
    while len(parts) > 1 and parts[-1].lower() in ("service", "task", "tasks", "plugin"):
        parts.pop()
    stem = "".join(part[0].upper() + part[1:] for part in parts)
    return {
        "name": name,
        "package": package,
        "flag": package.replace("_", "-"),
        "Task": f"{stem}Task",
        "Service": f"{stem}Service",
        "summary": SUMMARIES[kind],
        "needs": "",
        "ignored": "",
        "range": _range(version_of("sparts-core")),
        "year": str(datetime.date.today().year),
    }


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution."""
    found = plugins.distribution(distribution)
    return found.version if found else "1.0"


def _range(version: str) -> str:
    """Return the versions of sparts-core that a project made with this one takes."""
    major, minor = [*version.split("."), "0"][:2]
    return f">={major}.{minor},<{int(major) + 1}"


def render(kind: str, words: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Give the paths and the texts of a project's files."""
    templates = resources.files("sparts.cli") / "templates"
    for source in ("common", kind):
        yield from render_folder(templates / source, words)


def render_folder(folder: Traversable, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give the paths and the texts of the files that the templates in a folder make."""
    for path, template in _files(folder, ""):
        text = template.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"@@{word}@@", value)
        path = path.replace("PACKAGE", words["package"]).replace("dot_", ".")
        yield path.removesuffix(".in"), text


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        below = os.path.join(path, entry.name)
        if entry.is_dir():
            yield from _files(entry, below)
        elif entry.name.endswith(".in"):
            yield below, entry
