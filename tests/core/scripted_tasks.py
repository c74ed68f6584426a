"""Tasks of both kinds, a thread and a coroutine, whose every run does what a test has written."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from sparts.tasks.asyncio import AsyncioTask
from sparts.testing.waiting import WAIT
from sparts.vtask import RestartPolicy, VTask

AT_ONCE = RestartPolicy("on-failure", first_wait=0.0)
LATE = RestartPolicy("on-failure", first_wait=3600.0, max_wait=3600.0)


class _Notes(VTask):
    """Notes its runs."""

    SCRIPT: ClassVar[Sequence[BaseException | str]] = ()
    """What each run does: raise, "return", or (as when all are done) wait for the stop."""

    def initTask(self) -> None:  # noqa: N802
        """Make the notes."""
        super().initTask()
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.script = list(self.SCRIPT)

    def waits(self) -> bool:
        """Begin a run: raise what it raises, or tell whether it waits for the stop."""
        self.events.put("began")
        outcome = self.script.pop(0) if self.script else "wait"
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome == "wait"

    def next_events(self, number: int) -> list[str]:
        """Wait for so many of "began" and "ended"; a run that raises has no end."""
        return [self.events.get(timeout=WAIT) for _ in range(number)]


class Scripted(_Notes):
    """Runs in a thread."""

    def _runloop(self) -> None:
        if self.waits():
            self.stop_event.wait()
        self.events.put("ended")


class AsyncScripted(AsyncioTask, _Notes):
    """Runs as a coroutine."""

    async def run(self) -> None:
        """Do what is written."""
        waits = self.waits()
        try:
            if waits:
                await asyncio.Event().wait()
        finally:
            self.events.put("ended")


T = TypeVar("T", bound=_Notes)


def scripted(kind: type[T], *script: BaseException | str, **attributes: Any) -> type[T]:
    """Make a task type of a kind that does this."""
    return type("Scripted", (kind,), {"SCRIPT": script, **attributes})
