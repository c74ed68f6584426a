"""Event loops that are watched for what blocks them: asyncio's own, and uvloop's."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError
from sparts.loop_watch import LoopWatch

if TYPE_CHECKING:
    from collections.abc import Callable


def asyncio_loop(
    threshold: float, report: Callable[[float], None]
) -> tuple[asyncio.AbstractEventLoop, LoopWatch | None]:
    """Make asyncio's own loop, and its watch unless the threshold is 0; see `LoopWatch`."""
    if not threshold:
        return asyncio.new_event_loop(), None
    watch = LoopWatch(threshold, report)
    selector: Any = selectors.DefaultSelector()
    selector.select = watch.around(selector.select)
    return asyncio.SelectorEventLoop(selector), watch


def uvloop_loop(
    threshold: float, report: Callable[[float], None], flag: str
) -> tuple[asyncio.AbstractEventLoop, LoopWatch | None]:
    """Make uvloop's loop, and its watch unless the threshold is 0.

    It does not say when it waits. So the watch has it answer, once it was given something to do.
    Code that a transport calls directly is seen when it schedules anything.

    Args:
        threshold: see `LoopWatch`.
        report: see `LoopWatch`.
        flag: what asked for uvloop, for the error.

    Raises:
        UsageError: uvloop is not installed.
    """
    try:
        import uvloop
    except ImportError:
        raise UsageError(
            f"{flag} needs an extra that is not installed: pip install 'sparts-core[uvloop]'"
        ) from None
    if not threshold:
        return uvloop.new_event_loop(), None

    def now(method: Any) -> Any:
        def schedule(self: Any, *args: Any, **context: Any) -> Any:
            stir()
            return method(self, *args, **context)

        return schedule

    def later(method: Any) -> Any:
        def schedule(self: Any, what: Any, callback: Any, *args: Any, **context: Any) -> Any:
            return method(self, what, stir_and_call, callback, *args, **context)

        return schedule

    def stir_and_call(callback: Any, *args: Any) -> None:
        stir()
        callback(*args)

    plain: Any = uvloop.Loop
    body = {name: now(getattr(plain, name)) for name in ("call_soon", "call_soon_threadsafe")}
    for name in ("call_later", "call_at", "add_reader", "add_writer"):
        body[name] = later(getattr(plain, name))
    loop: asyncio.AbstractEventLoop = type("WatchedLoop", (plain,), body)()
    # Posted past the method above: to ask whether the loop is blocked must not stir the watch.
    watch = LoopWatch(threshold, report, lambda: plain.call_soon_threadsafe(loop, watch.idle))
    stir = watch.stir
    return loop, watch
