"""Running what comes in: each call of an exported method, from its message to its reply."""

from __future__ import annotations

import asyncio
import dis
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from dbus_fast import DBusError, Message, MessageType
from dbus_fast._private.util import (
    replace_fds_with_idx,
    replace_idx_with_fds,
    signature_contains_type,
)
from dbus_fast.signature import get_signature_tree
from sparts.errors import SpartsError, describe, message_of, text_of
from sparts.tasks.dbus.errors import OURS, STANDARD, NoDescriptorsError, error_name, own_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from sparts.tasks.dbus.bus import Bus
    from sparts.tasks.dbus.exporting import Argument
    from sparts.tasks.dbus.service import DBusServiceTask

NO_REPLY = 1
"""The flag of a message that asks for no reply."""
EAGER = sys.version_info >= (3, 12)
"""Whether a coroutine can run up to its first wait at once, without a turn of the loop."""


class Caller(NamedTuple):
    """Who calls: what `caller` returns in a method."""

    sender: str
    """The caller's unique name on the bus, such as ``:1.42``."""
    path: str
    """The object that is called."""
    message: Message
    """The call."""
    bus: Bus
    """The connection that it came in by."""


_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Return who called the exported method that runs here.

    Raises:
        LookupError: no exported method runs here.
    """
    return _caller.get()


class Bound:
    """A method of one object, ready to be called."""

    __slots__ = (
        "decode", "encode", "fn", "in_signature", "is_async", "label", "moves_fds", "never_waits",
        "out",
    )  # fmt: skip

    def __init__(
        self,
        label: str,
        fn: Callable[..., Any],
        arguments: Sequence[Argument],
        results: Sequence[Argument],
        *,
        single: bool,
        is_async: bool,
    ) -> None:
        from sparts.tasks.dbus.types import converter

        self.label = label
        self.fn = fn
        self.is_async = is_async
        self.never_waits = is_async and never_waits(fn)
        self.in_signature = "".join(argument.type.signature for argument in arguments)
        self.decode = converter([argument.type.decode for argument in arguments])
        self.out = get_signature_tree("".join(result.type.signature for result in results))
        self.moves_fds = any(token in self.out.signature for token in "hv")
        encode = converter([result.type.encode for result in results])
        if not results:
            self.encode: Callable[[Any], list[Any]] = lambda _: []
        elif single:
            one = results[0].type.encode
            self.encode = (lambda result: [one(result)]) if one else (lambda result: [result])
        else:
            self.encode = encode or list


class Call:
    """A call that has begun and has no reply yet."""

    __slots__ = ("bound", "bus", "message", "task")

    def __init__(self, bus: Bus, message: Message, bound: Bound) -> None:
        self.bus = bus
        self.message = message
        self.bound = bound
        self.task: asyncio.Task[None] | None = None

    def arguments(self) -> Sequence[Any]:
        """Return the Python values that the method is called with."""
        message, body = self.message, self.message.body
        if message.unix_fds:
            body = replace_idx_with_fds(message.signature_tree, body, message.unix_fds)
        return self.bound.decode(body) if self.bound.decode else body


class Calls:
    """The calls that run now; everything but `_work` happens in the loop's thread."""

    def __init__(self, task: DBusServiceTask, threads: int) -> None:
        self._task = task
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=task.logger.name)
        self._running: set[Call] = set()
        self._empty: asyncio.Future[None] | None = None
        self.ending = False

    def begin(self, bus: Bus, message: Message, bound: Bound) -> None:
        """Call a method, and reply when it has returned."""
        if self.ending:
            refuse(bus, message, OURS + "Stopping", f"{self._task.service.name} stops.")
            close_fds(message.unix_fds)
            return
        if message.signature != bound.in_signature:
            text = f"{bound.label} takes {bound.in_signature!r}, not {message.signature!r}."
            refuse(bus, message, STANDARD + "InvalidArgs", text)
            close_fds(message.unix_fds)
            return
        self._task.calls.increment()
        call = Call(bus, message, bound)
        self._running.add(call)
        if not bound.is_async:
            self._threads.submit(self._work, call)
            return
        if bound.never_waits:
            self._run(call)
            return
        coroutine = self._await(call)
        if EAGER:
            loop = asyncio.get_running_loop()
            task = _eager_task(coroutine, loop)
            if not task.done():
                call.task = task
        else:
            call.task = asyncio.get_running_loop().create_task(coroutine)

    async def _await(self, call: Call) -> None:
        message = call.message
        _caller.set(Caller(message.sender or "", message.path or "", message, call.bus))
        try:
            bound = call.bound
            result = await bound.fn(*(message.body if bound.decode is None and not message.unix_fds
                                      else call.arguments()))  # fmt: skip
            body = bound.encode(result)
        except asyncio.CancelledError:
            self._cut(call)
            raise
        except BaseException as error:
            self._fail(call, error)
        else:
            self._reply(call, body)

    def _run(self, call: Call) -> None:
        """Run a coroutine that never waits; it needs no task."""
        message = call.message
        token = _caller.set(Caller(message.sender or "", message.path or "", message, call.bus))
        try:
            call.bound.fn(*call.arguments()).send(None)
        except StopIteration as ended:
            self._finish(call, ended.value)
        except BaseException as error:
            self._fail(call, error)
        finally:
            _caller.reset(token)

    def _finish(self, call: Call, result: Any) -> None:
        try:
            body = call.bound.encode(result)
        except Exception as error:  # D-Bus has no type for it
            self._fail(call, error)
        else:
            self._reply(call, body)

    def _work(self, call: Call) -> None:
        """Run a method in a thread of its own."""
        message = call.message
        body: list[Any] = []
        error: BaseException | None = None
        token = _caller.set(Caller(message.sender or "", message.path or "", message, call.bus))
        try:
            body = call.bound.encode(call.bound.fn(*call.arguments()))
        except BaseException as caught:  # it reaches the caller
            error = caught
        finally:
            _caller.reset(token)
        if error is None:
            self._task.loop_task.post_if_open(lambda: self._reply(call, body))
        else:
            failure = error
            self._task.loop_task.post_if_open(lambda: self._fail(call, failure))

    # -- replies -----------------------------------------------------------------------------------

    def _reply(self, call: Call, body: list[Any]) -> None:
        if not self._over(call):
            return
        message, bound, bus = call.message, call.bound, call.bus
        if message.flags.value & NO_REPLY:
            return
        try:
            fds: list[int] = []
            if bound.moves_fds and signature_contains_type(bound.out, body, "h"):
                body, given = replace_fds_with_idx(bound.out, body)
                try:
                    refuse_fds(bus)
                    fds = duplicated(given)
                finally:
                    hand_over(given)
            bus.send_quietly(
                Message(
                    message_type=MessageType.METHOD_RETURN,
                    reply_serial=message.serial,
                    destination=message.sender,
                    signature=bound.out,
                    body=body,
                    unix_fds=fds,
                    validate=False,
                ),
                close=fds,
            )
        except Exception as error:  # what was returned is not of its type
            what = f"{bound.label} returned what is not {bound.out.signature!r}"
            text = f"{what}: {message_of(error)}"
            self._task.errors.increment()
            self._task.logger.error("%s", text, exc_info=error)
            refuse(bus, message, STANDARD + "Failed", text)

    def _fail(self, call: Call, error: BaseException) -> None:
        if not self._over(call):
            return
        self._task.errors.increment()
        label = call.bound.label
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._task.loop_task.exit_asked(error)
        elif isinstance(error, DBusError | SpartsError) or own_name(error):
            self._task.logger.debug("%s raised %s", label, describe(error))
        else:
            self._task.logger.error("%s failed", label, exc_info=error)
        if isinstance(error, DBusError):
            refuse(call.bus, call.message, error.type, error.text)
        else:
            refuse(call.bus, call.message, error_name(error), message_of(error))

    def _cut(self, call: Call) -> None:
        if self._over(call):
            text = f"{self._task.service.name} stops: {call.bound.label} was cut off."
            refuse(call.bus, call.message, OURS + "Stopping", text)

    def _over(self, call: Call) -> bool:
        """Note the end of a call; False if it has been cut off before."""
        if call not in self._running:
            return False
        self._running.remove(call)
        close_fds(call.message.unix_fds)
        if self._empty is not None and not self._running and not self._empty.done():
            self._empty.set_result(None)
        return True

    # -- the end -----------------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget the calls of a loop that has failed since."""
        self._running.clear()

    async def end(self, limit: float | None) -> int:
        """Take no more calls, let those that run finish, and return how many were cut off.

        Args:
            limit: seconds after which what has not finished is cut off; None: never.
        """
        self.ending = True
        if self._running:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._empty], timeout=limit)
        left = list(self._running)
        for call in left:
            self._cut(call)
            if call.task is not None:
                call.task.cancel()
        return len(left)

    def close(self, wait: bool = True) -> None:
        """End the threads; in the lifecycle thread. What still runs in them is waited for."""
        self._threads.shutdown(wait=wait, cancel_futures=True)


