"""DirectoryWatcherTask: the same callbacks by inotify and by polling; bursts, moves, going away."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from sparts.errors import OptionError
from sparts.tasks import inotify
from sparts.tasks.file import DirectoryWatcherTask
from sparts.testing.clock import TurnableClock
from sparts.testing.running import make_service, running, service_of

from tests.core.watching import SOON, Moving, Watching, put, watching


def test_created_changed_and_deleted_are_told(watched: Path, way: str) -> None:
    with watching(watched, way) as task:
        put(watched / "a", "1")
        task.sees(("created", "a"))
        put(watched / "a", "22")
        task.sees(("changed", "a", "2"))
        with (watched / "a").open("a") as file:
            file.write("333")
        task.sees(("changed", "a", "5"))
        (watched / "a").unlink()
        task.sees(("deleted", "a"))
        assert task.execute_async().result(SOON) is None
        assert task.n_events() == 4


def test_initial_files_are_ignored_or_told(watched: Path, way: str) -> None:
    put(watched / "old", "1")
    with watching(watched, way) as task:
        put(watched / "new", "1")
        task.sees(("created", "new"))
    with watching(watched, way, IGNORE_INITIAL_FILES=False, check=False) as task:
        task.sees(("created", "new"), ("created", "old"))
        assert task.n_files() == 2


def test_broken_links_are_reported_and_subdirectories_not(watched: Path, way: str) -> None:
    with watching(watched, way) as task:
        (watched / "sub").mkdir()
        (watched / "sub" / "inner").touch()
        (watched / "link").symlink_to("nowhere")
        task.sees(("created", "link"))
        (watched / "sub" / "inner").unlink()
        (watched / "sub").rmdir()
        (watched / "link").unlink()
        task.sees(("deleted", "link"))


def test_returning_directory_is_reported_and_watched(watched: Path, way: str) -> None:
    put(watched / "a", "1")
    with watching(watched, way) as task:
        for _ in range(3):
            shutil.rmtree(watched)
            task.sees(("deleted", "a"), ("gone",))
            watched.mkdir()
            task.sees(("back",))
            put(watched / "a", "1")
            task.sees(("created", "a"))
            put(watched / "a", "22")
            task.sees(("changed", "a", "2"))


@pytest.mark.parametrize("moved", ["one", "one/two/watched"])
def test_directory_that_is_moved_is_reported(tmp_path: Path, way: str, moved: str) -> None:
    folder, place, other = tmp_path / "one" / "two" / "watched", tmp_path / moved, tmp_path / "away"
    folder.mkdir(parents=True)
    put(folder / "a", "1")
    with watching(folder, way) as task:
        place.rename(other)
        task.sees(("deleted", "a"), ("gone",))
        put(other / folder.relative_to(place) / "b", "1")
        other.rename(place)
        task.sees(("back",), ("created", "a"), ("created", "b"))


def test_directory_and_its_parents_may_be_missing(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "one" / "two" / "watched"
    with watching(folder, way) as task:
        folder.mkdir(parents=True)
        task.sees(("back",))
        put(folder / "a", "1")
        task.sees(("created", "a"))
        shutil.rmtree(tmp_path / "one")
        task.sees(("deleted", "a"), ("gone",))
        folder.mkdir(parents=True)
        task.sees(("back",))


def test_path_may_be_link_that_changes_its_target(tmp_path: Path, way: str) -> None:
    link = tmp_path / "current"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        put(tmp_path / name / name, "1")
    link.symlink_to("one")
    with watching(link, way) as task:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(link)
        task.sees(("deleted", "one"), ("created", "two"))
        put(tmp_path / "two" / "more", "1")
        task.sees(("created", "more"))


@pytest.mark.linux
def test_moves_are_told_apart_with_inotify(watched: Path) -> None:
    with watching(watched, "inotify", Moving) as task:
        put(watched / "a", "1")
        task.sees(("created", "a"))
        (watched / "a").rename(watched / "b")
        task.sees(("moved", "a", "b"))
        assert list(task._known) == ["b"]
        put(watched / "c", "333")
        task.sees(("created", "c"))
        (watched / "c").replace(watched / "b")
        task.sees(("deleted", "c"), ("changed", "b", "3"))


def test_move_is_deletion_and_creation_by_default(watched: Path, way: str) -> None:
    put(watched / "a", "1")
    with watching(watched, way) as task:
        (watched / "a").rename(watched / "b")
        task.sees(("deleted", "a"), ("created", "b"))


@pytest.mark.linux
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


def test_without_inotify_it_polls_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: inotify.Watcher) -> None:
        raise OSError(28, "no watches are left")

    monkeypatch.setattr(inotify.Watcher, "renew", full)
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    cls = type("Watcher", (Watching,), {"PATH": str(tmp_path), "INTERVAL": 0.02})
    with running(service_of(cls)) as service:
        (tmp_path / "a").touch()
        service.requireTask("Watcher").sees(("created", "a"))
    assert "no watches are left" in caplog.text
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) <= before


@pytest.mark.linux
def test_link_that_cannot_be_watched_is_polled(
    tmp_path: Path, watched: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: inotify.Watcher, name: str) -> None:
        if name == "link":
            raise OSError(28, "no watches are left")

    monkeypatch.setattr(inotify.Watcher, "follow", full)
    put(tmp_path / "target", "1")
    with watching(watched, "inotify") as task:
        (watched / "link").symlink_to("../target")
        task.sees(("created", "link"))
        put(tmp_path / "target", "22")
        task.sees(("changed", "link", "2"))
    assert caplog.text.count("no watches are left") == 1


@pytest.mark.linux
def test_end_of_task_is_end_of_its_watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[inotify.Watcher] = []
    real = inotify.Watcher.join

    def join(self: inotify.Watcher) -> None:
        joined.append(self)
        real(self)

    monkeypatch.setattr(inotify.Watcher, "join", join)
    with watching(tmp_path, "inotify") as task:
        watcher = task._watcher
    assert joined == [watcher]


def test_no_thread_and_no_descriptor_is_left(tmp_path: Path, way: str) -> None:
    def left() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    with watching(tmp_path, way):
        pass
    before = left()
    for _ in range(3):
        with watching(tmp_path, way):
            pass
    assert left() == before


def test_task_without_path_fails_the_start() -> None:
    service = make_service(service_of(DirectoryWatcherTask))
    with pytest.raises(OptionError, match="--DirectoryWatcherTask-path"):
        service.startBG()
