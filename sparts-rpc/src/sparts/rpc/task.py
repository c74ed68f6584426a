"""RPCTask: methods that callers in other processes call, over any transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from sparts.counters import CallbackCounter, SampleType, counter, labelled, own, samples
from sparts.counters.metric import Labelled
from sparts.errors import UsageError
from sparts.net.metering import Collected, Durations
from sparts.net.names import claim
from sparts.net.threads import Threads
from sparts.rpc.errors import UnavailableError
from sparts.rpc.interface import Interface, interface_of, is_marked
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from sparts.established import TaskReference
    from sparts.vservice import VService

running: list[RPCTask] = []
"""The tasks of this process whose methods can be called, in the order in which they started."""


class RPCTask(VTask):
    """Methods that are written once, and served by every transport task of the service.

    Mark methods by `sparts.rpc.rpc`. Plain methods run in ``WORKERS`` threads (a transport with
    threads of its own, such as thrift's, uses those), or at once in the transport's loop if
    ``INLINE``; ``async def`` methods run on the loop of ``LOOP``, which then comes along. An
    instance is one for all calls: methods that run in threads run several at a time.
    """

    LOOPLESS: ClassVar[bool] = True
    CALL_KIND: ClassVar[str] = "rpc"
    WORKERS: ClassVar[int] = 10
    """How many plain methods run at a time in the task's own threads."""
    INLINE: ClassVar[bool] = False
    """True: no plain method ever waits for anything, so that loops may call them themselves."""
    LOOP: ClassVar[TaskReference] = AsyncioLoopTask
    """The asyncio loop task on which ``async def`` methods run."""

    n_calls: Labelled[Collected] = labelled(
        Collected(help="Calls that have ended, by method."), "method"
    )
    n_errors: Labelled[counter] = labelled(
        counter(help="Calls that ended with an error, by method."), "method"
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
    in_flight: CallbackCounter = CallbackCounter(
        lambda task: len(task.calls), help="Calls that run now."
    )

    _pool: Threads | None = None

    if TYPE_CHECKING:  # what `connect` returns has these; a task has not

        def close(self) -> None: ...  # noqa: D102
        async def __aenter__(self) -> Any: ...
        async def __aexit__(self, *failure: object) -> None: ...
        def __enter__(self) -> Self: ...
        def __exit__(self, *failure: object) -> None: ...

    _names_taken: ClassVar[tuple[str, ...]] = ()  # names of methods that tasks use

    def __init_subclass__(cls, **arguments: Any) -> None:
        marked = [
            name for base in cls.__mro__ for name, each in vars(base).items() if is_marked(each)
        ]
        refused = claim(cls, marked, lambda name: _explain_taken(cls.__name__, name), is_marked)
        base: Any = super(cls, cls)
        cls._names_taken = (*base._names_taken, *refused)
        super().__init_subclass__(**arguments)

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self.calls: list[object] = []
        """One object for each call that runs now."""
        self._durations: dict[str, Durations] = {}

    @classmethod
    def interface(cls) -> Interface:
        """Return the description of its methods.

        Raises:
            UsageError: a method cannot be described; the message says which.
        """
        return interface_of(cls)

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS``, and the loop if a method is ``async def``."""
        try:
            waits = any(each.is_async for each in interface_of(cls).methods.values())
        except UsageError:  # the start says so
            waits = False
        return (*cls.DEPS, cls.LOOP) if waits else cls.DEPS

    @property
    def loop_task(self) -> AsyncioLoopTask:
        """The loop on which ``async def`` methods run."""
        return cast("AsyncioLoopTask", self.service.requireTask(self.LOOP))

    def durations(self, method: str) -> Durations:
        """Return what counts and times the calls of a method; for `sparts.rpc.serving`."""
        if method not in self._durations:
            found = own(self, RPCTask.call_duration_ms).labels(method)
            self._durations[method] = Durations(found, own(self, RPCTask.n_calls).labels(method))
        return self._durations[method]

    def initTask(self) -> None:  # noqa: N802
        """See whether its methods can be described, and have names of their own.

        Raises:
            UsageError: one has not; the message names it.
        """
        super().initTask()
        RPCTask.check_methods(self)

    def check(self) -> None:
        """See whether its methods can be described."""
        super().check()
        RPCTask.check_methods(self)

    def check_methods(self) -> None:
        """Raise UsageError if a method cannot be described, or has a name that tasks use."""
        for name in type(self)._names_taken:
            raise UsageError(_explain_taken(self.name, name))
        try:
            methods = interface_of(type(self)).methods
        except UsageError as error:
            transports = [getattr(task, "TRANSPORT", "") for task in self._instance.tasks]
            if names := " and ".join(filter(None, transports)):
                raise UsageError(f"{error} {names} cannot serve it.") from error
            raise
        if not methods:
            raise UsageError(f"{self.name} has no method that can be called: mark some with @rpc.")
        for name in methods:
            if name.startswith("_") or name in vars(self):
                raise UsageError(_explain_taken(self.name, name))

    def start(self) -> None:
        """Let transports call the methods."""
        self._pool = Threads(self.WORKERS, self.logger.name)
        super().start()
        running.append(self)

    @property
    def pool(self) -> Threads:
        """The threads in which plain methods run.

        Raises:
            UnavailableError: the task does not run.
        """
        if self._pool is None or not self._supervisor.running:
            raise UnavailableError(f"{self.name} does not run.", maybe_run=False)
        return self._pool

    def stop(self) -> None:
        """Take no more calls; the transports have let theirs finish before."""
        super().stop()
        if self in running:
            running.remove(self)

    def join(self) -> None:
        """Wait until the methods that run in threads have returned."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        super().join()

    def exit_asked(self, error: BaseException) -> None:
        """End the service in order, as a `SystemExit` or `KeyboardInterrupt` in a method asks."""
        self._supervisor.end_service(error)


def _explain_taken(task: str, name: str) -> str:
    return f"{task}.{name} cannot be called: tasks use the name {name}. Rename the method."
