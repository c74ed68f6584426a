"""DirectoryWatcherTask: changes that a callback did not take, and methods that are overridden."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sparts.errors import TaskFailedError
from sparts.tasks.periodic import TryLater
from sparts.tasks.poller import PollerTask
from sparts.vtask import RestartPolicy

from tests.core.watching import SOON, Moving, Watching, put, watching

AT_ONCE = RestartPolicy("on-failure", first_wait=0.001, limit=100)


def failing(callback: str, error: Callable[[], BaseException]) -> dict[str, Any]:
    """Make a callback that raises at first, noting that, and its third call is the first taken."""
    calls: list[object] = []
    real = getattr(Moving, callback)

    def fail(self: Any, *args: Any) -> None:
        calls.append(args)
        if len(calls) < 3:
            self.told.put(("failed",))
            raise error()
        real(self, *args)

    return {callback: fail, "RESTART": AT_ONCE, "RETRY_AFTER": 0.001}


ERRORS = pytest.mark.parametrize("error", [lambda: OSError("disk full"), lambda: TryLater(after=0)])


@ERRORS
def test_file_that_was_not_taken_is_reported_again(watched: Path, way: str, error: Any) -> None:
    put(watched / "old", "1")
    with watching(watched, way, **failing("onFileCreated", error)) as task:
        put(watched / "new", "1")
        task.sees(("failed",), ("failed",), ("created", "new"))
        assert task.n_events() == 1
    with watching(watched, way, **failing("onFileChanged", error)) as task:
        put(watched / "old", "22")
        task.sees(("failed",), ("failed",), ("changed", "old", "2"))
    with watching(watched, way, **failing("onFileDeleted", error)) as task:
        (watched / "old").unlink()
        task.sees(("failed",), ("failed",), ("deleted", "old"))
        put(watched / "other", "1")
        task.sees(("created", "other"))


@ERRORS
def test_move_that_was_not_taken_is_reported_again(watched: Path, error: Any) -> None:
    put(watched / "old", "1")
    with watching(watched, "inotify", Moving, **failing("onFileMoved", error)) as task:
        (watched / "old").rename(watched / "new")
        task.sees(("failed",), ("failed",), ("moved", "old", "new"))


@ERRORS
def test_half_of_a_move_is_taken_once(watched: Path, error: Any) -> None:
    put(watched / "old", "1")
    with watching(watched, "inotify", **failing("onFileCreated", error)) as task:
        (watched / "old").rename(watched / "new")
        task.sees(("deleted", "old"), ("failed",), ("failed",), ("created", "new"))


@ERRORS
def test_folder_that_was_not_taken_is_reported_again(watched: Path, way: str, error: Any) -> None:
    with watching(watched, way, **failing("onDirectoryDeleted", error)) as task:
        watched.rmdir()
        task.sees(("failed",), ("failed",), ("gone",))
    with watching(watched, way, **failing("onDirectoryCreated", error)) as task:
        watched.mkdir()
        task.sees(("failed",), ("failed",), ("back",))
        put(watched / "a", "1")
        task.sees(("created", "a"))


@pytest.mark.parametrize("error", [ValueError, GeneratorExit])
@pytest.mark.parametrize("settings", [{}, {"RESTART": AT_ONCE}, {"ON_ERROR": "log"}])
def test_one_refused_file_delays_no_other(
    watched: Path, way: str, settings: dict[str, Any], error: type[BaseException]
) -> None:
    ready: list[bool] = []

    class Choosy(Watching):
        RETRY_AFTER = 0.01

        def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
            if name == "a" and not ready:
                raise error() if settings else TryLater(after=0.01)
            super().onFileCreated(name, stat)

    with watching(watched, way, Choosy, **settings) as task:
        for name in ("a", "b", "c"):
            put(watched / name, "1")
        task.sees(("created", "b"), ("created", "c"))
        ready.append(True)
        task.sees(("created", "a"))


def test_exception_of_a_callback_ends_the_service(watched: Path, way: str) -> None:
    class Broken(Watching):
        def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
            super().onFileCreated(name, stat)
            raise ValueError("no disk")

    failed = pytest.raises(TaskFailedError, match="no disk")
    with failed, watching(watched, way, Broken) as task:
        put(watched / "a", "1")
        task.sees(("created", "a"))
        task.stop_event.wait(SOON)


def test_refused_initial_file_is_reported_again(watched: Path, way: str) -> None:
    put(watched / "old", "1")
    settings = failing("onFileCreated", lambda: OSError("disk full"))
    with watching(watched, way, IGNORE_INITIAL_FILES=False, check=False, **settings) as task:
        task.sees(("failed",), ("failed",), ("created", "old"))


# -- what sparts 0.7 had ---------------------------------------------------------------------------


def test_listdir_and_stat_may_be_overridden(watched: Path, way: str) -> None:
    class Texts(Watching):
        def listdir(self, path: str) -> Iterable[str]:
            assert path == str(watched)
            return (name for name in super().listdir(path) if name.endswith(".txt"))

        def stat(self, path: str) -> Any:
            return Path(path).read_text()  # what matters is what is in it

        def onFileChanged(self, name: str, old_stat: Any, new_stat: Any) -> None:  # noqa: N802
            self.told.put(("changed", old_stat, new_stat))

    with watching(watched, way, Texts) as task:
        put(watched / "a.bin", "1")
        put(watched / "a.txt", "one")
        task.sees(("created", "a.txt"))
        put(watched / "a.txt", "two")
        task.sees(("changed", "one", "two"))
        (watched / "a.txt").unlink()
        task.sees(("deleted", "a.txt"))


def test_stat_may_return_an_object_of_any_kind(watched: Path, way: str) -> None:
    def odd(self: Watching, path: str) -> Any:
        return mock.NonCallableMock(wraps=os.stat(path))  # its st_mode is no number

    with watching(watched, way, check=False, stat=odd) as task:
        put(watched / "a", "1")
        assert task.told.get(timeout=SOON)[:2] == ("created", "a")


def test_fetch_may_be_overridden(watched: Path, way: str) -> None:
    def fetch(self: Watching) -> Any:
        return [(name, stat) for name, stat in Watching.fetch(self) if name.endswith(".txt")]

    with watching(watched, way, fetch=fetch) as task:
        put(watched / "a.bin", "1")
        put(watched / "a.txt", "1")
        task.sees(("created", "a.txt"))
        put(watched / "a.txt", "22")
        task.sees(("changed", "a.txt", "2"))


def test_on_value_changed_may_be_overridden(watched: Path, way: str) -> None:
    def on_value_changed(self: Watching, old: Any, new: Any) -> None:
        self.told.put(tuple(name for name, _ in new))

    with watching(watched, way, onValueChanged=on_value_changed) as task:
        put(watched / "b", "1")
        task.sees(("b",))
        put(watched / "a", "1")
        task.sees(("a", "b"))


def test_watcher_gives_its_files_as_a_poller_does(watched: Path, way: str) -> None:
    put(watched / "b", "1")
    with watching(watched, way) as task:
        assert task.fetched.wait(SOON)
        assert [name for name, _ in task.getValue(SOON)] == ["b"]
        put(watched / "a", "22")
        task.sees(("created", "a"))
        task.execute_async().result(SOON)
        assert [(name, stat.st_size) for name, stat in task.current_value] == [("a", 2), ("b", 1)]
        assert isinstance(task, PollerTask)
