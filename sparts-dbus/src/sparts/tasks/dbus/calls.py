"""Running what comes in: each call of an exported method, from its message to its reply."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dbus_fast import DBusError, Message, MessageType
from dbus_fast.signature import SignatureTree, get_signature_tree
from sparts.calls import awaiting, blocking
from sparts.errors import SpartsError, describe, log_error, message_of, text_of
from sparts.net.coroutines import is_cancelled
from sparts.net.threads import Threads
from sparts.tasks.dbus.descriptors import (
    duplicated,
    hand_over,
    may_have_fds,
    release,
    with_fds,
    with_indices,
)
from sparts.tasks.dbus.errors import OURS, STANDARD, error_name, own_name, refuse_fds
from sparts.tasks.dbus.memory import weight
from sparts.tasks.dbus.types import converter
from sparts.tasks.dbus.validity import is_interface_name
from sparts.tasks.dbus.wrapping import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from logging import Logger

    from sparts.calls import Wrapper
    from sparts.counters import Sum
    from sparts.loops import LoopTask
    from sparts.tasks.dbus.bus import Bus
    from sparts.tasks.dbus.interfaces import Argument

NO_REPLY = 1
"""The flag of a message that asks for no reply."""
LONGEST_ERROR = 1 << 16
"""Characters of the text of an error that are sent."""


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

    __slots__ = ("decode", "encode", "fn", "gives_fds", "in_signature", "in_signatures", "is_async",
                 "label", "out", "takes_fds")  # fmt: skip

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
        self.label: str = label
        self.fn: Callable[..., Any] = fn
        self.is_async: bool = is_async
        self.in_signature: str = "".join(argument.type.signature for argument in arguments)
        self.in_signatures: Container[str] = (self.in_signature,)
        self.takes_fds: bool = may_have_fds(self.in_signature)
        self.decode: Callable[[Sequence[Any]], list[Any]] | None = converter(
            [argument.type.decode for argument in arguments]
        )
        self.out: SignatureTree = get_signature_tree(
            "".join(result.type.signature for result in results)
        )
        self.gives_fds: bool = may_have_fds(self.out.signature)
        encode = converter([result.type.encode for result in results])
        if not results:
            self.encode: Callable[[Any], list[Any]] = lambda _: []
        elif single:
            one = results[0].type.encode
            self.encode = (lambda result: [one(result)]) if one else (lambda result: [result])
        else:
            self.encode = encode or list

    def bad_result(self, error: Exception) -> DBusError | None:
        """Return what the caller gets for a result that cannot be written; None: a line says it."""
        return None


class Call:
    """A call that has begun and has no reply yet."""

    __slots__ = ("bound", "bus", "message", "task", "weight")

    def __init__(self, bus: Bus, message: Message, bound: Bound, weight: int) -> None:
        self.bus: Bus = bus
        self.message: Message = message
        self.bound: Bound = bound
        self.weight: int = weight
        self.task: asyncio.Task[None] | None = None

    def arguments(self) -> Sequence[Any]:
        """Return the Python values that the method is called with."""
        body = with_fds(self.message) if self.bound.takes_fds else self.message.body
        return self.bound.decode(body) if self.bound.decode else body


class Owner(Protocol):
    """The task whose methods are called."""

    name: str

    @property
    def _call_wrappers(self) -> Sequence[Wrapper]:
        """What plugins wrap its calls in."""

    @property
    def calls(self) -> Sum:
        """How many have come in."""

    @property
    def errors(self) -> Sum:
        """How many have ended with an error."""

    @property
    def n_refused(self) -> Sum:
        """How many were refused for lack of memory."""

    @property
    def logger(self) -> Logger:
        """Where errors go."""

    @property
    def loop_task(self) -> LoopTask:
        """The loop that the calls come in by."""


class Calls:
    """The calls that run now; everything but `_work` happens in the loop's thread.

    Args:
        owner: whose methods are called.
        who: what errors call the service.
        threads: how many plain methods run at a time.
        memory: bytes that calls without a reply may take together.
    """

    def __init__(self, owner: Owner, who: str, threads: int, memory: int) -> None:
        self._owner = owner
        self._who = who
        self._threads = Threads(threads, owner.logger.name)
        self._most, self._taken = memory, 0  # bytes
        self._in_thread, self._in_loop = blocking(owner), awaiting(owner)
        self._running: set[Call] = set()
        self._empty: asyncio.Future[None] | None = None
        self.ending: bool = False

    def begin(self, bus: Bus, message: Message, bound: Bound) -> None:
        """Call a method, and reply when it has returned."""
        if self.ending:
            self._refuse(bus, message, OURS + "Stopping", f"{self._who} stops.")
            return
        if message.signature not in bound.in_signatures:
            text = f"{bound.label} takes {bound.in_signature!r}, not {message.signature!r}."
            self._refuse(bus, message, STANDARD + "InvalidArgs", text)
            return
        needed = weight(message)
        if self._taken + needed > self._most:
            self._owner.n_refused.increment()
            text = f"{self._who} has too many calls that wait: {self._taken} bytes."
            self._refuse(bus, message, STANDARD + "LimitsExceeded", text)
            return
        self._taken += needed
        self._owner.calls.increment()
        call = Call(bus, message, bound, needed)
        self._running.add(call)
        if not bound.is_async:
            self._threads.run(partial(copy_context().run, self._work, call))
            return
        call.task = asyncio.get_running_loop().create_task(self._await(call))

    def _refuse(self, bus: Bus, message: Message, name: str, text: str) -> None:
        refuse(bus, message, name, text)
        release(message)

    async def _await(self, call: Call) -> None:
        message = call.message
        _caller.set(Caller(message.sender or "", message.path or "", message, call.bus))
        try:
            bound = call.bound
            direct = bound.decode is None and not bound.takes_fds
            given = message.body if direct else call.arguments()
            function = wrapped(self._in_loop, self._owner, message, bound)
            result = await function(*given)
            body = bound.encode(result)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                self._cut(call)
                raise
            self._fail(call, error)
        else:
            self._reply(call, body)

    def _work(self, call: Call) -> None:
        """Run a method in a thread, and in a context of its own."""
        message = call.message
        body: list[Any] = []
        error: BaseException | None = None
        _caller.set(Caller(message.sender or "", message.path or "", message, call.bus))
        try:
            bound = call.bound
            function = wrapped(self._in_thread, self._owner, message, bound)
            body = bound.encode(function(*call.arguments()))
        except BaseException as caught:  # it reaches the caller
            error = caught
        if error is None:
            self._owner.loop_task.post_if_open(lambda: self._reply(call, body))
        else:
            failure = error
            self._owner.loop_task.post_if_open(lambda: self._fail(call, failure))

    # -- replies -----------------------------------------------------------------------------------

    def _reply(self, call: Call, body: list[Any]) -> None:
        if not self._over(call):
            return
        message, bound, bus = call.message, call.bound, call.bus
        if message.flags.value & NO_REPLY:
            return
        try:
            fds: list[int] = []
            if bound.gives_fds:
                body, given = with_indices(bound.out, body)
                if given:
                    try:
                        refuse_fds(bus.passes_fds)
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
            if (known := bound.bad_result(error)) is not None:
                refuse(bus, message, known.type, known.text)
                return
            what = f"{bound.label} returned what is not {bound.out.signature!r}"
            text = f"{what}: {message_of(error)}"
            self._owner.errors.increment()
            log_error(self._owner.logger, "%s", text, error=error)
            refuse(bus, message, STANDARD + "Failed", text)

    def _fail(self, call: Call, error: BaseException) -> None:
        if not self._over(call):
            return
        self._owner.errors.increment()
        label = call.bound.label
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._owner.loop_task.exit_asked(error)
        elif isinstance(error, DBusError | SpartsError) or own_name(error):
            self._owner.logger.debug("%s raised %s", label, describe(error))
        else:
            log_error(self._owner.logger, "%s failed", label, error=error)
        if isinstance(error, DBusError):
            refuse(call.bus, call.message, error.type, error.text)
        else:
            refuse(call.bus, call.message, error_name(error), message_of(error))

    def _cut(self, call: Call) -> None:
        if self._over(call):
            text = f"{self._who} stops: {call.bound.label} was cut off."
            refuse(call.bus, call.message, OURS + "Stopping", text)

    def _over(self, call: Call) -> bool:
        """Note the end of a call; False if it has been cut off before."""
        if call not in self._running:
            return False
        self._running.remove(call)
        self._taken -= call.weight
        release(call.message)
        if self._empty is not None and not self._running and not self._empty.done():
            self._empty.set_result(None)
        return True

    # -- the end -----------------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget the calls of a loop that has failed since."""
        for call in self._running:
            self._taken -= call.weight
            release(call.message)
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


def refuse(bus: Bus, message: Message, name: str, text: str) -> None:
    """Reply to a call with an error, if it asks for a reply.

    What D-Bus does not allow in the text of an error is escaped, and its end cut off if it is long.
    """
    if message.flags.value & NO_REPLY:
        return
    text = text_of(text)
    if not is_interface_name(name):
        name, text = STANDARD + "Failed", f"{text_of(name)}: {text}"
    text = text[:LONGEST_ERROR].replace("\0", "\\0").encode(errors="backslashreplace").decode()
    bus.send_quietly(Message.new_error(message, name, text))
