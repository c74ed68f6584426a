"""DirectoryWatcherTask: many files and bursts of events, without loss."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sparts.tasks import inotify

from tests.core.running import make_service
from tests.core.watching import Watching, watching


@pytest.fixture(params=["inotify", "poll"])
def method(request: pytest.FixtureRequest) -> str:
    """Each of the two ways to watch."""
    return str(request.param)


def test_ten_thousand_files_come_and_go(tmp_path: Path, method: str) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    names = {f"file{number}" for number in range(10_000)}
    with watching(folder, method) as task:
        for name in names:
            (folder / name).touch()
        created = task.wait_for(lambda found: len(found) == len(names))
        assert set(created) == {("created", name) for name in names}
        shutil.rmtree(folder)
        deleted = task.wait_for(lambda found: found[-1:] == [("gone",)])
        assert set(deleted) == {("deleted", name) for name in names} | {("gone",)}


def test_burst_of_50_000_events_ends_in_the_true_state(tmp_path: Path, method: str) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    sizes: dict[str, int] = {}
    with watching(folder, method) as task:
        for number in range(25_000):  # to write and to close are two events
            name = f"file{number * 7919 % 5_000}"
            with (folder / name).open("a") as file:
                file.write("x")
            sizes[name] = sizes.get(name, 0) + 1
        told: dict[str, int] = {}

        def complete(found: list[tuple[str, ...]]) -> bool:
            if found:
                kind, name, *size = found.pop()
                told[name] = int(size[0]) if kind == "changed" else 1
            return told == sizes

        (folder / "last").touch()
        sizes["last"] = 1
        try:
            task.wait_for(complete)
        finally:
            known = {name: stat.st_size for name, stat in task._known.items()}
        sizes["last"] = 0
        assert known == sizes


def test_events_that_the_kernel_dropped_are_found_by_reading_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Callable[[inotify.Event], None]] = []
    real = inotify.Watcher.__init__

    def forgetful(self: inotify.Watcher, path: str, tell: Callable[[inotify.Event], None]) -> None:
        told.append(tell)
        real(self, path, lambda event: None)

    monkeypatch.setattr(inotify.Watcher, "__init__", forgetful)
    with watching(tmp_path, "inotify") as task:
        (tmp_path / "unnoticed").touch()
        for number in range(1000):
            told[0](inotify.Touched(f"noise{number % 7}", gone=False))
        task.sees(("created", "unnoticed"))


def test_dropped_events_of_a_burst_that_trickles_in_are_found_too(tmp_path: Path) -> None:
    service = make_service(type("Watcher", (Watching,), {"PATH": str(tmp_path)}))
    service.tasks.create(service)
    task = service.requireTask("Watcher")
    task.initTask()
    task._watcher.stop()
    task._watcher.join()
    (tmp_path / "unnoticed").touch()
    for number in range(1000):
        assert task.told.empty()
        task._events = [inotify.Touched(f"noise{number % 7}", gone=False)]
        task.execute()
    task.sees(("created", "unnoticed"))
