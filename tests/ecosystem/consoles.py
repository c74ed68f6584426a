"""Console sessions in the documentation, run: what each of their commands means to a test.

    $ python myservice.py --http-port 8000 &
    DEBUG:MyService:All tasks started
    $ curl localhost:8000
    Hello, world

A service that was started with `&` runs until `kill %1`, or until its block ends (by ^C), and must
then end well. Its ports are free ones, and what follows (commands and expected output) is
understood to mean those. The expected lines must come in that order, each within a line of the
output, where `...` stands for anything; other lines may come between them. Commands may begin with
variables (`NAME=value`).
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from scripts.build_distributions import ROOT, find_projects
from tests.processes import ServiceProcess, clean_environment, output_of

PORT = re.compile(r"(--(?:\S+-)?port[ =])(\d+)")
VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*)=(\S*)\s+")


@dataclass
class Session:
    """What one console block has come to."""

    folder: Path
    status: int = 0
    """What every command that is not a service must end with."""
    python: str = sys.executable
    """What `python` means."""
    services: list[ServiceProcess] = field(default_factory=list)
    ports: dict[str, str] = field(default_factory=dict)
    """The port that is meant by each port of the page."""
    stack: ExitStack = field(default_factory=ExitStack)

    def translate(self, text: str) -> str:
        """Put the real ports in place of the page's."""
        return re.sub(r"(?<=:)\d+", lambda found: self.ports.get(found[0], found[0]), text)


Run = Callable[[Session, str, list[str]], None]


def run_console(code: str, folder: Path, status: int = 0) -> None:
    """Run a console block in `folder`; AssertionError if something in it does not hold.

    `status` is what its commands must end with, if they are no services.
    """
    run_commands(Session(folder, status), code, COMMANDS)


def run_commands(session: Session, code: str, commands: Mapping[str, Run]) -> None:
    """Run the commands of a block in a session, then end the services that they started."""
    with session.stack:
        for command, expected in split_commands(code):
            program = VARIABLE.sub("", command).split()[0]
            assert program in commands, f"nobody knows how to run {command!r} of a console block"
            commands[program](session, command, expected)
        for service in session.services:
            assert service.stop() == 0, service.output
        session.services.clear()


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


def run_python(session: Session, command: str, expected: list[str]) -> None:
    """Run a program to its end, or start a service and wait until it has started."""
    background = command.endswith("&")
    command = session.translate(command)
    wanted = PORT.findall(command)
    variables = dict(VARIABLE.findall(command))
    words = shlex.split(PORT.sub(r"\g<1>0", VARIABLE.sub("", command)).removesuffix("&"))
    program = session.python
    if words[0] != "python":  # a script beside it
        program = str(Path(program).with_name(words[0]))
    service = ServiceProcess(
        [program, *words[1:]], cwd=session.folder, env=clean_environment(**variables)
    )
    session.stack.enter_context(service)
    if not background:
        status = service.finish()
        assert status == session.status, f"{command!r} ended with {status}:\n{service.output}"
        check_lines(expected, service.lines, command)
        return
    session.services.append(service)
    for _, port in wanted:
        session.ports[port] = str(service.listening_port())
    for line in expected:
        pattern = as_pattern(session.translate(line))
        if not any(re.search(pattern, seen) for seen in service.lines):
            service.read_until(pattern)
    if not any("All tasks started" in line for line in service.lines):
        service.read_until_started()


def as_pattern(line: str) -> str:
    """Give the regular expression of an expected line, in which `...` stands for anything."""
    return ".*".join(re.escape(part) for part in line.split("..."))


def check_lines(expected: list[str], lines: list[str], command: str) -> None:
    """Check that the expected lines come in this order, each within a line of the output."""
    left = iter(lines)
    for line in expected:
        found = any(re.search(as_pattern(line), seen) for seen in left)
        assert found, f"{command!r} does not say {line!r} (there):\n" + "\n".join(lines)


def run_curl(session: Session, command: str, expected: list[str]) -> None:
    """Run curl, and compare all of its output."""
    words = ["curl", "--silent", "--show-error", *shlex.split(session.translate(command))[1:]]
    assert output_of(words).splitlines() == expected, command


def kill(session: Session, command: str, expected: list[str]) -> None:
    """End the only service that runs, as the reader's shell does."""
    assert command == "kill %1", command
    assert len(session.services) == 1, f"{command!r}, but {len(session.services)} run"
    service = session.services.pop()
    assert service.stop(signal.SIGTERM) == 0, service.output
    check_lines(expected, service.lines, command)


COMMANDS: dict[str, Run] = {
    "make": check_make,
    "pip": check_pip,
    "python": run_python,
    "sparts": run_python,
    "curl": run_curl,
    "kill": kill,
}
