"""Services in the background, for tests: started, asked and stopped by their own options."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.core.commands import Done
from tests.core.scripts import script_of
from tests.processes import clean_environment

READ_ALL = "+dac_read_search"
UNPRIVILEGED = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups",
                f"--inh-caps={READ_ALL}", f"--ambient-caps={READ_ALL}")  # fmt: skip
"""What runs a command as a user with no rights but to read: Python may lie in a closed folder."""
PLAIN = "TASKS = [Worker]"


class Script:
    """A service that is written out, with a pid file in its folder."""

    def __init__(self, folder: Path, body: str = PLAIN) -> None:
        self.folder = folder
        self.pid_file = folder / "S.pid"
        self.path = script_of(folder, body)

    def command(self, *argv: str) -> list[str]:
        """Give the command line, with the pid file."""
        return [sys.executable, str(self.path), "--pidfile", str(self.pid_file), *argv]

    @contextmanager
    def started(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """Start it, its outputs in pipes, and leave it not running."""
        with self.popen(*argv) as process:
            try:
                yield process
            finally:
                process.kill()

    def popen(self, *argv: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start it, its outputs in pipes."""
        return subprocess.Popen(
            [*prefix, *self.command(*argv)],
            cwd=self.folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: str, prefix: Sequence[str] = ()) -> Done:
        """Run it until it returns and nobody holds the terminal any more."""
        with self.popen(*argv, prefix=prefix) as process:
            try:
                out, err = process.communicate()
            finally:
                process.kill()
        return Done(process.returncode, out, err)

    def start(self, *argv: str) -> int:
        """Start it as a daemon, which must go well, and give its pid."""
        done = self.run("--daemon", *argv)
        assert done.status == 0, done
        return self.pid()

    def pid(self) -> int:
        """Give the pid that ``--status`` tells."""
        done = self.run("--status")
        found = re.fullmatch(
            r"S is running: pid (\d+), since \d{4}-\d\d-\d\d [\d:]{8}\.\n", done.out
        )
        assert found, done
        assert done.status == 0
        return int(found[1])

    def stop(self) -> None:
        """Stop it, which must go well."""
        pid = self.pid()
        assert self.run("--kill") == (0, f"S has stopped: pid {pid}.\n", "")

    def is_running(self) -> bool:
        """Tell whether it runs."""
        return self.run("--status").status == 0


@contextmanager
def script(folder: Path, body: str = PLAIN) -> Iterator[Script]:
    """Give a service, and leave none behind."""
    made = Script(folder, body)
    try:
        yield made
    finally:
        done = made.run("--status")
        if found := re.search(r"pid (\d+)", done.out):
            with suppress(ProcessLookupError):
                os.kill(int(found[1]), signal.SIGKILL)
