"""A disk that is full, and standard descriptors that are closed or that nobody reads: rows of
docs/reliability.md, each a test of the same name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sparts.testing.running import running
from sparts.vservice import VService

from tests.core.scripts import HEAD, ended
from tests.processes import clean_environment

WARNS = """
class Tells(VService):
    changed = threading.Event()
    def __init__(self, ns):
        super().__init__(ns)
        changed = self.health.facts_changed
        def noted(asked=False):
            changed(asked)
            self.changed.set()
        self.health.facts_changed = noted
    def wait_changed(self):
        self.changed.wait()
        self.changed.clear()
        return list(self.getWarnings().values())
"""
FULL = "Log lines are lost: .*: (No space left on device|File too large)"


def test_log_on_a_full_disk(tmp_path: Path) -> None:
    body = f"""{WARNS}
class Logs(VTask):
    def _runloop(self):
        say("warnings", *self.service.wait_changed())
        for number in range(500):
            self.logger.info("line %d", number)
        self.service.restart() if not stopping.is_set() else self.service.shutdown()
        stopping.set()
class S(Tells):
    TASKS = [Logs]
"""
    process = ended(tmp_path, body, "--logfile", "/dev/full", status=0)
    assert len(process.lines) == 3, process.output
    assert len([line for line in process.lines if re.fullmatch(FULL, line)]) == 1
    assert len([line for line in process.lines if re.fullmatch(f"warnings {FULL}", line)]) == 2


def test_log_that_has_room_again(tmp_path: Path) -> None:
    body = f"""{WARNS}
