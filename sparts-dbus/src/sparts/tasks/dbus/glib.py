"""GLib's main loop as a task, for code that needs it: GStreamer, libsecret, Gio.

It is an asyncio loop too, on a GLib context of its own: PyGObject's ``gi.events`` runs asyncio
inside of GLib (https://pygobject.gnome.org/guide/asynchronous.html). Its event loop policy is left
alone: with it, ``asyncio.run`` fails.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from gi.events import GLibEventLoop
from gi.repository import GLib
from sparts.tasks.asyncio import AsyncioLoopTask

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator


class _Loop(GLibEventLoop):  # type: ignore[misc]
    """GLib's loop, which hands on what asks for an exit instead of printing it."""

    def __init__(self) -> None:
        self._context: Any = None
        super().__init__(GLib.MainContext.new())
        self._leaving: BaseException | None = None

    @property
    def context(self) -> Any:
        """The GLib context."""
        return self._context

    @contextmanager
    def running(self, quit_func: Callable[[], object]) -> Iterator[None]:
        """Mark the loop as running; called by PyGObject around whatever runs the context."""
        if not __debug__:  # PyGObject acquires the context in an `assert`, and always releases it
            self._context.acquire()
        with super().running(quit_func):
            yield

    def run_forever(self) -> None:
        """Run until `stop`; raise `SystemExit` or `KeyboardInterrupt` of a callback."""
        self._context.push_thread_default()
        try:
            super().run_forever()
        finally:
            self._context.pop_thread_default()
        error, self._leaving = self._leaving, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Close the loop, and let go of its context, which holds a descriptor."""
        super().close()
        self._context = self._main_loop = None

    def _run_once(self) -> None:
        try:
            super()._run_once()
        except (SystemExit, KeyboardInterrupt) as error:
            self._leaving = error
            self.stop()


def glib_loop() -> asyncio.AbstractEventLoop:
    """Make a GLib main loop that is an asyncio loop."""
    loop: asyncio.AbstractEventLoop = _Loop()
    return loop


class GLibMainLoopTask(AsyncioLoopTask):
    """Runs a GLib main loop in a thread of its own, with a context of its own.

    The context is the thread's default there: what is called in the loop and uses GLib's default
    context of the thread (Gio, GStreamer's buses) belongs to it. Coroutines run in it too.
    """

    OPT_PREFIX: ClassVar[str | None] = "glib"

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make GLib's loop."""
        return glib_loop()

    @property
    def context(self) -> Any:
        """The ``GLib.MainContext``, from `initTask` on; a new one after a restart of the task.

        RuntimeError: it has ended, and none has taken its place.
        """
        loop: Any = self.loop
        return loop.context
