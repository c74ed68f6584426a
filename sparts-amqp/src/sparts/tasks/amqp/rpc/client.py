"""AMQPClient: what `sparts.rpc.connect` calls ``amqp:`` and ``amqps:`` URLs with."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from math import ceil
from typing import TYPE_CHECKING, Any

from sparts.context import ExecuteContext
from sparts.errors import describe
from sparts.rpc.clients import Client, OutgoingCall, collected
from sparts.rpc.errors import InternalError, UnavailableError
from sparts.rpc.values import Values
from sparts.tasks.amqp import messages
from sparts.tasks.amqp.addresses import broker_addresses
from sparts.tasks.amqp.errors import BrokenError, RemoteError, UnroutableError
from sparts.tasks.amqp.link import Link
from sparts.tasks.amqp.outcomes import Outcomes
from sparts.tasks.amqp.publishing import Publish, Publisher
from sparts.tasks.amqp.rpc.calls import layout_of, read_answer, write_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.rpc.interface import Interface
    from sparts.tasks.amqp.wire import Channel, Wire

_PATIENCE = 1.0
"""Seconds without an answer after which it is looked whether anybody serves the queue."""
_GOODBYE = 1.0
"""Seconds in which the connection is closed in order."""


class _Caller(Publisher):
    """The channel of a client: publishes calls, and gets the answers."""

    def __init__(self, link: Link, outcomes: Outcomes) -> None:
        super().__init__(link)
        self.outcomes = outcomes

    def prepare(self, channel: Channel) -> None:
        """Have answers sent to us."""
        self.outcomes.prepare(channel)

    def lost(self) -> None:
        """Note that the channel is gone; the answers wait at the broker."""
        super().lost()
        self.outcomes.lost()


class _Sent:
    """A call on its way, and its answer."""

    def __init__(self) -> None:
        self.answer: Future[bytes] = Future()
        self.answer.set_running_or_notify_cancel()
        self.given_up: bool = False
        self.take_back: Callable[[], object] = lambda: None

    def forget(self) -> None:
        """Do not wait any longer; a call that was not sent yet never will be."""
        self.given_up = True
        self.take_back()


class AMQPClient(Client):
    """Calls methods through a queue at a broker; from any thread, and from any asyncio loop.

    It has a connection, and a thread for it, from the first call on.

    Args:
        url: ``amqp://USER:PASSWORD@HOST:PORT/VHOST``, several with commas between them.
        interface: whose methods are called.
    """

    def __init__(self, url: str, interface: Interface, **options: Any) -> None:
        super().__init__(url, interface, **options)
        logger = logging.getLogger(f"{__name__}.{interface.name}")
        self._queue = layout_of(interface.name).name
        self._values = {name: Values(method) for name, method in interface.methods.items()}
        self._addresses, self._logger = broker_addresses(url), logger
        self._starting = threading.Lock()
        self._caller: _Caller | None = None

    def call(self, call: OutgoingCall) -> Any:
        """Make a call; of a stream: return the list of its items."""
        sent = _Sent()
        try:
            self._begin(sent, call, call.arguments)
            try:
                return self._result(call, sent.answer.result(_patience(call)))
            except TimeoutError:
                self._check_served(call)
            return self._result(call, sent.answer.result(call.seconds_left()))
        except TimeoutError:
            raise call.late() from None
        except Exception as error:
            raise _explained(error) from error
        finally:
            sent.forget()

    async def call_async(self, call: OutgoingCall) -> Any:
        """Make a call from a coroutine."""
        arguments, sent = await collected(call), _Sent()
        waiting = asyncio.wrap_future(sent.answer)
        try:
            await asyncio.to_thread(self._begin, sent, call, arguments)
            try:
                shielded = asyncio.shield(waiting)
                return self._result(call, await asyncio.wait_for(shielded, _patience(call)))
            except TimeoutError:
                await asyncio.to_thread(self._check_served, call)
            return self._result(call, await asyncio.wait_for(waiting, call.seconds_left()))
        except TimeoutError:
            raise call.late() from None
        except Exception as error:
            raise _explained(error) from error
        finally:
            sent.forget()
            waiting.cancel()

    def close(self) -> None:
        """Close the connection."""
        with self._starting:
            caller, self._caller = self._caller, None
        if caller is not None:
            caller.link.post(caller.outcomes.end)
            caller.link.close(_GOODBYE)

    # -- inside ------------------------------------------------------------------------------------

    def _connected(self, call: OutgoingCall) -> _Caller:
        with self._starting:
            if self._caller is None:
                self.check_open()
                link = Link(self._addresses, f"RPC client of {self.interface.name}", self._logger)
                outcomes = Outcomes(self._queue, bytes, self._logger)
                outcomes.wanted = True
                self._caller = _Caller(link, outcomes)
                self._caller.attach()
            caller = self._caller
        link = caller.link
        if not link.tried.wait(call.seconds_left()):
            raise call.late()
        if not link.connected:
            why = describe(link.failure) if link.failure else "the connection was lost"
            raise UnavailableError(f"{link.where} cannot be reached: {why}", maybe_run=False)
        return caller

    def _begin(self, sent: _Sent, call: OutgoingCall, arguments: Sequence[Any]) -> None:
        caller, values = self._connected(call), self._values[call.method.name]
        left = call.seconds_left()
        body = write_call(call.method, values.write_arguments(tuple(arguments)), left)
        message = messages.item_message(body, call.headers, reply_to=caller.outcomes.queue)
        if left is not None:
            message.properties["expiration"] = str(ceil(left * 1000))
        number = message.properties["message_id"]
        context = ExecuteContext(future=sent.answer)

        def ended(error: Exception | None) -> None:
            if error is not None:
                context.set_exception(error)

        publish = Publish("", self._queue, message, ended, kept=False)

        def take_back() -> None:
            caller.outcomes.forget(number)
            caller.take_back(publish)

        sent.take_back = take_back
        if sent.given_up:  # by a coroutine, while this thread has made the message
            return
        caller.outcomes.wait_for(number, context)
        caller.publish_now(publish)
        if sent.given_up:
            take_back()

    def _result(self, call: OutgoingCall, data: bytes) -> Any:
        return read_answer(data, call.method, self._values[call.method.name])

    def _check_served(self, call: OutgoingCall) -> None:
        """Raise `UnavailableError` if calls wait and nobody takes them."""
        caller = self._caller
        if caller is None:
            raise UnavailableError("The client was closed.")

        def look(wire: Wire) -> Any:
            channel = wire.new_channel()
            try:
                return channel.queue_declare(self._queue, passive=True)
            finally:
                if channel.connection is not None:
                    channel.close()

        found = caller.link.call(look, call.seconds_left() or 30.0)
        if not found.consumer_count and found.message_count:
            raise UnavailableError(f"Nobody serves {self.interface.name}.")


def _patience(call: OutgoingCall) -> float:
    left = call.seconds_left()
    return _PATIENCE if left is None else min(_PATIENCE, left)


def _explained(error: Exception) -> Exception:
    """Return what a failure of the broker's means to a caller."""
    if isinstance(error, UnroutableError):
        return UnavailableError("Nobody serves it: there is no such queue.", maybe_run=False)
    if isinstance(error, BrokenError | CancelledError):
        return UnavailableError(str(error) or "The client was closed.")
    if isinstance(error, RemoteError):
        return InternalError(str(error))
    return error
