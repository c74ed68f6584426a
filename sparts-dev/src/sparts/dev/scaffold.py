"""The one renderer of ``sparts new``: folders of templates, laid over each other, become a project.

In the names of templates, ``PACKAGE`` is the project's package, ``dot_`` a dot, and ``.in`` keeps
tools from taking them for what they are not. In their texts, ``@@word@@`` is replaced, also in what
takes the place of another word. A template of one empty line leaves out the file of that name.
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

from sparts.entry_points import distribution as installed
from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

SUMMARIES = {"service": "A service of one task.", "plugin": "Tasks for sparts services."}
"""The kinds of projects, and what each says of itself at first."""
LONGEST = 30
"""The longest name, so that no line of a project grows past its limit."""
TAKEN = {
    *("hatchling", "mypy", "pluggy", "pytest", "ruff"),
    *("sparts", "sparts_command", "src", "test", "tests"),
}
"""Names of packages that a project's own must not hide, besides those of Python."""
TEMPLATES = resources.files("sparts.dev") / "templates"


def parser(
    prog: str, description: str, kinds: Iterable[str], example: str
) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all commands which write projects have."""
    made = argparse.ArgumentParser(prog=prog, description=description)
    made.add_argument("kind", choices=list(kinds), help="what to write")
    text = f"the name of the distribution, such as {example}"
    made.add_argument("name", metavar="NAME", help=text)
    made.add_argument(
        *("--in",), dest="parent", metavar="FOLDER", default=".", help="where to make its folder"
    )
    return made


def tell(folder: Path) -> None:
    """Say what was written, and what to do next."""
    print(f'Wrote {folder}. Next:\n  cd {folder}\n  python -m pip install -e ".[dev]"\n  ./check')


def write_project(
    kind: str,
    name: str,
    parent: Path | str,
    words: Mapping[str, str] | None = None,
    folders: Iterable[Traversable] = (),
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a project into the new folder ``parent / name``, and return that.

    Args:
        kind: ``"service"`` or ``"plugin"``.
        name: the name of the distribution.
        parent: the folder to make it in.
        words: further words, or others in place of those of `words_of`.
        folders: templates, in addition to those of the kind or in place of them.
        files: texts by their paths, in addition to what the templates make or in place of it.

    Raises:
        UsageError: the name is none for a project, the folder exists, or it cannot be written.
    """
    every = {**words_of(kind, name), **(words or {})}
    texts = {**render([TEMPLATES / "common", TEMPLATES / kind, *folders], every), **(files or {})}
    folder = target = Path(parent) / name
    made = False
    try:
        folder.mkdir()
        made = True
        for path, text in texts.items():
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
        "name": name, "package": package, "flag": package.replace("_", "-"), "Stem": stem,
        "Task": f"{stem}Task", "Service": f"{stem}Service", "summary": SUMMARIES[kind],
        "core": requirement("sparts-core"), "dev": requirement("sparts-dev"), "needs": "",
        "tasks": entry_points([("tasks", "@@Task@@")]),
        "imports": "\nfrom @@package@@.tasks import @@Task@@\n", "listed": "(@@Task@@,)",
        "arguments": "", "rows": "| `src/@@package@@/tasks.py` | the tasks: what it does |\n",
        "ignored": "", "year": str(datetime.date.today().year),
    }  # fmt: skip


def requirement(distribution: str) -> str:
    """Return the versions of a distribution of ours that a project made with this one takes."""
    found = installed(distribution)
    major, minor = [*(found.version if found else "1.0").split("."), "0"][:2]
    return f"{distribution}>={major}.{minor},<{int(major) + 1}"


def entry_points(tasks: Iterable[tuple[str, str]]) -> str:
    """Return the part of pyproject.toml that names tasks, given by their modules and classes."""
    lines = [f'{task} = "@@package@@.{module}:{task}"\n' for module, task in tasks]
    head = "# The tasks that services find by name: the name is that of the class.\n"
    return "".join([head, '[project.entry-points."sparts.tasks"]\n', *lines, "\n"]) if lines else ""


def render(folders: Iterable[Traversable], words: Mapping[str, str]) -> dict[str, str]:
    """Return the texts, by their paths, of the files that templates make."""
    texts: dict[str, str] = {}
    for folder in folders:
        for path, template in _files(folder, ""):
            text = template.read_text(encoding="utf-8")
            for word, value in (*words.items(), *words.items()):  # twice: values have words, too
                text = text.replace(f"@@{word}@@", value)
            path = path.replace("PACKAGE", words["package"]).replace("dot_", ".")
            texts[path.removesuffix(".in")] = text
    return {path: text for path, text in texts.items() if text != "\n"}


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        below = os.path.join(path, entry.name)
        if entry.is_dir():
            yield from _files(entry, below)
        elif entry.name.endswith(".in"):
            yield below, entry
