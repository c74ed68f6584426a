"""Faults that task types meet: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.testing.clock import TurnableClock
from sparts.testing.running import running_task

from tests.core.scripts import service

WATCHER = """
from sparts.tasks.file import DirectoryWatcherTask
from sparts.vtask import RestartPolicy
class Inbox(DirectoryWatcherTask):
    PATH = "watched"
    INTERVAL = 0.05
    RESTART = RestartPolicy("on-failure", first_wait=0.01)
    failures = []
    def onFileCreated(self, name, stat):
        say("created", name)
    def onFileChanged(self, name, old_stat, new_stat):
        if name == "poison" and len(self.failures) < 2:
            self.failures.append(name)
            raise OSError("disk full")
        say("changed", name, new_stat.st_size)
"""


@pytest.mark.parametrize("argv", [[], ["--Inbox-poll"]])
def test_link_that_cannot_be_followed(tmp_path: Path, argv: list[str]) -> None:
    (tmp_path / "watched").mkdir()
    with service(tmp_path, WATCHER, *argv) as process:
        process.read_until_started()
        for name, target in (("loop", "loop"), ("long", "x" * 300)):
            (tmp_path / "watched" / name).symlink_to(target)
            process.read_until(f"created {name}")
        (tmp_path / "watched" / "good").touch()
        process.read_until("created good")
        assert process.stop() == 0
    assert sum("Cannot look at" in line for line in process.lines) == 2


@pytest.mark.parametrize("argv", [[], ["--Inbox-poll"]])
def test_target_of_a_watched_link_is_swapped(tmp_path: Path, argv: list[str]) -> None:
    (tmp_path / "watched").mkdir()
    for name, text in (("one", "1"), ("two", "22")):
        (tmp_path / "watched" / f"..{name}").mkdir()
        (tmp_path / "watched" / f"..{name}" / "conf").write_text(text)
    (tmp_path / "watched" / "..data").symlink_to("..one")
    (tmp_path / "watched" / "conf").symlink_to("..data/conf")
    with service(tmp_path, WATCHER, *argv) as process:
        process.read_until_started()
        (tmp_path / "watched" / "..data_tmp").symlink_to("..two")
        (tmp_path / "watched" / "..data_tmp").rename(tmp_path / "watched" / "..data")
        process.read_until("changed conf 2")
        assert process.stop() == 0


@pytest.mark.parametrize("argv", [[], ["--Inbox-poll"]])
def test_callback_of_a_watcher_that_fails(tmp_path: Path, argv: list[str]) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / "poison").touch()
    with service(tmp_path, WATCHER, *argv) as process:
        process.read_until_started()
        (tmp_path / "watched" / "poison").write_text("333")
        process.read_until("changed poison 3")
        assert process.stop() == 0
    assert sum("Inbox failed: OSError: disk full" in line for line in process.lines) == 2


def test_date_set_while_a_task_waits() -> None:
    class Often(PeriodicTask):
        CRON = "*/5 * * * *"
        clock = TurnableClock(date=datetime(1970, 1, 2, 0, 1, tzinfo=UTC).timestamp())

        def execute(self, context: ExecuteContext | None = None) -> None:
            pass

    with running_task(Often) as task:
        start = Often.clock.monotonic()
        Often.clock.wait_for_waiter_until(start + 240)
        Often.clock.set_date(datetime(2026, 6, 1, 0, 2, tzinfo=UTC).timestamp())
        Often.clock.wait_for_waiter_until(start + 180)
        assert task.n_iterations() == 1
        assert task.n_missed() > 5_000_000
        Often.clock.set_date(datetime(2016, 6, 1, 0, 3, tzinfo=UTC).timestamp())
        Often.clock.wait_for_waiter_until(start + 120)


def test_output_of_a_process_that_is_no_text(tmp_path: Path) -> None:
    body = r"""
from sparts.tasks.select import SelectTask
class Programs(SelectTask):
    def _runloop(self):
        script = "printf '\\377'; seq 100000; exit 3"
        for settings in ({}, {"errors": "strict"}, {"text": False}):
            future = self.popen_communicate(["sh", "-c", script], **settings)
            future.add_done_callback(lambda f: say(type(f.exception()).__name__))
        super()._runloop()
"""
    with service(tmp_path, body) as process:
        ended = {"ProcessFailed": 2, "UnicodeDecodeError": 1}
        for _ in range(3):
            ended[process.read_until("^(ProcessFailed|UnicodeDecodeError)$")[1]] -= 1
        assert not any(ended.values())
        assert process.stop() == 0