import resource
class Logs(VTask):
    def _runloop(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        for number in range(200):
            self.logger.info("line %d is long enough", number)
        say("warnings", *self.service.wait_changed())
        os.rename("log", "log.1")
        self.logger.info("the first line of the new file")
        say("no warnings", self.service.wait_changed())
        self.service.shutdown()
class S(Tells):
    TASKS = [Logs]
"""
    process = ended(tmp_path, body, "--logfile", "log", status=0)
    assert re.fullmatch(f"{FULL}\nwarnings {FULL}\nno warnings \\[\\]", process.output)
    lines = [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert re.fullmatch(r"WARNING:sparts.logs:Log lines lost before this one: \d+", lines[0])
    assert lines[1] == "INFO:S.Logs:the first line of the new file"
    assert lines[-1] == "INFO:S:Instance shut down gracefully"


def test_background_service_whose_log_is_lost(tmp_path: Path) -> None:
    class Service(VService):
        DEFAULT_LOGFILE = "/dev/full"

    with running(Service) as instance:
        instance.restart()
    assert instance.health.ended.is_set()


SERVICE = f"""{HEAD}
class Ends(VTask):
    def initTask(self):
        with open("descriptors", "w") as file:
            file.write(" ".join(os.readlink(f"/proc/self/fd/{{n}}") for n in range(3)))
    def _runloop(self):
        sys.stdout.write("printed")
        self.service.wait_ready()
        self.service.shutdown()
class S(VService):
    TASKS = [Ends]
S.initFromCLI()
"""
RUNS = ["", "--pidfile p", "--logfile log", "--daemon --pidfile p --logfile log"]
PRINTS = ["--show-config", "--write-config", "--dryrun", "--tasks", "--kill"]
PRINTS += ["--systemd-install --dryrun", "--runit-install --dryrun"]
COMMANDS = ["", "--help", "--version", "tasks", "tasks PeriodicTask", "plugins", "run --help"]
COMMANDS += ["graph PeriodicTask"]
ARGPARSE = ["service.py --help", "-m sparts new --help", "-m sparts run PeriodicTask --help"]
WRONG = {"service.py --status": 1, "service.py --what": 2, "-m sparts what": 2}
PRINTING = [*(f"service.py {flags}" for flags in PRINTS), *(f"-m sparts {it}" for it in COMMANDS)]
CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]


def run(
    folder: Path, words: str, how: str = "", first: str = "", stdout: int = subprocess.PIPE
) -> tuple[int, str]:
    """Run Python with these words in a shell that redirects; give the status and the output."""
    (folder / "service.py").write_text(SERVICE)
    done = subprocess.run(
        ["sh", "-c", f"{first} exec {sys.executable} {words} {how}"],
        cwd=folder,
        env=clean_environment(XDG_RUNTIME_DIR=str(folder), PYTHONUNBUFFERED=""),
        text=True,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    return done.returncode, (done.stdout or "") + (done.stderr or "")


@pytest.mark.parametrize("how", CLOSED)
@pytest.mark.parametrize("flags", RUNS)
def test_service_with_closed_standard_descriptors(tmp_path: Path, flags: str, how: str) -> None:
    status, output = run(tmp_path, f"service.py {flags}", how)
    run(tmp_path, "service.py --kill --pidfile p")  # waits until a daemon has ended
    assert (status, "Traceback" in output) == (0, False), output
    descriptors = (tmp_path / "descriptors").read_text().split()
    for closed in how.split():
        assert descriptors["<>2".index(closed[0])] == os.devnull


@pytest.mark.parametrize("how", CLOSED[1:])
@pytest.mark.parametrize("words", [*PRINTING, *ARGPARSE, *WRONG])
def test_command_with_closed_standard_descriptors(tmp_path: Path, words: str, how: str) -> None:
    status, output = run(tmp_path, words, how)
    assert (status, "Traceback" in output) == (WRONG.get(words, 0), False), output


def run_into_broken_pipe(folder: Path, words: str) -> tuple[int, str]:
    """Run Python with a standard output that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    try:
        return run(folder, words, stdout=write)
    finally:
        os.close(write)


@pytest.mark.parametrize("words", [*PRINTING, *ARGPARSE, *WRONG])
def test_command_whose_output_nobody_reads(tmp_path: Path, words: str) -> None:
    status, output = run_into_broken_pipe(tmp_path, words)
    if words in ARGPARSE:  # argparse itself does not mind if its text is longer than the buffer
        assert status in (0, 141)
    else:
        prints = words in PRINTING or words.endswith("--status")
        assert status == (141 if prints else WRONG[words])
    assert output == "" or words in WRONG, output


@pytest.mark.parametrize("words", PRINTING)
def test_command_that_prints_to_a_full_disk(tmp_path: Path, words: str) -> None:
    status, output = run(tmp_path, words, ">/dev/full")
    assert status == 1
    assert re.fullmatch(".*: error: Cannot write the output: No space left on device.\n", output), (
        output
    )


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("service.py --systemd-install --install-folder units", "units/S.service.new"),
        ("service.py --runit-install --install-folder sv", "sv/S/run.new"),
        ("-m sparts new service name", "name/LICENSE"),
    ],
)
def test_command_that_writes_to_a_full_disk(tmp_path: Path, words: str, file: str) -> None:
    status, output = run(tmp_path, words, first="ulimit -f 0;")
    assert status == 2
    assert re.fullmatch(f".*: error: .*{file}: cannot be written: File too large.\n", output)
    assert not (tmp_path / file).exists()
    assert run(tmp_path, words)[0] == 0


@pytest.mark.parametrize("how", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1"])
@pytest.mark.parametrize("flags", RUNS)
def test_service_whose_output_cannot_be_written(tmp_path: Path, flags: str, how: str) -> None:
    status, output = run(tmp_path, f"service.py {flags}", how)
    run(tmp_path, "service.py --kill --pidfile p")
    assert (status, "Traceback" in output) == (0, False), output


def test_service_that_prints_to_a_broken_pipe(tmp_path: Path) -> None:
    status, output = run_into_broken_pipe(tmp_path, "service.py")
    assert status == 0
    assert output == "" or "Traceback" not in output


EMBEDDED = """
import sys
from sparts.vservice import VService
class S(VService):
    def initService(self):
        sys.stdout.write("text")
        sys.stderr.write("text")
        self.shutdown()
sys.exit(S.initFromOptions(S.from_args().options))
"""


@pytest.mark.parametrize("flags", ["", "--show-config", "--pidfile p"])
def test_application_with_closed_standard_descriptors(tmp_path: Path, flags: str) -> None:
    (tmp_path / "application.py").write_text(EMBEDDED)
    status, output = run(tmp_path, f"application.py {flags}", ">&- 2>status")
    assert (status, output) == (0, "")
    assert "Traceback" not in (tmp_path / "status").read_text()
