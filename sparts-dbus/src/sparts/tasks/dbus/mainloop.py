"""The event loop that tasks on D-Bus live on, and the base of those tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, overload

from sparts.loops import LoopBoundTask
from sparts.options import Option, option
from sparts.tasks.asyncio import AsyncioLoopTask

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping
    from concurrent.futures import Future

    from sparts.vtask import TaskReference

P = ParamSpec("P")
T = TypeVar("T")


class DBusMainLoopTask(AsyncioLoopTask):
    """Runs the event loop of everything on D-Bus: asyncio's, or GLib's by an option."""

    OPT_PREFIX: ClassVar[str | None] = "dbus-loop"

    glib: Option[bool] = option(
        default=False,
        reloadable=False,
        help="run GLib's main loop, for code that needs it (needs sparts-dbus[glib])",
        advanced=True,
    )

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make the loop that the options ask for."""
        if not self.glib:
            return super().new_loop()
        from sparts.tasks.dbus.glib import glib_loop

        return glib_loop()


class DBusTask(LoopBoundTask):
    """A task that lives on the loop of D-Bus: override `start_in_loop` and `stop_in_loop`."""

    _GONE: ClassVar[Mapping[str, str]] = {
        "_makeBus": "Set USE_SYSTEM_BUS, or give the bus's address."
    }
    LOOP: ClassVar[TaskReference] = DBusMainLoopTask

    @overload
    def asyncRun(
        self, cb: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...
    @overload
    def asyncRun(self, cb: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    def asyncRun(self, cb: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: N802
        """Run a function in the loop's thread, from any thread; the same as ``loop_task.call``.

        Raises:
            LoopStoppedError: the loop has ended for good.
        """
        return self.loop_task.call(cb, *args, **kwargs)
