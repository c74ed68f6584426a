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


@pytest.fixture(params=["inotify", "poll"])
def method(request: pytest.FixtureRequest) -> str:
    """Each of the two ways to watch."""
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to watch."""
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


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
def test_file_that_was_not_taken_is_reported_again(folder: Path, method: str, error: Any) -> None:
    put(folder / "old", "1")
    with watching(folder, method, **failing("onFileCreated", error)) as task:
        put(folder / "new", "1")
        task.sees(("failed",), ("failed",), ("created", "new"))
        assert task.n_events() == 1
    with watching(folder, method, **failing("onFileChanged", error)) as task:
        put(folder / "old", "22")
        task.sees(("failed",), ("failed",), ("changed", "old", "2"))
    with watching(folder, method, **failing("onFileDeleted", error)) as task:
        (folder / "old").unlink()
        task.sees(("failed",), ("failed",), ("deleted", "old"))
        put(folder / "other", "1")
        task.sees(("created", "other"))


@ERRORS
def test_move_that_was_not_taken_is_reported_again(folder: Path, error: Any) -> None:
    put(folder / "old", "1")
    with watching(folder, "inotify", Moving, **failing("onFileMoved", error)) as task:
        (folder / "old").rename(folder / "new")
        task.sees(("failed",), ("failed",), ("moved", "old", "new"))


@ERRORS
def test_folder_that_was_not_taken_is_reported_again(folder: Path, method: str, error: Any) -> None:
    with watching(folder, method, **failing("onDirectoryDeleted", error)) as task:
        folder.rmdir()
        task.sees(("failed",), ("failed",), ("gone",))
    with watching(folder, method, **failing("onDirectoryCreated", error)) as task:
        folder.mkdir()
        task.sees(("failed",), ("failed",), ("back",))
        put(folder / "a", "1")
        task.sees(("created", "a"))


@pytest.mark.parametrize("settings", [{}, {"RESTART": AT_ONCE}, {"ON_ERROR": "log"}])
def test_one_refused_file_delays_no_other(
    folder: Path, method: str, settings: dict[str, Any]
) -> None:
    ready: list[bool] = []

    class Choosy(Watching):
        RETRY_AFTER = 0.01

        def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
            if name == "a" and not ready:
                raise ValueError("not now") if settings else TryLater(after=0.01)
            super().onFileCreated(name, stat)

    with watching(folder, method, Choosy, **settings) as task:
        for name in ("a", "b", "c"):
            put(folder / name, "1")
        task.sees(("created", "b"), ("created", "c"))
        ready.append(True)
        task.sees(("created", "a"))


def test_exception_of_a_callback_ends_the_service(folder: Path, method: str) -> None:
    class Broken(Watching):
        def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
            super().onFileCreated(name, stat)
            raise ValueError("no disk")

    def watch() -> None:
        with watching(folder, method, Broken) as task:
            put(folder / "a", "1")
            task.sees(("created", "a"))
            task.stop_event.wait(SOON)

    with pytest.raises(TaskFailedError, match="no disk"):
        watch()


def test_refused_initial_file_is_reported_again(folder: Path, method: str) -> None:
    put(folder / "old", "1")
    settings = failing("onFileCreated", lambda: OSError("disk full"))
    with watching(folder, method, IGNORE_INITIAL_FILES=False, check=False, **settings) as task:
        task.sees(("failed",), ("failed",), ("created", "old"))


# -- what sparts 0.7 had ---------------------------------------------------------------------------


def test_listdir_and_stat_may_be_overridden(folder: Path, method: str) -> None:
    class Texts(Watching):
        def listdir(self, path: str) -> Iterable[str]:
            assert path == str(folder)
            return (name for name in super().listdir(path) if name.endswith(".txt"))

        def stat(self, path: str) -> Any:
            return Path(path).read_text()  # what matters is what is in it

        def onFileChanged(self, name: str, old_stat: Any, new_stat: Any) -> None:  # noqa: N802
            self.told.put(("changed", old_stat, new_stat))

    with watching(folder, method, Texts) as task:
        put(folder / "a.bin", "1")
        put(folder / "a.txt", "one")
        task.sees(("created", "a.txt"))
        put(folder / "a.txt", "two")
        task.sees(("changed", "one", "two"))
        (folder / "a.txt").unlink()
        task.sees(("deleted", "a.txt"))


def test_stat_may_return_an_object_of_any_kind(folder: Path, method: str) -> None:
    class Odd(Watching):
        def stat(self, path: str) -> Any:
            return mock.NonCallableMock(wraps=os.stat(path))  # its st_mode is no number

    with watching(folder, method, Odd, check=False) as task:
        put(folder / "a", "1")
        assert task.told.get(timeout=SOON)[:2] == ("created", "a")


def test_fetch_may_be_overridden(folder: Path, method: str) -> None:
    class Texts(Watching):
        def fetch(self) -> Any:
            return [(name, stat) for name, stat in super().fetch() if name.endswith(".txt")]

    with watching(folder, method, Texts) as task:
        put(folder / "a.bin", "1")
        put(folder / "a.txt", "1")
        task.sees(("created", "a.txt"))
        put(folder / "a.txt", "22")
        task.sees(("changed", "a.txt", "2"))


def test_on_value_changed_may_be_overridden(folder: Path, method: str) -> None:
    class Lists(Watching):
        def onValueChanged(self, old: Any, new: Any) -> None:  # noqa: N802
            self.told.put(tuple(name for name, _ in new))

    with watching(folder, method, Lists) as task:
        put(folder / "b", "1")
        task.sees(("b",))
        put(folder / "a", "1")
        task.sees(("a", "b"))


def test_watcher_gives_its_files_as_a_poller_does(folder: Path, method: str) -> None:
    put(folder / "b", "1")
    with watching(folder, method) as task:
        assert task.fetched.wait(SOON)
        assert [name for name, _ in task.getValue(SOON)] == ["b"]
        put(folder / "a", "22")
        task.sees(("created", "a"))
        task.execute_async().result(SOON)
        assert [(name, stat.st_size) for name, stat in task.current_value] == [("a", 2), ("b", 1)]
        assert isinstance(task, PollerTask)
