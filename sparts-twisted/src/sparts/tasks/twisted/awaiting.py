"""Awaiting in a reactor: deferreds, futures and, on an asyncio loop, what belongs to asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import types
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from sparts.errors import LoopStoppedError

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, fail, inlineCallbacks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from sparts.tasks.queue import QueueTask


def deferred_of(
    result: Any, reactor: Any, loop: asyncio.AbstractEventLoop | None
) -> Deferred[Any] | None:
    """Return a deferred of what something ends with that can be awaited; None: it cannot be.

    Called in the reactor's thread. A coroutine may await deferreds, the futures of
    `QueueTask.submit` and the like and, if there is a ``loop``, whatever asyncio awaits.
    """
    if isinstance(result, Deferred):
        return result
    if not hasattr(result, "__await__"):
        return None
    if loop is None:
        return _drive(result, reactor)
    task = loop.create_task(_run(result))
    if hasattr(result, "close"):  # a coroutine, which may be cancelled before it begins
        task.add_done_callback(lambda _: result.close())
    return Deferred.fromFuture(task)


def deferred_of_future(future: Future[Any], reactor: Any) -> Deferred[Any]:
    """Return a deferred, in the reactor's thread, of a future that ends in any thread."""
    cancel: Any = lambda _: future.cancel()  # noqa: E731
    deferred: Deferred[Any] = Deferred(cancel)

    def fire() -> None:
        if deferred.called:
            return
        try:
            result = future.result()
        except BaseException as error:
            deferred.errback(error)
        else:
            deferred.callback(result)

    def ended(_: object) -> None:
        with contextlib.suppress(LoopStoppedError):
            reactor.callFromThread(fire)

    future.add_done_callback(ended)
    return deferred


def deferToTask(  # noqa: N802 - as Twisted's deferToThread
    task: QueueTask, item: Any, timeout: float = 0.0
) -> Deferred[Any]:
    """Put an item into the queue of a task, and return a deferred of what ``execute`` makes of it.

    Called in the reactor's thread, in which the deferred fires. Cancelling it keeps the item from
    being worked on, if that has not begun.

    Args:
        task: works on the item, in a thread of its own.
        item: what to work on.
        timeout: seconds to wait for room in the queue, which holds up the reactor.

    The deferred's failures: ``queue.Full`` (there is no room), ``TaskStoppedError``, what
    ``execute`` raised.
    """
    try:
        return deferred_of_future(task.submit(item, timeout), _reactor)
    except Exception as error:
        return fail(error)


@inlineCallbacks
def _drive(awaitable: Awaitable[Any], reactor: Any) -> Generator[Deferred[Any], Any, Any]:
    """Run what can be awaited, on Twisted alone."""
    steps = awaitable.__await__()
    step: Callable[[Any], Any] = steps.send
    value: Any = None
    while True:
        try:
            waited = step(value)
        except StopIteration as end:
            return end.value
        try:
            if isinstance(waited, Future):
                yield deferred_of_future(waited, reactor)
            elif isinstance(waited, Deferred):
                yield waited
            else:
                raise TypeError(
                    f"{waited!r} cannot be awaited on this reactor: only deferreds and futures can."
                    f" --twisted-reactor asyncio knows what belongs to asyncio, too."
                )
        except BaseException as error:  # GeneratorExit, too
            step, value = steps.throw, error
        else:
            step, value = steps.send, None


async def _run(awaitable: Awaitable[Any]) -> Any:
    return await _translated(awaitable)


@types.coroutine
def _translated(awaitable: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """Run what can be awaited, on asyncio, which does not know deferreds."""
    steps = awaitable.__await__()
    step: Callable[[Any], Any] = steps.send
    value: Any = None
    while True:
        try:
            waited = step(value)
        except StopIteration as end:
            return end.value
        try:
            if isinstance(waited, Deferred):
                yield from _fired(waited).__await__()
                value = None
            else:
                value = yield waited
        except BaseException as error:  # GeneratorExit, too
            step, value = steps.throw, error
        else:
            step = steps.send


async def _fired(deferred: Deferred[Any]) -> None:
    """Wait until a deferred has a result, which it keeps."""
    fired = asyncio.get_running_loop().create_future()

    def note(result: Any) -> Any:
        if not fired.done():
            fired.set_result(None)
        return result

    deferred.addBoth(note)
    try:
        await fired
    except asyncio.CancelledError:
        deferred.addErrback(lambda _: None)
        deferred.cancel()
        raise
