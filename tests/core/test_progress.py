"""`map(progress=True)`: a bar on a terminal, nothing elsewhere, an error without the extra."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sparts.errors import UsageError
from sparts.testing.running import running_task

from tests.core.queue_tasks import Echo
from tests.processes import captured, clean_environment
from tests.tornado.terminals import Terminal

SCRIPT = """
import sys
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.queue import QueueTask
from sparts.vservice import VService

class Squares(QueueTask):
    def execute(self, item, context):
        return item * item

class Cubes(AsyncQueueTask):
    async def execute(self, item, context):
        if item == 4:
            raise ValueError("four")
        return item ** 3

class MyService(VService):
    TASKS = [Squares, Cubes]

service = MyService.from_args(["--level", "CRITICAL"])
thread = service.startBG()
print(service.requireTask("Squares").map(range(7), progress=True))
print(list(service.requireTask("Cubes").imap(iter([1, 2, 3]), progress=True)))
try:
    service.requireTask("Cubes").map([3, 4, 5], progress=True)
except ValueError as error:
    print("failed:", error)
service.shutdown()
thread.join()
print("end")
"""
RESULTS = ["[0, 1, 4, 9, 16, 25, 36]", "[1, 8, 27]", "failed: four", "end"]


def test_bar_shows_how_many_items_are_done(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    with Terminal([sys.executable, str(tmp_path / "script.py")], 100, 24) as terminal:
        assert terminal.finish() == 0
        lines = [line.strip() for line in terminal.text().splitlines() if line.strip()]
    bars = [line for line in lines if line not in RESULTS]
    assert [line.split()[0] for line in bars] == ["Squares", "Cubes", "Cubes"]
    for bar, count in zip(bars, ("7/7", "3/", "1/3"), strict=True):
        assert count in bar
    assert [line for line in lines if line in RESULTS] == RESULTS


def test_nothing_is_shown_where_no_terminal_is(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py")]
    done = captured(command, env=clean_environment(FORCE_COLOR="1"))
    assert done.returncode == 0
    assert done.stdout.splitlines() == RESULTS
    assert done.stderr == ""


def test_missing_extra_is_named_and_nothing_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    with running_task(Echo) as task:
        with pytest.raises(UsageError, match=r"pip install 'sparts-core\[progress\]'"):
            task.map("abc", progress=True)
        assert task.map("abc", progress=False) == ["a", "b", "c"]
        assert task.n_completed() == 3
