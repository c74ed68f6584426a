"""What every task that serves thrift has in common: which handlers it serves, under which names."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import counter, own
from sparts.errors import StartError, UsageError
from sparts.option_types import size
from sparts.options import Option, option
from sparts.tasks.thrift.handler import ThriftHandlerTask
from sparts.thrift.memory import Memory
from sparts.thrift.processor import MAX_DECODED, Method, Router
from sparts.thrift.protocols import RouterProcessor
from sparts.thrift.services import find_service
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ThriftServerTask(VTask):
    """Serves the handlers of its service; base of the tasks that do so over some transport.

    It starts after all handlers of the service and stops before them.
    """

    _GONE: ClassVar[Mapping[str, str]] = {
        "_checkTaskModule": "Set MODULE.",
        "_findProcessors": "Set MODULE.",
    }
    MODULE: ClassVar[Any] = None
    """The thrift service that it serves; None: that of the service's only handler."""
    MULTIPLEX: ClassVar[bool] = False
    """True: it serves all handlers, to clients that name the service in each call (Apache's
    ``TMultiplexedProtocol``). A call that names none goes to the handler of ``MODULE``, or to the
    only one."""

    max_decoded: Option[int] = option(
        type=size,
        default=MAX_DECODED,
        metavar="SIZE",
        reloadable=False,
        help="memory limit for the decoded arguments of one call; larger calls are refused",
    )
    max_memory: Option[int] = option(
        type=size,
        default="256MiB",
        metavar="SIZE",
        reloadable=False,
        help="memory limit for the requests of all clients that arrive or wait; further ones "
        "are refused",
    )

    n_refused: counter = counter(
        help="Connections and calls refused for lack of memory, or as too many."
    )

    memory: Memory
    """What is left for the requests of all clients; from `initTask` on."""
    router: Router
    """Finds the method that a message calls; from `initTask` on."""

    @classmethod
    def _follows(cls) -> Sequence[type[VTask]]:
        """Return the handlers, whichever there are."""
        return (*super()._follows(), ThriftHandlerTask)

    def initTask(self) -> None:  # noqa: N802
        """Find the handlers.

        Raises:
            StartError: there is none for ``MODULE``, or more than one without ``MULTIPLEX``.
        """
        self.memory = Memory(self.max_memory, own(self, ThriftServerTask.n_refused).increment)
        self.router = self.make_router()
        self.router.max_decoded = self.max_decoded
        super().initTask()

    def make_router(self) -> Router:
        """Return a router to the handlers; called in `initTask`.

        Raises:
            StartError: there is none for ``MODULE``, or more than one without ``MULTIPLEX``.
        """
        every = self._handlers()
        chosen = [task for task in every if self.MODULE is None or self._serves(task)]
        names = ", ".join(task.name for task in every)
        if not chosen and not self.MULTIPLEX:
            raise self._unserved(f"none of {names} does")
        if len(chosen) > 1 and not self.MULTIPLEX:
            names = ", ".join(task.name for task in chosen)
            raise StartError(
                f"{self.name} can serve one handler, and there are {names}. Set MODULE to the "
                f"service that it is to serve, or MULTIPLEX = True."
            )
        table: dict[bytes, Method] = {}
        if len(chosen) == 1:
            table.update({m.name: m for m in chosen[0].methods_served.values()})
        if not self.MULTIPLEX:
            return Router(table)
        services = self._by_service_name(every)
        for name, task in services.items():
            for method in task.methods_served.values():
                table[f"{name}:{method.spec.name}".encode()] = method
        return Router(table, services)

    def check(self) -> None:
        """See whether there is a handler."""
        super().check()
        self._handlers()

    def _handlers(self) -> list[ThriftHandlerTask]:
        """Return the handlers of the service, of which there must be one."""
        every = [task for task in self._instance.tasks if isinstance(task, ThriftHandlerTask)]
        if not every:
            raise self._unserved("no ThriftHandlerTask is there")
        return every

    def _unserved(self, why: str) -> StartError:
        what = find_service(self.MODULE).name if self.MODULE is not None else "a service"
        return StartError(f"{self.name} needs a handler that implements {what}: {why}.")

    @staticmethod
    def _by_service_name(handlers: list[ThriftHandlerTask]) -> dict[str, ThriftHandlerTask]:
        """Return handlers by the names that clients which multiplex may use."""
        found: dict[str, ThriftHandlerTask] = {}
        for task in handlers:
            name = task.service_name
            if found.setdefault(name, task) is not task:
                raise StartError(
                    f"{found[name].name} and {task.name} both have the SERVICE_NAME {name}: give "
                    f"one of them another."
                )
        idl = Counter(task.thrift_service.name for task in handlers)
        for task in handlers:
            name = task.thrift_service.name
            if not task.SERVICE_NAME and idl[name] == 1:
                found.setdefault(name, task)
        return found

    @property
    def processor(self) -> Any:
        """The handlers that it serves as a processor of Apache's library; from `initTask` on."""
        return RouterProcessor(self.router)

    def _serves(self, handler: ThriftHandlerTask) -> bool:
        """Whether a handler implements what ``MODULE`` asks for, or a service that extends it."""
        try:
            service = find_service(self.MODULE)
        except UsageError as error:
            raise StartError(f"{self.name}: {error}") from error
        has, wanted = handler.thrift_service.target, service.target
        if issubclass(getattr(has, "Iface", has), getattr(wanted, "Iface", wanted)):
            return True
        # The same interface may have been compiled twice.
        return service.methods.keys() <= handler.thrift_service.methods.keys()
