"""Services with Twisted's reactor as real processes, and the examples."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import ServiceProcess

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-X", "dev", str(EXAMPLES / name), *arguments]


HUNDRED = """
from sparts.tasks.twisted_command import CommandTask
from sparts.vservice import VService

class Many(CommandTask):
    def start_in_loop(self):
        for _ in range(100):
            self.run(["sleep", "1000"], on_exit=self.note)

    def note(self, reason):
        self.logger.info("ended by %s", reason.value.signal)

    def join(self):
        super().join()
        self.logger.info("started %d, finished %d", self.started(), self.finished())

class MyService(VService):
    TASKS = [Many]

MyService.initFromCLI()
"""


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_sigterm_while_a_hundred_children_run_ends_them_all(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "hundred.py"
    script.write_text(HUNDRED)
    command = [sys.executable, "-X", "dev", str(script), "--twisted-reactor", kind]
    with ServiceProcess(command, cwd=tmp_path) as process:
        process.read_until_started()
        children = Path(f"/proc/{process.process.pid}/task").glob("*/children")
        pids = [pid for path in children for pid in path.read_text().split()]
        assert len(pids) == 100
        assert process.stop(signal.SIGTERM) == 0
        assert process.output.count("ended by 15") == 100
        process.read_line("started 100, finished 100")
        assert "Warning" not in process.output
        assert not [pid for pid in pids if Path("/proc", pid).exists()]


def test_the_example_of_commands_logs_what_they_say(tmp_path: Path) -> None:
    command = example("commands.py", "--runner-command", "sh -c 'echo hello; exit 3'")
    with ServiceProcess(command, cwd=tmp_path) as process:
        process.read_until(r"Commands\.Runner:hello")
        process.read_until(r"exit code 3")
        assert process.stop() == 0
        assert "Warning" not in process.output
