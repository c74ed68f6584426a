"""Console sessions in the documentation, run: what each of their commands means to a test.

    $ python myservice.py --http-port 8000 &
    DEBUG:MyService:All tasks started
    $ curl localhost:8000
    Hello, world

A service that was started runs until its block ends, and must then end well on ^C. Its ports are
free ones, and what follows (commands and expected output) is understood to mean those. The expected
lines must come in that order; other lines may come between them.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from scripts.build_distributions import ROOT, find_projects
from tests.processes import ServiceProcess

PORT = re.compile(r"(--(?:\S+-)?port[ =])(\d+)")


@dataclass
class Session:
    """What one console block has come to."""

    folder: Path
    services: list[ServiceProcess] = field(default_factory=list)
    ports: dict[str, str] = field(default_factory=dict)
    """The port that is meant by each port of the page."""
    stack: ExitStack = field(default_factory=ExitStack)

    def translate(self, text: str) -> str:
        """Put the real ports in place of the page's."""
        return re.sub(r"(?<=:)\d+", lambda found: self.ports.get(found[0], found[0]), text)


def run_console(code: str, folder: Path) -> None:
    """Run a console block in `folder`; AssertionError if something in it does not hold."""
    session = Session(folder)
    with session.stack:
        for command, expected in split_commands(code):
            program = command.split()[0]
            assert program in COMMANDS, f"nobody knows how to run {command!r} of a console block"
            COMMANDS[program](session, command, expected)
        for service in session.services:
            assert service.stop() == 0, service.output


def split_commands(code: str) -> Iterator[tuple[str, list[str]]]:
    """Split a console block into its commands, each with the lines of output after it."""
    command, expected = "", list[str]()
    for line in code.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], []
        elif line.strip():
            assert command, f"output before any command: {line!r}"
            expected.append(line)
    if command:
        yield command, expected


def check_make(_session: Session, command: str, _expected: list[str]) -> None:
    """Check that the targets exist; what they do is tested elsewhere."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in shlex.split(command)[1:]:
        assert "=" in word or word in targets, f"the Makefile has no target {word!r}"


def check_pip(_session: Session, command: str, _expected: list[str]) -> None:
    """Check that what is installed is ours, or of the lock."""
    names = {project.name for project in find_projects()}
    names |= set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    words = shlex.split(command)
    assert words[1] == "install", command
    for word in words[2:]:
        known = word.startswith("-") or re.split(r"[\[<>=]", word)[0] in names
        assert known, f"{word!r} of {command!r} is neither ours nor in requirements.lock"


def start_python(session: Session, command: str, expected: list[str]) -> None:
    """Start a service and wait for the expected lines, or else until it has started."""
    wanted = [found[1] for found in PORT.findall(command)]
    words = shlex.split(PORT.sub(r"\g<1>0", command).removesuffix("&"))
    service = ServiceProcess([sys.executable, *words[1:]], cwd=session.folder)
    session.services.append(session.stack.enter_context(service))
    for port in wanted:
        session.ports[port] = str(service.listening_port())
    seen = "\n".join(service.lines)
    for line in expected:
        real = session.translate(line)
        if real not in seen:
            service.read_until(re.escape(real))
    if not any("All tasks started" in line for line in service.lines):
        service.read_until_started()


def run_curl(session: Session, command: str, expected: list[str]) -> None:
    """Run curl, and compare all of its output."""
    words = ["curl", "--silent", "--show-error", *shlex.split(session.translate(command))[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected, command


COMMANDS: dict[str, Callable[[Session, str, list[str]], None]] = {
    "make": check_make,
    "pip": check_pip,
    "python": start_python,
    "curl": run_curl,
}
