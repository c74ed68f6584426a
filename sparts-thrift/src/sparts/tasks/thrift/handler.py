"""The implementation of a thrift service as a task."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import SampleType, counter, labelled, samples
from sparts.counters.metric import Labelled
from sparts.errors import StartError, UsageError
from sparts.net.names import past_called
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.thrift.reserved import claim_methods, is_reserved
from sparts.thrift.binding import bind, explain_reserved
from sparts.thrift.foreign import methods_of
from sparts.thrift.protocols import Processor
from sparts.thrift.services import find_service
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sparts.thrift.processor import Method, Outcome
    from sparts.thrift.services import ThriftService
    from sparts.vtask import TaskReference


class ThriftHandlerTask(VTask):
    """Implements a thrift service: set ``MODULE``, and write its methods, plain or ``async``.

    A server task of the service calls them: plain ones in its threads, several at a time, and
    ``async`` ones on the loop of the service's `AsyncioLoopTask`, which comes along. They take what
    the IDL says, in its order. `sparts.thrift.calls.caller` returns who asks.
    """

    _GONE: ClassVar[Mapping[str, str]] = {"_checkTaskModule": "Set MODULE."}
    LOOPLESS: ClassVar[bool] = True
    MODULE: ClassVar[Any] = None
    """The service: the module that Apache's compiler made of it, or what thriftpy2 loaded."""
    SERVICE_NAME: ClassVar[str | None] = None
    """Which service of ``MODULE`` it is, if that holds several; and its name for clients that
    multiplex, see `service_name`."""
    INLINE: ClassVar[bool] = False
    """True: no method ever waits for anything, so that the threads which talk to the clients may
    call them."""

    CALL_KIND: ClassVar[str] = "thrift"
    _ANSWERS: ClassVar[frozenset[str]] = frozenset()
    """Methods of services that a task type answers by itself, and subclasses may override."""

    n_calls: Labelled[counter] = labelled(counter(help="Calls, by method."), "method")
    n_errors: Labelled[counter] = labelled(
        counter(help="Calls that ended with an exception, by method."), "method"
    )
    call_duration_ms: Labelled[samples] = labelled(
        samples(
            types=[SampleType.AVG, SampleType.P99],
            windows=[60, 3600],
            help="How long the methods took.",
            unit="ms",
        ),
        "method",
    )

    thrift_service: ThriftService
    """The service that it implements, from `initTask` on."""
    methods_served: Mapping[str, Method]
    """What servers call, by the names of the methods; from `initTask` on."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        module, name = (past_called(cls, each) for each in ("MODULE", "SERVICE_NAME"))
        found = None
        with suppress(UsageError):  # the start says so
            found = _service_of(module, name) if module is not None else None
        if found is not None:
            claim_methods(cls, found.name, found.methods)
        super().__init_subclass__(**arguments)

    @classmethod
    def find_service(cls) -> ThriftService:
        """Return the service that ``MODULE`` and ``SERVICE_NAME`` mean.

        Raises:
            StartError: they mean none; the message says what is wrong.
        """
        if cls.MODULE is None or inspect.isroutine(cls.MODULE):
            text = (
                f"{cls.__name__} has no MODULE: set it to what the thrift compiler made of your "
                f"service, such as calculator.Calculator."
            )
            if cls.MODULE is not None:
                text += f" MODULE is a method here: {explain_reserved('MODULE', 'MODULE(...)')}."
            raise StartError(text)
        try:
            return _service_of(cls.MODULE, cls.SERVICE_NAME)
        except UsageError as error:
            raise StartError(f"{cls.__name__}: {error}") from error

    @property
    def service_name(self) -> str:
        """Its name for clients that multiplex: ``SERVICE_NAME``, or the name of the task.

        Without a ``SERVICE_NAME``, the name of the IDL is served too, unless several handlers have
        it.
        """
        return self.SERVICE_NAME or self.name

    @cached_property
    def processor(self) -> Any:
        """The methods as a processor of Apache's library; made when it is first asked for.

        Raises:
            StartError: this task does not implement its service.
        """
        return self._makeProcessor()

    def _makeProcessor(self) -> Any:  # noqa: N802
        """Return the processor that servers use; called once, in `initTask` or before.

        Override it to return another: any object with Apache's ``process(iprot, oprot)``.
        """
        return Processor(self._bound())

    def _bound(self) -> dict[str, Method]:
        found = self.find_service()
        return bind(self, found, {name for name in found.methods if is_reserved(type(self), name)})

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS``, and the asyncio loop if a method needs it."""
        try:
            names = cls.find_service().methods if cls.MODULE is not None else {}
        except StartError:  # the start says so
            names = {}
        if any(inspect.iscoroutinefunction(getattr(cls, name, None)) for name in names):
            return (*cls.DEPS, AsyncioLoopTask)
        return cls.DEPS

    def implementation(self, name: str) -> Callable[..., Any] | None:
        """Return what implements a method of the service, or None; called in `initTask`.

        The default is this task's method of that name; None where that name means something else
        to every task (``start``, ``stop``, ``join``, ``name``, ``service``) or to Python, which
        then fails the start. Override it to return another method for such a name.
        """
        cls = type(self)
        if is_reserved(cls, name) or getattr(cls, name, None) is getattr(VTask, name, self):
            return None
        found = getattr(self, name, None)
        return found if callable(found) else None

    def initTask(self) -> None:  # noqa: N802
        """Find the service, and check that this task has its methods.

        Raises:
            StartError: it has not; the message names each that is missing or takes other
                parameters.
        """
        super().initTask()
        self.thrift_service = self.find_service()
        self.methods_served = methods_of(self, self.thrift_service, self.processor)

    def check(self) -> None:
        """See whether this task has the methods of its service."""
        super().check()
        self._bound()

    @property
    def loop_task(self) -> AsyncioLoopTask:
        """The loop on which its coroutines run."""
        found: AsyncioLoopTask = self.service.requireTask(AsyncioLoopTask)
        return found

    def invoke(self, method: Method, arguments: Any) -> Outcome:
        """Call a method, wait for its end, and return what came of it; not in the asyncio loop."""
        if not method.asynchronous:
            return method.invoke(arguments)
        outcome: Outcome = self.loop_task.call(method.invoke_async, arguments).result()
        return outcome


def _service_of(module: Any, name: str | None) -> ThriftService:
    """Return the service that ``MODULE`` and ``SERVICE_NAME`` mean; UsageError if it is none."""
    try:
        found = find_service(module)
    except UsageError:
        return find_service(module, name)
    return replace(found, name=name or found.name)
