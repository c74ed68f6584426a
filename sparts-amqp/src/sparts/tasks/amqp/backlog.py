"""The backlog on RabbitMQ: items of many processes, of which this one has some."""

from __future__ import annotations

import threading
from math import inf
from queue import Empty, Full, SimpleQueue
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.context import ExecuteContext
from sparts.errors import TryLater, UsageError, text_of
from sparts.tasks.amqp import messages
from sparts.tasks.amqp.consumer import Consumer, Delivery
from sparts.tasks.amqp.depth import Depth
from sparts.tasks.amqp.errors import RejectedError, UnconfirmedError, UnroutableError
from sparts.tasks.amqp.outcomes import Outcomes
from sparts.tasks.amqp.publishing import Confirmation, Publish, send_wrapped
from sparts.tasks.backlog import Backlog, Leftovers, RefusedError

import amqp

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    from sparts.tasks.amqp.link import Link
    from sparts.tasks.amqp.messages import Codec
    from sparts.tasks.amqp.topology import QueueLayout

_AHEAD = 1000
"""How many messages of one `put_many` are on their way at most."""
_ROOM_WAITS = (0.01, 0.5)
"""Seconds between two attempts at a full queue, first and last: nothing reports free room."""
_ANSWER_TIME = 10.0
"""Seconds in which the broker must confirm what must not wait for room."""
_DELETION_TIME = 0.5
"""Seconds until a queue that was deleted is declared again. RabbitMQ 3.10 may give a queue of that
name the consumers of the old one, to which it delivers nothing, if that is not gone yet."""


