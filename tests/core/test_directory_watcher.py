"""DirectoryWatcherTask: the same callbacks by inotify and by polling; bursts, moves, going away."""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError
from sparts.tasks import inotify
from sparts.tasks.file import DirectoryWatcherTask
from sparts.testing.clock import TurnableClock

from tests.core.running import make_service, running

SOON = 30
"""Seconds that something which happens at once may take on a busy machine."""


class Watching(DirectoryWatcherTask):
    """A task that puts what it is told of into a queue."""

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.told: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

    def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
        self.told.put(("created", name))

    def onFileDeleted(self, name: str, old_stat: os.stat_result) -> None:  # noqa: N802
        self.told.put(("deleted", name))

    def onFileChanged(  # noqa: N802
        self, name: str, old_stat: os.stat_result, new_stat: os.stat_result
    ) -> None:
        self.told.put(("changed", name, str(new_stat.st_size)))

    def onDirectoryDeleted(self) -> None:  # noqa: N802
        self.told.put(("gone",))

    def onDirectoryCreated(self) -> None:  # noqa: N802
        self.told.put(("back",))

    def wait_for(self, wanted: Callable[[list[tuple[str, ...]]], bool]) -> list[tuple[str, ...]]:
        """Collect what it is told until that is what was ``wanted``."""
        found: list[tuple[str, ...]] = []
        while not wanted(found):
            try:
                found.append(self.told.get(timeout=SOON))
            except queue.Empty:
                raise AssertionError(f"told only of {found}") from None
        return found

    def sees(self, *wanted: tuple[str, ...]) -> None:
        """Wait for just these."""
        found = self.wait_for(lambda found: len(found) >= len(wanted))
        assert found == list(wanted)


class Moving(Watching):
    """A task that wants to know of moves, too."""

    def onFileMoved(  # noqa: N802
        self, old_name: str, new_name: str, old_stat: os.stat_result, new_stat: os.stat_result
    ) -> None:
        self.told.put(("moved", old_name, new_name))


@pytest.fixture(params=["inotify", "poll"])
def method(request: pytest.FixtureRequest) -> str:
    """Each of the two ways to watch."""
    return str(request.param)


@contextmanager
def watching(
    path: Path, method: str, kind: type[Watching] = Watching, **attributes: Any
) -> Iterator[Any]:
    """Run a task that watches ``path``."""
    cls = type("Watcher", (kind,), {"PATH": str(path), "INTERVAL": 0.02, **attributes})
    argv = ["--Watcher-poll"] if method == "poll" else []
    with running(cls, argv=argv) as service:
        task = service.requireTask("Watcher")
        assert (task._watcher is None) == (method == "poll")
        task.execute_async().result(SOON)
        yield task


def put(path: Path, text: str) -> None:
    """Give a file its contents in one step, so that no half of it can be seen."""
    scratch = path.parent.with_name(path.parent.name + ".scratch")
    scratch.write_text(text)
    scratch.replace(path)


def test_created_changed_and_deleted_are_told(tmp_path: Path, method: str) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    with watching(folder, method) as task:
        put(folder / "a", "1")
        task.sees(("created", "a"))
        put(folder / "a", "22")
        task.sees(("changed", "a", "2"))
        with (folder / "a").open("a") as file:
            file.write("333")
        task.sees(("changed", "a", "5"))
        (folder / "a").unlink()
        task.sees(("deleted", "a"))
        assert task.n_events() == 4


def test_initial_files_are_ignored_or_told(tmp_path: Path, method: str) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    put(folder / "old", "1")
    with watching(folder, method) as task:
        put(folder / "new", "1")
        task.sees(("created", "new"))
    kind = type("Watcher", (Watching,), {"PATH": str(folder), "IGNORE_INITIAL_FILES": False})
    with running(kind, argv=["--Watcher-poll"] if method == "poll" else []) as service:
        task = service.requireTask("Watcher")
        task.sees(("created", "new"), ("created", "old"))
        assert task.n_files() == 2


def test_subdirectories_are_not_told_of_and_broken_links_are(tmp_path: Path, method: str) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    with watching(folder, method) as task:
        (folder / "sub").mkdir()
        (folder / "sub" / "inner").touch()
        (folder / "link").symlink_to("nowhere")
        task.sees(("created", "link"))
        (folder / "sub" / "inner").unlink()
        (folder / "sub").rmdir()
        (folder / "link").unlink()
        task.sees(("deleted", "link"))


