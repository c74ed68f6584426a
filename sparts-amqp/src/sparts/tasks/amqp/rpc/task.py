"""RPCAMQPTask: serves the RPC tasks of a service from queues at a broker."""

from __future__ import annotations

import itertools
from contextvars import copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.calls import CallRefusedError
from sparts.clock import timeout_of
from sparts.errors import UsageError
from sparts.options import Option, flag_of, option
from sparts.rpc.errors import NoSuchMethodError, RPCError, UnavailableError
from sparts.rpc.transport import RPCTransport
from sparts.rpc.values import Values
from sparts.tasks.amqp import messages
from sparts.tasks.amqp.addresses import broker_urls, needed_broker
from sparts.tasks.amqp.backlog import AMQPBacklog
from sparts.tasks.amqp.connection import AMQPConnectionTask
from sparts.tasks.amqp.messages import Codec
from sparts.tasks.amqp.rpc.calls import (
    MAX_BYTES,
    answer_of,
    answer_of_error,
    layout_of,
    read_call,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sparts.rpc.interface import Method
    from sparts.rpc.serving import Served
    from sparts.tasks.amqp.addresses import Address
    from sparts.tasks.amqp.consumer import Delivery
    from sparts.vtask import TaskReference


class RPCAMQPTask(RPCTransport):
    """Serves the methods of the service's `RPCTask` tasks from queues that instances share.

    Each task has a queue, ``rpc.NAME``. Calls wait there until an instance is free, or until the
    caller gives up. If an instance ends while it serves a call, another serves it again if the
    method is idempotent; else the caller gets `UnavailableError`.
    """

    OPT_PREFIX: ClassVar[str | None] = "rpc-amqp"
    TRANSPORT: ClassVar[str] = "AMQP"
    BROKER: ClassVar[str | None] = None
    """The default of ``--rpc-amqp-broker``."""
    WORKERS: ClassVar[int] = 10
    """The default of ``--rpc-amqp-workers``."""

    broker: Option[str] = option(
        type=broker_urls,
        default=lambda cls: cls.BROKER,
        metavar="URL",
        help="URL of the RabbitMQ that has the calls, amqp://user:password@host/vhost",
        secret=True,
        reloadable=False,
    )
    num_workers: Option[int] = option(
        name="workers",
        type=int,
        default=lambda cls: cls.WORKERS,
        metavar="NUMBER",
        help="how many calls of each RPC task are served at a time",
        reloadable=False,
    )

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS`` and the task that keeps the connections."""
        return (*super()._dependencies(), AMQPConnectionTask)

    def check(self) -> None:
        """See whether all methods can be carried, and there is a broker."""
        super().check()
        self._addresses()

    def _addresses(self) -> tuple[Address, ...]:
        if (self.num_workers or 0) < 1:
            flag = flag_of(type(self), "workers")
            raise UsageError(f"{flag} must be 1 or more, not {self.num_workers}.")
        return needed_broker(self)

    def refuse_method(self, method: Method) -> str:
        """Raise UsageError if JSON cannot carry a type of a method."""
        Values(method)
        return ""

    def initTask(self) -> None:  # noqa: N802
        """Find the methods and the broker.

        Raises:
            UsageError: there is no broker, or a method cannot be carried.
        """
        super().initTask()
        addresses = self._addresses()
        link = self.service.requireTask(AMQPConnectionTask).link(addresses)
        self._lanes = [_Lane(self, name, link) for name in self.served]
        self.workers: int = self.num_workers * len(self._lanes)
        self._turns = itertools.count()

    def start(self) -> None:
        """Take calls."""
        for lane in self._lanes:
            lane.backlog.start()
        super().start()
        self.connection_changed()

    def _runloop(self) -> None:
        """Serve the calls of one RPC task."""
        lane = self._lanes[next(self._turns) % len(self._lanes)]
        while (context := lane.backlog.take()) is not None:
            lane.backlog.done(context, copy_context().run(lane.answer, context))

    def stop(self) -> None:
        """Take no more calls."""
        super().stop()
        for lane in self._lanes:
            lane.backlog.close(self.seconds_to_stop())

    def join(self) -> None:
        """Wait for the calls that run, and leave to others what has not begun."""
        for thread in self._supervisor.threads:
            thread.join(timeout_of(self.seconds_to_stop()))
        self._give_up()
        super().join()

    def _abandoned(self) -> None:
        """Give up what is not done."""
        self._give_up()

    def _left_out(self) -> None:
        """Give up the calls that came: the task will not run."""
        super()._left_out()
        self._give_up()

    def _give_up(self) -> None:
        for lane in vars(self).get("_lanes", ()):
            lane.backlog.give_up()

    def connection_changed(self) -> None:
        """Note whether there is a connection; from any thread."""
        if self._supervisor.running:
            self.set_ready(all(lane.backlog.link.connected for lane in self._lanes))


class _Origin:
    """Where a call comes from."""

    peer = ""

    def __init__(self, context: Delivery) -> None:
        self._context = context

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that are strings."""
        return self._context.text_headers


class _Lane:
    """The calls of one RPC task, and what answers them."""

    def __init__(self, task: RPCAMQPTask, name: str, link: Any) -> None:
        self._name, self._task = name, task
        self._methods: dict[str, tuple[Served, Values]] = {
            key: (served, Values(served.method)) for key, served in task.served[name].items()
        }
        codec = Codec(bytes, bytes, bytes, bytes, MAX_BYTES)
        self.backlog = AMQPBacklog(
            f"{task.name} of {name}", link, layout_of(name), codec, task.threads,
            task.num_workers or 1, task.logger,
        )  # fmt: skip
        self.backlog.on_connection = lambda _: task.connection_changed()

    def answer(self, context: Any) -> bytes:
        """Serve a call; in a worker thread."""
        method: Method | None = None
        try:
            call = read_call(context.item)
            if call.method not in self._methods:
                raise NoSuchMethodError(f"{self._name} has no method {call.method}")
            served, values = self._methods[call.method]
            method = served.method
            if not method.idempotent and messages.deliveries(context.message):
                raise UnavailableError(
                    f"The process that began {method.qualified} has ended; the method may have run."
                )
            deadline = None if call.timeout is None else monotonic() + call.timeout
            arguments = values.read_arguments(call.arguments)
            result = served.call_here(arguments, _Origin(context), deadline)
            try:
                return answer_of(values.write_result(result))
            except RPCError as error:
                raise served.bad_result(error) from error
        except (RPCError, CallRefusedError) as error:
            return answer_of_error(error, method)
        except BaseException as error:
            self._task.logger.exception("A call of %s failed", self._name)
            return answer_of_error(UnavailableError(f"{self._name} failed: {error}"), method)
