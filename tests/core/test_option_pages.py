"""The commands in the how-to pages on options do what the pages say, word for word."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ServiceProcess, clean_environment

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> Iterator[object]:
    """Each command of the pages' text blocks, with the output that the page shows."""
    for page in (PAGES / "configure.md", PAGES / "secrets.md"):
        for kind, text in BLOCK.findall(page.read_text()):
            for part in text.split("$ ")[1:] if kind == "text" else ():
                command, _, output = part.partition("\n")
                yield pytest.param(page, command, output.strip(), id=f"{page.stem}: {command}")


def write_files(page: Path, folder: Path) -> None:
    """Write the files of a page: Python by its mark, TOML by its first line."""
    for kind, text in BLOCK.findall(page.read_text()):
        if found := re.search(r"file=(\S+)", kind):
            (folder / found[1]).write_text(text)
        elif kind.split()[:1] == ["toml"]:
            (folder / text.partition("\n")[0].removeprefix("# ")).write_text(text)


def assert_shown(shown: str, output: str) -> None:
    """The output is what is shown, in which ``...`` stands for anything."""
    pattern = re.escape(shown).replace(re.escape("..."), "(?s:.*)")
    assert re.fullmatch(pattern, output.strip()), output


@pytest.mark.parametrize(("page", "command", "shown"), list(commands()))
def test_command_does_what_the_page_shows(
    page: Path, command: str, shown: str, tmp_path: Path
) -> None:
    write_files(page, tmp_path)
    words = shlex.split(command)
    variables = dict(word.split("=", 1) for word in words if "=" in word.split("-")[0])
    argv = [sys.executable, *words[len(variables) + 1 :]]
    environment = clean_environment(**variables)
    with ServiceProcess(argv, cwd=tmp_path, env=environment) as process:
        status = process.finish()
    assert status == (2 if "error:" in shown else 0)
    assert_shown(shown, process.output)
