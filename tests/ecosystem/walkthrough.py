"""A page of the tutorial, done as its reader does it: from an empty folder, from top to bottom.

Blocks with `file=NAME` are written where they say. The commands of a console block are those of
consoles.py and, in virtual environments that know nothing of the checkout:

- `python3 -m venv NAME` and `. NAME/bin/activate`
- `pip install ...`: ours come from wheels of the checkout, others in the versions of the lock
- `cd FOLDER`
- `make dist` and `export PIP_FIND_LINKS=$PWD/dist`, in the checkout, which stands for wheels of it
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.build_distributions import ROOT
from tests.ecosystem.consoles import COMMANDS, Session, run_commands
from tests.ecosystem.documentation import find_blocks, write_file
from tests.processes import clean_environment, output_of


@dataclass
class Walk(Session):
    """How far one page was walked through."""

    python: str = ""
    wheels: Path = Path()
    """Where our wheels lie."""
    links: str = ""
    """Where pip looks for them, as the page says."""


def walk_through(page: Path, folder: Path, wheels: Path) -> None:
    """Do what a page says, in an empty `folder`; AssertionError where that cannot be done."""
    walk = Walk(folder, wheels=wheels)
    for block in find_blocks(page, page.read_text(encoding="utf-8")):
        name = block.marks.get("file")
        if name:
            assert not (folder / name).exists(), f"{block}: {name} is there already"
            write_file(block, folder, name)
        if block.kind == "console":
            walk.status = int(block.marks.get("status", 0))
            run_commands(walk, block.code, WALKING)
        else:
            assert name or block.kind == "text", f"{block}: what becomes of it?"


def make_environment(walk: Session, command: str, _expected: list[str]) -> None:
    """Make a virtual environment; without pip, which uv stands in for."""
    words = shlex.split(command)
    assert words[:3] == ["python3", "-m", "venv"], command
    make = [sys.executable, "-m", "venv", "--without-pip", words[3]]
    subprocess.run(make, cwd=walk.folder, env=clean_environment(), check=True)


def activate(walk: Session, command: str, _expected: list[str]) -> None:
    """Let `python` and `pip` be those of an environment."""
    script = walk.folder / shlex.split(command)[1]
    assert script.is_file(), f"{command!r}: there is no {script}"
    walk.python = str(script.with_name("python"))


def change_folder(walk: Session, command: str, _expected: list[str]) -> None:
    """Go to another folder."""
    walk.folder = (walk.folder / shlex.split(command)[1]).resolve()
    assert walk.folder.is_dir(), f"{command!r}: there is no such folder"


def export(walk: Session, command: str, _expected: list[str]) -> None:
    """Tell pip where our distributions lie: in ``dist`` of the checkout, where `make dist` runs."""
    assert isinstance(walk, Walk)
    assert command == "export PIP_FIND_LINKS=$PWD/dist", command
    walk.links = str(walk.wheels)


def install(walk: Session, command: str, _expected: list[str]) -> None:
    """Install into the environment that is active, as pip would, only faster."""
    assert isinstance(walk, Walk)
    assert walk.python, f"{command!r}: no virtual environment is active"
    assert walk.links, f"{command!r}: before the first release, nothing says where ours are"
    words = shlex.split(command)
    assert words[1] == "install", command
    run = [str(Path(sys.executable).with_name("uv")), *words, "--quiet", "--python", walk.python]
    run += ["--find-links", walk.links, "--constraint", str(ROOT / "requirements.lock")]
    output_of(run, cwd=walk.folder, env=clean_environment())


def run_python(walk: Session, command: str, expected: list[str]) -> None:
    """Run Python; where it is to build, uv stands in for pip there too."""
    if command.startswith("python -m build"):
        scripts = Path(sys.executable).parent
        command = f"PATH={scripts}:{os.environ['PATH']} {command} --installer=uv"
    COMMANDS["python"](walk, command, expected)


WALKING = {
    "python": run_python,
    "sparts": COMMANDS["sparts"],
    "curl": COMMANDS["curl"],
    "kill": COMMANDS["kill"],
    "python3": make_environment,
    ".": activate,
    "cd": change_folder,
    "pip": install,
    "make": COMMANDS["make"],
    "export": export,
}