def _eager_task(
    coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop
) -> asyncio.Task[None]:
    make: Any = asyncio.Task
    task: asyncio.Task[None] = make(coroutine, loop=loop, eager_start=True)
    return task


def never_waits(fn: Callable[..., Any]) -> bool:
    """Whether a coroutine function has no ``await``, ``async for`` or ``async with`` in it."""
    code = getattr(fn, "__code__", None) or getattr(getattr(fn, "__func__", None), "__code__", None)
    if code is None:
        return False
    waits = {"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "SEND"}
    return not any(instruction.opname in waits for instruction in dis.get_instructions(code))


def refuse(bus: Bus, message: Message, name: str, text: str) -> None:
    """Reply to a call with an error, if it asks for a reply."""
    if not message.flags.value & NO_REPLY:
        text = text_of(text).replace("\0", "\\0").encode(errors="backslashreplace").decode()
        try:
            reply = Message.new_error(message, name, text)
        except Exception:  # no error of a bus has such a name
            reply = Message.new_error(message, STANDARD + "Failed", f"{name}: {text}")
        bus.send_quietly(reply)


def duplicated(files: Sequence[Any]) -> list[int]:
    """Return duplicates of file descriptors, given as numbers or as file objects."""
    found: list[int] = []
    try:
        for file in files:
            found.append(os.dup(file if isinstance(file, int) else file.fileno()))  # noqa: PERF401
    except BaseException:
        close_fds(found)
        raise
    return found


def refuse_fds(bus: Bus) -> None:
    """Raise `NoDescriptorsError` if the bus passes no file descriptors."""
    if not bus.passes_fds:
        raise NoDescriptorsError("this connection passes none: set UNIX_FDS = True on its task")


def hand_over(files: Sequence[Any]) -> None:
    """Close the file objects among what was duplicated; numbers stay whose they were."""
    for file in files:
        if not isinstance(file, int):
            file.close()


def close_fds(fds: Sequence[int]) -> None:
    """Close file descriptors."""
    for fd in fds:
        os.close(fd)
