"""The connection of a process to a broker: one thread, which connects again whenever it must."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
from collections import deque
from concurrent.futures import Future
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from sparts.clock import retry_delay
from sparts.errors import UsageError, describe
from sparts.tasks.amqp.errors import BrokenError
from sparts.tasks.amqp.wire import Channel, Wire

import amqp

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from sparts.tasks.amqp.addresses import Address

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0
_FINAL = (amqp.PreconditionFailed, amqp.AccessRefused)
_TIMED_OUT = "delivery acknowledgement"
_TOO_LARGE = re.compile(r"message size \d+ is larger than .*size (\d+)")


class Client(Protocol):
    """Who has a channel of a link. All is called in the link's thread, except for `send`."""

    def opened(self, channel: Channel) -> None:
        """Declare and consume: there is a channel. `amqp.ChannelError`: the broker refuses it."""

    def lost(self) -> None:
        """Note that the channel is gone, and what was delivered on it with it."""

    def refused(self, error: UsageError) -> None:
        """Note that this client can never work as it is set up."""

    def send(self) -> None:
        """Send what waits; called by a thread that has the connection to itself."""

    @property
    def busy(self) -> bool:
        """Whether the broker's answers are waited for."""


class Link:
    """One connection to a broker, and the thread that owns it. Safe for threads.

    Args:
        addresses: the nodes of the broker, tried in turn.
        name: how the broker's lists show the connection.
        logger: where losses are logged.
    """

    def __init__(self, addresses: Sequence[Address], name: str, logger: logging.Logger) -> None:
        self.addresses = addresses
        self.name = name
        self.logger = logger
        self.connected: bool = False
        self.blocked: bool = False
        """Whether the broker takes no messages at present, because memory or disk run out."""
        self.max_bytes: float = inf
        """How large a message may be, once the broker has refused one."""
        self.failure: BaseException | None = None
        """Why the last attempt to connect failed."""
        self.tried: threading.Event = threading.Event()
        """Set when there was a first attempt."""
        self.n_connects: int = 0
        self.n_losses: int = 0
        self.wire: Wire | None = None
        self._clients: dict[Client, Channel | None] = {}
        self._taken: set[Client] = set()  # those that the broker has taken at least once
        self._failed: dict[Client, tuple[int, float]] = {}  # how often in a row, and when
        self._due: dict[Client, float] = {}  # when they get another channel
        self._calls: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sleeping = self._news = False
        self._stop_by: float | None = None
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    # -- from any thread ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._lock:
            if self._thread is None and self._stop_by is None:
                thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                thread.start()
                self._thread = thread

    def post(self, call: Callable[[], object]) -> None:
        """Have a function called in the thread, whether there is a connection or not."""
        self._calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Have the thread look for what there is to do."""
        self._news = True  # before the look at whether it sleeps: `_turn` does it in reverse
        if self._sleeping:
            self._sleeping = False
            with contextlib.suppress(OSError):
                os.write(self._writer, b"x")

    def send(self, client: Client) -> None:
        """Have the messages of a client sent: by this thread while the link's only waits."""
        wire = self.wire
        if wire is not None and wire.turns.acquire(blocking=False):
            try:
                client.send()
                wire.flush()
                if not wire.unsent:
                    return
            except (OSError, amqp.AMQPError):
                pass  # the connection is lost, as the link's thread is about to learn
            finally:
                wire.turns.release()
        self.wake()

    def call(self, function: Callable[[Wire], Any], timeout: float = 30.0) -> Any:
        """Call a function with the connection in the thread, and return its result.

        Raises:
            BrokenError: there is no connection.
            amqp.AMQPError: the broker refuses it.
        """
        future: Future[Any] = Future()

        def run() -> None:
            if self.wire is None or not self.connected:
                future.set_exception(BrokenError(f"There is no connection to {self.where}."))
                return
            try:
                future.set_result(function(self.wire))
            except BaseException as error:
                future.set_exception(error)
                if isinstance(error, OSError):
                    raise

        self.start()
        self.post(run)
        return future.result(timeout)

    def attach(self, client: Client) -> None:
        """Give a client a channel as soon as there is one, and whenever it was lost."""
        self.post(lambda: self._attach(client))
        self.start()

    def detach(self, client: Client) -> None:
        """Take a client's channel."""
        self.post(lambda: self._detach(client))

    def close(self, seconds: float) -> None:
        """Send what waits, close the connection and end the thread, all within ``seconds``."""
        with self._lock:
            if self._stop_by is None:
                self._stop_by = monotonic() + seconds
            thread = self._thread
        self.post(lambda: None)
        if thread is not None:
            thread.join(seconds + 0.5)
            if thread.is_alive():
                return  # in getaddrinfo, say; it ends by itself
        self._thread = None
        with self._lock:
            for fd in (self._reader, self._writer):
                with contextlib.suppress(OSError):
                    os.close(fd)
            self._reader = self._writer = -1

    @property
    def where(self) -> str:
        """The addresses, for a person."""
        return ", ".join(map(str, self.addresses))

    @property
    def thread_id(self) -> int:
        """The system's number of the thread; 0: it does not run."""
        return (self._thread and self._thread.native_id) or 0

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        while self._stop_by is None:
            address = self.addresses[attempt % len(self.addresses)]
            try:
                self._connect(address)
                attempt = 0
                while self._turn():
                    pass
            except Exception as error:
                self._learn_limit(f"{error}")
                self._report(address, error, attempt)
            finally:
                self._lost()
            self.tried.set()
            if attempt or self._stop_by is None:
                self._pause(attempt)
            attempt += 1
        self._do_calls()

    def _connect(self, address: Address) -> None:
        wire = self.wire = Wire(address, self._reader, self.name, self._set_blocked)
        wire.open()
        self.connected, self.failure = True, None
        self.n_connects += 1
        self.logger.info("Connected to %s", address)
        for client in list(self._clients):
            self._open(client)
        self.tried.set()

    def _turn(self) -> bool:
        """Do what there is to do; False when all is done that can be before the stop."""
        wire = self.wire
        assert wire is not None  # noqa: S101 - only called while there is one
        self._news = False
        while wire.failed:  # first: the calls would use a channel that is closed
            self._channel_failed(*wire.failed.popleft())
        self._do_calls()
        busy, now = False, monotonic()
        for client in [client for client, when in self._due.items() if when <= now]:
            self._open(client)
        for client, channel in list(self._clients.items()):
            if channel is not None:
                client.send()
                busy = busy or client.busy
        until = min(self._due.values(), default=inf)
        if self._stop_by is not None:
            wire.flush()
            if not (busy or wire.unsent) or self.blocked or monotonic() >= self._stop_by - 0.1:
                self._say_goodbye(wire)
                return False
            until = min(until, self._stop_by)
        self._sleeping = True
        wire.step(0.0 if self._news else until)
        self._sleeping = False
        return True

    def _say_goodbye(self, wire: Wire) -> None:
        left = (self._stop_by or 0.0) - monotonic()
        if left > 0 and not self.blocked:  # else it would not be read
            wire.answer_timeout = min(left, 1.0)
            with contextlib.suppress(OSError, amqp.AMQPError):
                wire.close()

    def _do_calls(self) -> None:
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except Exception:
                if self.connected:  # else the thread would end
                    raise
                self.logger.exception("A call failed while there was no connection")

    def _pause(self, attempt: int) -> None:
        """Wait before the next attempt to connect, longer each time, at random."""
        until = monotonic() + retry_delay(attempt, _FIRST_WAIT, _LONGEST_WAIT)
        while self._stop_by is None and (left := until - monotonic()) > 0:
            self._sleeping = True
            if not self._news:
                poll = select.poll()
                poll.register(self._reader, select.POLLIN)
                poll.poll(left * 1000)
                with contextlib.suppress(BlockingIOError):
                    os.read(self._reader, 4096)
            self._sleeping = self._news = False
            self._do_calls()

    def _report(self, address: Address, error: BaseException, attempt: int) -> None:
        self.failure = error
        if self._stop_by is not None:
            return
        if self.connected:
            self.n_losses += 1
            self.logger.warning("Lost the connection to %s: %s", address, describe(error))
        elif attempt < 3 or attempt % 10 == 0:
            self.logger.warning("No connection to %s: %s", address, describe(error))
        expected = (OSError, amqp.AMQPError)
        if not isinstance(error, expected):
            self.logger.error("That was not expected", exc_info=error)

    def _lost(self) -> None:
        self.connected = False
        self._due.clear()
        wire, self.wire = self.wire, None
        self._set_blocked(False)
        for client, channel in self._clients.items():
            if channel is not None:
                self._clients[client] = None
                client.lost()
        if wire is not None:
            with contextlib.suppress(Exception):
                wire.drop()

    def _set_blocked(self, blocked: bool) -> None:
        if blocked and not self.blocked:
            self.logger.warning("%s takes no messages: memory or disk run out there", self.where)
        self.blocked = blocked

    # -- clients, in the thread --------------------------------------------------------------------

    def _attach(self, client: Client) -> None:
        if client not in self._clients:
            self._clients[client] = None
            if self.connected:
                self._open(client)

    def _open(self, client: Client) -> None:
        assert self.wire is not None  # noqa: S101 - called while connected
        self._due.pop(client, None)
        channel = self._clients[client] = self.wire.new_channel()
        try:
            client.opened(channel)
            self._taken.add(client)
        except _FINAL as error:
            if client in self._taken:  # somebody has changed permissions, say, and may change more
                self._channel_failed(channel, error)
                return
            self._clients.pop(client)
            client.refused(UsageError(f"The broker refuses: {error.reply_text}"))

    def _detach(self, client: Client) -> None:
        channel = self._clients.pop(client, None)
        self._taken.discard(client)
        self._failed.pop(client, None)
        self._due.pop(client, None)
        if channel is not None:
            client.lost()
            with contextlib.suppress(amqp.AMQPError):
                channel.close()

    def _learn_limit(self, text: str) -> None:
        """Note how large a message may be, if the broker says so."""
        if found := _TOO_LARGE.search(text):
            self.max_bytes = int(found[1])

    def _channel_failed(self, channel: Any, error: Exception) -> None:
        self._learn_limit(f"{error}")
        for client, its in list(self._clients.items()):
            if its is channel:
                text = f"{getattr(error, 'reply_text', error)}"
                number, last = self._failed.get(client, (0, -inf))
                now = monotonic()
                number = number + 1 if now - last < 2 * _LONGEST_WAIT else 0
                self._failed[client] = number, now
                wait = retry_delay(number - 1, _FIRST_WAIT, _LONGEST_WAIT) if number else 0.0
                if _TIMED_OUT in text:
                    self.logger.error(
                        "An item took longer than the broker allows (its consumer_timeout, 30 "
                        "minutes by default), so that it gives all items of this consumer to "
                        "others: %s", text,
                    )  # fmt: skip
                elif number < 3 or number % 10 == 0:
                    self.logger.warning("The broker has closed a channel: %s", text)
                self.reopen(client, wait)

    def reopen(self, client: Client, wait: float = 0.0) -> None:
        """Give a client another channel, after so many seconds; called in the thread."""
        channel = self._clients.get(client)
        if channel is None:
            return
        self._clients[client] = None
        client.lost()
        if channel.connection is not None:
            channel.close()
        if wait:
            self._due[client] = monotonic() + wait
        else:
            self._open(client)