class AMQPBacklog(Backlog):
    """Items at a broker.

    Args:
        name: the task's, for errors.
        link: the connection.
        layout: the queues.
        codec: makes bytes of items, and items of bytes.
        workers: the task's worker threads; the list may grow.
        prefetch: how many items may be in this process and not done; 0: take none.
        logger: the task's.
        priority_of: returns the priority of an item, from 0 up.
        buried: called with an item that no worker gets because it cannot be worked on, and why.
    """

    def __init__(
        self,
        name: str,
        link: Link,
        layout: QueueLayout,
        codec: Codec,
        workers: list[threading.Thread],
        prefetch: int,
        logger: logging.Logger,
        priority_of: Callable[[Any], int] = lambda _: 0,
        buried: Callable[[Delivery, BaseException], object] = lambda _, __: None,
    ) -> None:
        super().__init__(name, layout.max_items)
        self.link = link
        self.layout = layout
        self.codec = codec
        self.outcomes: Outcomes = Outcomes(layout.name, codec.decode_result, logger)
        self.consumer: Consumer = Consumer(
            link, layout, prefetch, codec, self.outcomes, self._came, buried, logger
        )
        self.consumer.on_change = self._changed
        self.on_connection: Callable[[bool], object] = lambda _: None
        """Called in the link's thread when there is a connection, and when there is none."""
        self._priority_of = priority_of
        self._workers = workers
        self._blocked: set[int] = set()  # workers that wait for room
        self._ready: Any = SimpleQueue()
        self._working: dict[int, Delivery] = {}
        self._tried = threading.Event()
        self._closing = threading.Event()
        self._returned: list[ExecuteContext] = []
        self._given_up = False
        self._failure: UsageError | None = None
        self._depth = Depth(link, lambda: (layout.name, *self.consumer.delays))

    # -- for anybody -------------------------------------------------------------------------------

    def add(
        self, context: ExecuteContext, block: bool = True, timeout: float | None = None
    ) -> Future[Any] | None:
        """Add an item as `put` does, and return the future that gets its outcome, if one does."""
        self._check_open()
        return send_wrapped(
            "queue",
            self.layout.name,
            lambda headers: self._add(context, headers, *self._patience(block, timeout)),
            context.item,
        )

    def _add(
        self,
        context: ExecuteContext,
        headers: Mapping[str, str],
        block: bool,
        deadline: float | None,
    ) -> Future[Any] | None:
        message = self._message(context.item, headers, context.attempt, context.awaited)
        number = message.properties["message_id"]
        if context.awaited:
            context.claim()  # it cannot be taken back from the broker
            self.outcomes.wait_for(number, context)
            if not self.outcomes.wanted:
                self.link.post(self.outcomes.ask)
        confirmation = Confirmation()
        try:
            self._start(message, confirmation, alone=True)
            self._finish(confirmation, block, deadline)
        except BaseException:
            self.outcomes.forget(number)
            raise
        return context.future

    def put_many(
        self, items: Iterable[Any], block: bool = True, timeout: float | None = None
    ) -> None:
        """Add items whose confirmations are waited for together.

        After an error, some that come after the one that failed may have been added, too.
        """
        self._check_open()

        def put(headers: Mapping[str, str]) -> None:
            self._put_many(items, headers, block, timeout)

        send_wrapped("queue", self.layout.name, put)

    def _put_many(
        self, items: Iterable[Any], headers: Mapping[str, str], block: bool, timeout: float | None
    ) -> None:
        patience = self._patience(block, timeout)
        confirmation = Confirmation()
        for item in items:
            if isinstance(item, ExecuteContext):
                self.add(item, block, timeout)
                continue
            message = self._message(item, headers)
            self._start(message, confirmation)
            if not confirmation.wait(_AHEAD, timeout):
                break
            if confirmation.failed:
                self._finish(confirmation, *patience)
        self._finish(confirmation, *patience)

    def qsize(self) -> int:
        """How many items wait at the broker, or were put off; `BrokenError` without connection."""
        return self._depth.measure()

    def depth(self) -> int | None:
        """`qsize` as it was a few seconds ago, or None before it is known."""
        return self._depth.recent()

    def join(self) -> None:
        """Refuse: nobody knows when all is done, as others put items in and take them."""
        raise RefusedError(
            f"{self.name} cannot be joined: other processes put items into {self.layout.name} and "
            "take them. Wait for the futures of submit() instead."
        )

    # -- for the workers ---------------------------------------------------------------------------

    def take(self) -> Delivery | None:
        """Wait for an item; None when the worker must end."""
        while (context := self._ready.get()) is not None:
            if self._begin(context):
                return context  # type: ignore[no-any-return]
        self._ready.put(None)  # for the other workers
        if self._failure is not None and not self._closing.is_set():
            raise self._failure
        return None

    def _begin(self, context: Delivery) -> bool:
        """Give an item to a worker; False if it has gone, or cannot be worked on."""
        with self.consumer.taking:
            if context.stale:
                return False
            context.working = True
        try:
            messages.check_item(context.message, self.codec.max_bytes)
            context.item = self.codec.decode(context.message.body)
        except BaseException as error:  # whatever `decode` raises, the item is in no worker's hands
            problem = error  # the name ends with the block
            self.link.post(lambda: self.consumer.bury(context, "undecodable", problem))
            return False
        self._working[id(context)] = context
        return True

    def done(
        self, context: ExecuteContext, result: Any = None, error: BaseException | None = None
    ) -> None:
        """Have the outcome sent, and the item acknowledged then."""
        if self._leave(context):
            self.link.post(lambda: self.consumer.finish(context, result, error))  # type: ignore[arg-type]

    def bury(self, context: ExecuteContext, error: BaseException) -> None:
        """Have an item put into the dead queue, before it is acknowledged."""
        if isinstance(context, Delivery):
            reason = "attempts" if isinstance(error, TryLater) else "error"
            context.dead = (reason, error)

    def put_back(self, context: ExecuteContext, seconds: float) -> bool:
        """Have an item wait at the broker for its next attempt."""
        if not self._leave(context):
            return False
        wait = max(0, round(seconds * 1000)) if seconds < 1e9 else 10**12
        self.link.post(lambda: self.consumer.put_back(context, wait))  # type: ignore[arg-type]
        return True

    def worker_left(self) -> None:
        """Do nothing: what a worker has, it has ended."""

    def _leave(self, context: ExecuteContext) -> bool:
        """Note that a worker has ended with an item; False if it was given up before."""
        return self._working.pop(id(context), None) is not None

    # -- for the task ------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, declare and consume; a broker that is away is waited for elsewhere.

        Raises:
            UsageError: the broker refuses what we ask for.
        """
        self.link.post(self.consumer.start)
        self.consumer.attach()
        self.link.post(self._tried.set)
        self._tried.wait()
        if self._failure is not None:
            raise self._failure
        failure: Any = self.link.failure
        refused = isinstance(failure, amqp.AccessRefused | amqp.NotAllowed)
        if refused and "limit" not in (text := failure.reply_text):  # else there may be room later
            raise UsageError(f"{self.link.where} refuses who logs in: {text}")

    def close(self, drain: float | None) -> None:
        """Take no more items, from inside or outside. Those that no worker has are returned."""
        if not self._closing.is_set():
            self._closing.set()
            self._tried.set()
            self.consumer.end_unsent(self.closed_error(), all_kinds=False)
            self.link.post(self.consumer.stop)
        while True:
            try:
                context = self._ready.get_nowait()
            except Empty:
                break
            if context is not None and not context.stale:
                self._return(context)
        self._ready.put(None)

    def give_up(self) -> Leftovers:
        """Return to the broker what is not done, and end who waits here for outcomes."""
        self._given_up = True
        left = [self._working.pop(number, None) for number in list(self._working)]
        returned: list[ExecuteContext] = [context for context in left if context is not None]
        returned += self._returned
        self._returned = []
        self.consumer.end_unsent(self.closed_error(), all_kinds=False)
        self.link.post(self._end)
        return Leftovers([], returned)

    # -- helpers -----------------------------------------------------------------------------------

    def _message(
        self, item: Any, headers: Mapping[str, str], attempt: int = 1, awaited: bool = False
    ) -> amqp.Message:
        body = self.codec.encode(item)
        if len(body) > self.codec.max_bytes:
            raise ValueError(
                f"{self.name} takes items of up to {self.codec.max_bytes} bytes; this one has "
                f"{len(body)}."
            )
        reply_to = self.outcomes.queue if awaited else None
        priority = self._priority_of(item) if self.layout.priorities else None
        return messages.item_message(body, headers, attempt, reply_to, priority)

    def _patience(self, block: bool, timeout: float | None) -> tuple[bool, float | None]:
        """Whether to wait for room and connection, and until when."""
        if not block or (timeout is not None and timeout <= 0):
            return False, None
        return True, None if timeout is None else monotonic() + timeout

    def _start(
        self, message: amqp.Message, confirmation: Confirmation, alone: bool = False
    ) -> None:
        publish = Publish("", self.layout.name, message)
        confirmation.add(publish)
        self.consumer.attach()
        if alone:
            self.consumer.publish_now(publish)
        else:
            self.consumer.publish(publish)
        if self._closing.is_set():  # it may have come too late to be ended by `close`
            self.consumer.end_unsent(self.closed_error(), all_kinds=False)

    def _finish(self, confirmation: Confirmation, block: bool, deadline: float | None) -> None:
        """Wait until all is confirmed; publish again what there was no room for."""
        pause, declared = _ROOM_WAITS[0], False
        while True:
            if block:
                left = None if deadline is None else max(0.0, deadline - monotonic())
            else:
                left = _ANSWER_TIME if self.link.connected and not self.link.blocked else 0.0
            if not confirmation.wait(0, left):
                self._take_back(confirmation)
            failed, confirmation.failed = confirmation.failed, []
            if not failed:
                return
            unroutable = any(isinstance(error, UnroutableError) for _, error in failed)
            for _, error in failed:
                again = isinstance(error, RejectedError | UnroutableError)
                if not again or (unroutable and declared):
                    raise error
            if unroutable:  # the queue was deleted
                declared = True
                if self._closing.wait(_DELETION_TIME):
                    raise self.closed_error()
                self.link.post(lambda: self.link.reopen(self.consumer))
            else:
                self._wait_for_room(block, deadline, pause)
                pause = min(2 * pause, _ROOM_WAITS[1])
            for publish, _ in failed:
                self._start(publish.message, confirmation)

    def _take_back(self, confirmation: Confirmation) -> None:
        """Do not wait any longer."""
        sent = [one for one in confirmation.left() if not self.consumer.take_back(one)]
        if sent:
            raise UnconfirmedError(
                f"{self.name}: the broker did not confirm it in time, and may have it all the same."
            )
        state = "is blocked" if self.link.blocked else "did not take it in time"
        raise Full(f"{self.name}: {self.link.where} {state if self.link.connected else 'is away'}.")

    def _wait_for_room(self, block: bool, deadline: float | None, pause: float) -> None:
        left = inf if deadline is None else deadline - monotonic()
        if not block or left < _ROOM_WAITS[0]:  # one sent so late would not be confirmed in time
            raise Full(f"{self.name} has no room: {self.layout.name} is full.")
        me = get_ident()
        self._blocked.add(me)
        try:
            workers = {thread.ident for thread in self._workers if thread.is_alive()}
            if deadline is None and me in workers and workers <= self._blocked:
                raise Full(f"{self.name} has no room, and all of its workers wait for some.")
            if self._closing.wait(min(pause, left / 2)):
                raise self.closed_error()
        finally:
            self._blocked.discard(me)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise self.closed_error()
        if self._failure is not None:
            raise self._failure

    def _return(self, context: Delivery) -> None:
        self._returned.append(context)
        if context.item is None:
            try:
                context.item = self.codec.decode(context.message.body)
            except Exception as error:
                context.item = text_of(error)
        self.link.post(lambda: self.consumer.give_back(context))

    # -- in the link's thread ----------------------------------------------------------------------

    def _came(self, context: Delivery) -> None:
        if self._closing.is_set():
            self._return(context)
        else:
            self._ready.put(context)

    def _changed(self, connected: bool, failure: UsageError | None) -> None:
        if failure is not None:
            self._failure = failure
            self._ready.put(None)
        self.on_connection(connected)

    def _end(self) -> None:
        self.consumer.reject()
        self.outcomes.end()
