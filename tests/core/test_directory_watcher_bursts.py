"""DirectoryWatcherTask: many files and bursts of events, without loss."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks import file, inotify

from tests.core.watching import SOON, Watching, watching


class Sized(Watching):
    """Notes of which size a new file is: when the look at it is late, not one byte."""

    def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
        """Note it."""
        self.told.put(("changed", name, str(stat.st_size)))


def test_burst_of_50_000_events_ends_true(watched: Path, way: str) -> None:
    sizes: dict[str, int] = {}
    with watching(watched, way, Sized) as task:
        for number in range(25_000):  # to write and to close are two events
            name = f"file{number * 7919 % 5_000}"
            with (watched / name).open("a") as file:
                file.write("x")
            sizes[name] = sizes.get(name, 0) + 1
        told: dict[str, int] = {}

        def complete(found: list[tuple[str, ...]]) -> bool:
            if found:
                _, name, size = found.pop()
                told[name] = int(size)
            return told == sizes

        (watched / "last").touch()
        sizes["last"] = 0
        try:
            task.wait_for(complete)
        finally:
            known = {name: stat.st_size for name, stat in task._known.items()}
        assert known == sizes
        shutil.rmtree(watched)
        deleted = task.wait_for(lambda found: found[-1:] == [("gone",)])
        gone = {found for found in deleted if found[0] != "changed"}
        assert gone == {("deleted", name) for name in sizes} | {("gone",)}


def test_events_that_kernel_dropped_are_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the watcher's thread is held up, more happens than the kernel keeps."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    held, go_on = threading.Event(), threading.Event()
    real = inotify.Watcher._heard

    def hold(self: inotify.Watcher, *event: Any) -> None:
        held.set()
        assert go_on.wait(SOON)
        real(self, *event)

    monkeypatch.setattr(inotify.Watcher, "_heard", hold)
    with watching(tmp_path, "inotify") as task:
        (tmp_path / "first").touch()
        assert held.wait(SOON)
        for _ in range(most // 2):
            (tmp_path / "noise").touch()
            (tmp_path / "noise").unlink()
        (tmp_path / "unnoticed").touch()
        go_on.set()
        found = task.wait_for(lambda found: ("created", "unnoticed") in found)
        assert ("created", "first") in found


def test_more_events_than_are_kept_have_folder_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_MOST_EVENTS", 10)
    with watching(tmp_path, "inotify") as task:
        for number in range(1000):
            (tmp_path / str(number)).touch()
        task.wait_for(lambda found: len(found) == 1000)
        assert len(task._events) <= 11
