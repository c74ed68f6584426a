"""RPCTransport: a server task that serves the methods of the service's `RPCTask` tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from sparts.errors import UsageError
from sparts.rpc.serving import Served
from sparts.rpc.task import RPCTask
from sparts.vtask import VTask

if TYPE_CHECKING:
    from sparts.rpc.interface import Method
    from sparts.rpc.types import Type
    from sparts.vservice import VService


class RPCTransport(VTask):
    """A mixin for server tasks: put it before the other bases, and serve what `served` has.

    It starts after the `RPCTask` tasks and stops before them, so that its stop lets their calls
    finish. Whatever it cannot carry ends the start with status 2.
    """

    TRANSPORT: ClassVar[str] = ""
    """The name of the transport, in messages and for wrappers of calls: ``HTTP``."""
    _SERVICE_DEFAULTS: ClassVar[bool] = False
    SERVES: ClassVar[Sequence[str]] = ()
    """The names of the `RPCTask` tasks that it serves; empty: all of the service."""

    served: Mapping[str, Mapping[str, Served]]
    """What it serves, from `initTask` on: by the name of the task, by the name of the method."""

    @classmethod
    def _follows(cls) -> Sequence[type[VTask]]:
        """Return what the bases say, and `RPCTask`."""
        return (*super()._follows(), RPCTask)

    def refuse(self, method: Method, where: str, type_: Type) -> str:
        """Return why this transport cannot carry a type, or an empty string: it can.

        Called at the start, for each type that the parameters and the result of a method are made
        of. The default carries everything.

        Args:
            method: the method.
            where: ``parameter a.x`` or ``result``, for a decision that depends on it.
            type_: the type, without what it is made of: that has its own call.
        """
        return ""

    def refuse_method(self, method: Method) -> str:
        """Return why this transport cannot serve a method, such as its streams, or an empty string.

        Called at the start. The default serves everything.
        """
        return ""

    def initTask(self) -> None:  # noqa: N802
        """Find the methods, and see whether they can be carried.

        Raises:
            UsageError: one cannot; the message names method, parameter, type and transport.
        """
        super().initTask()
        self.served = self.find_served()

    def check(self) -> None:
        """See whether all methods can be carried."""
        super().check()
        self.find_served()

    def find_served(self) -> dict[str, dict[str, Served]]:
        """Return what `served` holds; see `find_served` of this module."""
        return find_served(
            self.service, self.TRANSPORT, self.SERVES, self.refuse_method, self.refuse
        )


def find_served(
    service: VService,
    transport: str,
    serves: Sequence[str] = (),
    refuse_method: Callable[[Method], str] = lambda method: "",
    refuse: Callable[[Method, str, Type], str] = lambda method, where, type_: "",
) -> dict[str, dict[str, Served]]:
    """Return the methods of the RPC tasks of a service, by the names of task and method.

    Args:
        service: the service; its tasks are made.
        transport: the name of the transport.
        serves: the names of the tasks; none: all.
        refuse_method: see `RPCTransport`.
        refuse: see `RPCTransport`.

    Raises:
        UsageError: there is no such task, or a method cannot be carried.
    """
    tasks = {task.name: task for task in service.tasks if isinstance(task, RPCTask)}
    if missing := next((name for name in serves if name not in tasks), None):
        raise UsageError(f"{transport} cannot serve {missing!r}, which is no RPCTask here.")
    if not tasks:
        raise UsageError(f"{transport} has nothing to serve: the service has no RPCTask.")
    found: dict[str, dict[str, Served]] = {}
    for name in serves or tasks:
        methods = tasks[name].interface().methods
        for method in methods.values():
            if why := refuse_method(method):
                raise UsageError(f"{transport} cannot serve {method.qualified}: {why}.")
            for where, type_ in method.parts():
                if why := refuse(method, where, type_):
                    what = f"{method.qualified}, {where}: {type_.name}"
                    raise UsageError(f"{transport} cannot carry {what}: {why}.")
        found[name] = {key: Served(tasks[name], each, transport) for key, each in methods.items()}
    return found