def test_directory_that_goes_and_comes_back_is_told_and_watched_on(
    tmp_path: Path, method: str
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    put(folder / "a", "1")
    with watching(folder, method) as task:
        for _ in range(3):
            shutil.rmtree(folder)
            task.sees(("deleted", "a"), ("gone",))
            folder.mkdir()
            task.sees(("back",))
            put(folder / "a", "1")
            task.sees(("created", "a"))
            put(folder / "a", "22")
            task.sees(("changed", "a", "2"))


def test_directory_that_is_moved_away_and_back_is_told(tmp_path: Path, method: str) -> None:
    folder, other = tmp_path / "watched", tmp_path / "other"
    folder.mkdir()
    put(folder / "a", "1")
    with watching(folder, method) as task:
        folder.rename(other)
        task.sees(("deleted", "a"), ("gone",))
        put(other / "b", "1")
        other.rename(folder)
        task.sees(("back",), ("created", "a"), ("created", "b"))


def test_directory_may_be_missing_at_the_start_with_those_above_it(
    tmp_path: Path, method: str
) -> None:
    folder = tmp_path / "one" / "two" / "watched"
    with watching(folder, method) as task:
        folder.mkdir(parents=True)
        task.sees(("back",))
        put(folder / "a", "1")
        task.sees(("created", "a"))
        shutil.rmtree(tmp_path / "one")
        task.sees(("deleted", "a"), ("gone",))
        folder.mkdir(parents=True)
        task.sees(("back",))


def test_path_may_be_a_link_that_changes_its_target(tmp_path: Path, method: str) -> None:
    link = tmp_path / "current"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / name, "1")
    link.symlink_to("one")
    with watching(link, method) as task:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(link)
        task.sees(("deleted", "one"), ("created", "two"))
        put(tmp_path / "two" / "more", "1")
        task.sees(("created", "more"))


def test_moves_are_told_apart_with_inotify(tmp_path: Path) -> None:
    with watching(tmp_path, "inotify", Moving) as task:
        (tmp_path / "a").touch()
        task.sees(("created", "a"))
        (tmp_path / "a").rename(tmp_path / "b")
        task.sees(("moved", "a", "b"))
        assert list(task._known) == ["b"]


def test_move_is_a_deletion_and_a_creation_for_who_does_not_ask(
    tmp_path: Path, method: str
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    put(folder / "a", "1")
    with watching(folder, method) as task:
        (folder / "a").rename(folder / "b")
        task.sees(("deleted", "a"), ("created", "b"))


def test_move_onto_a_file_changes_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name * 3)
    with watching(tmp_path, "inotify", Moving) as task:
        (tmp_path / "a").write_text("longer")
        task.wait_for(lambda found: ("changed", "a", "6") in found)
        (tmp_path / "a").replace(tmp_path / "b")
        task.sees(("deleted", "a"), ("changed", "b", "6"))


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


def test_directory_that_is_made_anew_with_the_same_identity_is_watched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    told: queue.SimpleQueue[inotify.Event] = queue.SimpleQueue()
    monkeypatch.setattr(inotify.Watcher, "_look", lambda self: (1, str(tmp_path)))
    watcher = inotify.Watcher(str(folder), told.put)
    try:
        folder.rmdir()
        folder.mkdir()
        assert told.get(timeout=SOON) is None
        watcher.renew()
        (folder / "a").touch()
        while told.get(timeout=SOON) != inotify.Touched("a", gone=False):
            pass
    finally:
        watcher.stop()
        watcher.join()


def test_idle_watcher_sleeps_until_the_kernel_tells(tmp_path: Path) -> None:
    clock = TurnableClock()
    with watching(tmp_path, "inotify", clock=clock):
        assert clock.wait_for_waiters() == [None]


def test_poller_sleeps_for_its_interval(tmp_path: Path) -> None:
    clock = TurnableClock(0)
    with watching(tmp_path, "poll", clock=clock, INTERVAL=5) as task:
        assert clock.wait_for_waiters() == [5]
        (tmp_path / "a").touch()
        clock.turn(5)
        task.sees(("created", "a"))


def test_without_the_extra_it_polls_and_says_how_to_spare_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "watchdog", None)
    cls = type("Watcher", (Watching,), {"PATH": str(tmp_path), "INTERVAL": 0.02})
    with running(cls) as service:
        (tmp_path / "a").touch()
        service.requireTask("Watcher").sees(("created", "a"))
    assert "pip install 'sparts-core[watch]'" in caplog.text


def test_without_watches_left_it_polls_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: inotify.Watcher) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(inotify.Watcher, "renew", full)
    before = threading.active_count()
    cls = type("Watcher", (Watching,), {"PATH": str(tmp_path), "INTERVAL": 0.02})
    with running(cls) as service:
        (tmp_path / "a").touch()
        service.requireTask("Watcher").sees(("created", "a"))
    assert "inotify watch limit reached" in caplog.text
    assert threading.active_count() <= before


def test_end_of_the_task_is_the_end_of_its_watcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[inotify.Watcher] = []
    real = inotify.Watcher.join

    def join(self: inotify.Watcher) -> None:
        joined.append(self)
        real(self)

    monkeypatch.setattr(inotify.Watcher, "join", join)
    with watching(tmp_path, "inotify") as task:
        watcher = task._watcher
    assert joined == [watcher]


def test_no_thread_and_no_descriptor_is_left(tmp_path: Path, method: str) -> None:
    def left() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    with watching(tmp_path, method):
        pass
    before = left()
    for _ in range(3):
        with watching(tmp_path, method):
            pass
    assert left() == before


def test_task_without_a_path_fails_the_start_and_says_what_to_give() -> None:
    service = make_service(DirectoryWatcherTask)
    with pytest.raises(OptionError, match="--DirectoryWatcherTask-path"):
        service.startBG()
