"""The fenced blocks in the pages of the documentation, found and run.

What is done with a block is said by the first word after its fence:

- `python`: a service if it calls `initFromCLI` (it runs until all tasks have started, and ^C must
  end it with 0), else a script that must end with 0. Fixed ports give way to free ones. Marks:
  `args="--some option"` gives it a command line, `fails=STATUS` says that it ends by itself, with
  that status. `pytest` has pytest run it, and at least one test must pass. `bus` gives it a session
  bus of D-Bus, `module=NAME` says which module it needs beyond those that are always there.
- `console`: lines that start with `$ ` are commands (see consoles.py), the others their output.
  `status=STATUS` says what its commands end with that are no services.
- `toml`, `json`: must parse. `config=FILE.py` on TOML: that service of the page must take it.
- `yaml`: must parse. `dockerfile`: its last stage must name what to run as JSON.
- `ini`: must parse as a unit of systemd.
- `text`: nothing to run.

`file=NAME` on any of them keeps it under that name for the page's other blocks. The pages of the
tutorial are run as a whole, each from an empty folder, by walkthrough.py. Any other block is an
error: an example that nobody runs goes stale.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from scripts.build_distributions import ROOT
from tests.dbus.daemons import Daemon
from tests.ecosystem.consoles import run_console
from tests.needs import require, require_module
from tests.processes import ServiceProcess, clean_environment, run_to_end

FENCE = re.compile(r"^(`{3,}|~{3,})([^\n]*)\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)")
FIXED_PORT = re.compile(r"(\b\w*PORT\w*\s*=\s*)\d+")
MARKS = {"file", "args", "fails", "status", "pytest", "config", "bus", "module"}
TUTORIAL = ROOT / "docs" / "tutorial"


@dataclass(frozen=True)
class Block:
    """One fenced block of a page; `info` is what stands after the fence."""

    page: Path
    line: int
    info: str
    code: str

    @property
    def kind(self) -> str:
        """The first word after the fence, or nothing."""
        return (self.info.split() or [""])[0]

    @property
    def marks(self) -> dict[str, str]:
        """The marks after it, by name; AssertionError for one that has no meaning."""
        marks = dict(word.partition("=")[::2] for word in shlex.split(self.info)[1:])
        assert marks.keys() <= MARKS, f"{self}: unknown mark in {self.info!r}, there are {MARKS}"
        return marks

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def find_pages() -> list[Path]:
    """Find the pages: the README files and everything in docs/, sorted."""
    readmes = [ROOT / "README.md", *ROOT.glob("sparts-*/README.md")]
    return sorted([*readmes, *(ROOT / "docs").rglob("*.md")])


def find_blocks(page: Path, text: str) -> Iterator[Block]:
    """Find the fenced blocks in the text of a page."""
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found[2].strip(), found[3])


def find_links(text: str) -> list[str]:
    """Find what the text of a page links to in the repository."""
    return LINK.findall(FENCE.sub("", text))


def run_block(block: Block, folder: Path) -> None:
    """Run a block in `folder`, where its page's files lie; AssertionError if it does not hold."""
    marks = block.marks
    require_module([marks["module"]] if "module" in marks else [])
    if block.kind == "python":
        (run_tests if "pytest" in marks else run_python)(block, folder)
    elif block.kind == "console":
        run_console(block.code, folder, int(marks.get("status", 0)))
    elif block.kind == "toml":
        tomllib.loads(block.code)
        if "config" in marks:
            give_config(block, folder)
    elif block.kind == "json":
        json.loads(block.code)
    elif block.kind == "yaml":
        assert all(yaml.safe_load_all(block.code)), f"{block} has an empty part"
    elif block.kind == "dockerfile":
        assert json.loads(block.code.partition("\nENTRYPOINT ")[2].partition("\n")[0])
    elif block.kind == "ini":
        read_unit(block.code)
    else:
        assert block.kind == "text", f"{block}: nobody knows how to run a block of {block.info!r}"


def run_tests(block: Block, folder: Path) -> None:
    """Run a block's tests with pytest, as its reader would."""
    name = block.marks.get("file", "test_example.py")
    write_file(block, folder, name)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
    status, output = run_to_end(command, cwd=folder)
    assert status == 0, f"{block} ended with {status}:\n{output}"


def give_config(block: Block, folder: Path) -> None:
    """Have the service that `config=FILE.py` names read a block as its configuration."""
    (folder / "example.toml").write_text(block.code, encoding="utf-8")
    service = [sys.executable, block.marks["config"], "--config", "example.toml", "--show-config"]
    status, output = run_to_end(service, cwd=folder)
    assert status == 0, f"{block} ended with {status}:\n{output}"
    assert "# file: " in output, f"{block} sets nothing:\n{output}"


def read_unit(text: str) -> dict[str, dict[str, str]]:
    """Read a unit file of systemd whose keys are all different; ValueError if it is malformed."""
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(str(error)) from error
    return {name: dict(parser[name]) for name in parser.sections()}


def run_python(block: Block, folder: Path) -> None:
    """Run a block of Python as a process: to its end, or as a service until it has started."""
    name = block.marks.get("file", "example.py")
    write_file(block, folder, name)
    command = [sys.executable, name, *shlex.split(block.marks.get("args", ""))]
    expected = int(block.marks.get("fails", 0))
    if expected or "initFromCLI(" not in block.code:
        status, output = run_to_end(command, cwd=folder)
        assert status == expected, f"{block} ended with {status}:\n{output}"
        return
    with contextlib.ExitStack() as stack:
        env = None
        if "bus" in block.marks:
            require(["dbus"])
            bus = stack.enter_context(Daemon(folder / "bus"))
            env = clean_environment(DBUS_SESSION_BUS_ADDRESS=bus.address)
        service = stack.enter_context(ServiceProcess(command, cwd=folder, env=env))
        service.read_until_started()
        status = service.stop()
        assert status == 0, f"{block} ended with {status}:\n{service.output}"


def write_file(block: Block, folder: Path, name: str) -> None:
    """Write a block's code as a file, its ports made free ones."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    code = FIXED_PORT.sub(r"\g<1>0", block.code) if block.kind == "python" else block.code
    path.write_text(code, encoding="utf-8")


def write_files(page: Path, folder: Path) -> None:
    """Write the files of a page (`file=NAME`), the first of each name, into `folder`."""
    for block in find_blocks(page, page.read_text(encoding="utf-8")):
        name = block.marks.get("file")
        if name and not (folder / name).exists():
            write_file(block, folder, name)
