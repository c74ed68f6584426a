"""A directory watcher that puts what is reported to it into a queue, for its tests."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparts.tasks.file import DirectoryWatcherTask
from sparts.testing.running import running, service_of

SOON = 30
"""Seconds that something which happens at once may take on a busy machine."""


class Watching(DirectoryWatcherTask):
    """A task that puts what is reported to it into a queue."""

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.told: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

    def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
        """Note it."""
        self.told.put(("created", name))

    def onFileDeleted(self, name: str, old_stat: os.stat_result) -> None:  # noqa: N802
        """Note it."""
        self.told.put(("deleted", name))

    def onFileChanged(  # noqa: N802
        self, name: str, old_stat: os.stat_result, new_stat: os.stat_result
    ) -> None:
        """Note it."""
        self.told.put(("changed", name, str(new_stat.st_size)))

    def onDirectoryDeleted(self) -> None:  # noqa: N802
        """Note it."""
        self.told.put(("gone",))

    def onDirectoryCreated(self) -> None:  # noqa: N802
        """Note it."""
        self.told.put(("back",))

    def wait_for(self, wanted: Callable[[list[tuple[str, ...]]], bool]) -> list[tuple[str, ...]]:
        """Collect what is reported until that is what was ``wanted``."""
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
        """Note it."""
        self.told.put(("moved", old_name, new_name))


@contextmanager
def watching(
    path: Path,
    method: str,
    kind: type[Watching] = Watching,
    check: bool = True,
    **attributes: Any,
) -> Iterator[Any]:
    """Run a task that watches ``path``; ``check``: until it has had a look that does not fail."""
    cls = type("Watcher", (kind,), {"PATH": str(path), "INTERVAL": 0.02, **attributes})
    argv = ["--Watcher-poll"] if method == "poll" else []
    with running(service_of(cls), *argv) as service:
        task = service.requireTask("Watcher")
        assert (task._watcher is None) == (method == "poll")
        if check:
            task.execute_async().result(SOON)
        yield task


def put(path: Path, text: str) -> None:
    """Give a file its contents in one step, so that no half of it can be seen."""
    scratch = path.parent.with_name(path.parent.name + ".scratch")
    scratch.write_text(text)
    scratch.replace(path)
