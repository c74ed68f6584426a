"""TwistedTask: the base of tasks that live on a Twisted reactor; TwistedServiceTask."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, cast

from sparts.base_work import must_override
from sparts.clock import timeout_of
from sparts.errors import StartError, UsageError
from sparts.established import TaskReference
from sparts.loops import LoopBoundTask
from sparts.net.listeners import format_address
from sparts.tasks.twisted.ports import OpenPort
from sparts.tasks.twisted.reactor_task import TwistedReactorTask

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.internet.interfaces import IProtocolFactory


class TwistedTask(LoopBoundTask):
    """Lives on Twisted's reactor: override `start_in_loop` and `stop_in_loop`, or serve.

    With an ``endpoint``, it serves there what `make_factory` makes. At the stop it takes no more
    connections, waits until `isDoneWithReactor`, and closes those that are left.
    """

    LOOP: ClassVar[TaskReference] = TwistedReactorTask
    endpoint: ClassVar[str | None] = None
    """Where to serve, as `twisted.internet.endpoints.serverFromString` takes it: ``"tcp:0"``; None:
    nowhere."""

    bound_addrs: list[Any]
    """What is served, as `socket.getsockname` returns it; from the start on."""
    _ports: list[OpenPort]

    def isDoneWithReactor(self) -> bool:  # noqa: N802
        """Return whether the reactor may end, as far as this task goes; asked in its thread.

        Asked at the stop, after `stop_in_loop`, and again whenever something has happened in the
        reactor, until it is true; other threads can have it asked by ``loop_task.call(int)``. The
        service waits for it as long as it may take to stop. The default is True. An exception is
        logged, and the service ends with status 1.
        """
        return True

    def make_factory(self) -> IProtocolFactory:
        """Return what makes the protocols of connections; called in the reactor's thread at each
        start, if there is an ``endpoint``.
        """
        raise NotImplementedError(f"{self.name} has an endpoint: write its make_factory().")

    @property
    def reactor(self) -> Any:
        """Twisted's reactor, from `initTask` on. Of its methods, only ``callFromThread`` may be
        called in other threads.

        RuntimeError: it has ended, and none has taken its place.
        """
        return cast("TwistedReactorTask", self.loop_task).reactor

    def initTask(self) -> None:  # noqa: N802
        """Check the endpoint; `UsageError` if it cannot be one."""
        super().initTask()
        self._ports = []
        self.bound_addrs = getattr(self, "bound_addrs", [])  # a server's are open already
        if self.endpoint is not None:
            self._endpoint()

    def _endpoint(self) -> Any:
        try:
            return serverFromString(self.reactor, self.endpoint)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self.name}.endpoint is {self.endpoint!r}: {error}.") from error

    def start_in_loop(self) -> Any:
        """Begin to work; the default serves at the ``endpoint``, if there is one."""
        return None if self.endpoint is None else self._listen()

    def _admits(self) -> bool:
        """Return whether one more connection may be open."""
        return True

    async def _listen(self) -> None:
        try:
            port = await self._endpoint().listen(self.make_factory())
        except CannotListenError as error:
            why = error.socketError.strerror or error.socketError
            raise StartError(f"{self.name} cannot listen on {self.endpoint!r}: {why}.") from error
        self._ports.append(OpenPort(self.reactor, port, self, self._admits))
        self.bound_addrs = [self._ports[0].address]
        self.logger.info("%s Server Started on %s", self.name, format_address(self.bound_addrs[0]))

    def _begin_in_loop(self) -> Any:
        self._ports = []  # those of a reactor that has failed are closed
        return super()._begin_in_loop()

    def _end_in_loop(self) -> Any:
        return self._end() if self._begun else None

    async def _end(self) -> None:
        await self._stop_listening()
        try:
            stopped = self.stop_in_loop()
            if inspect.isawaitable(stopped):
                await stopped
        finally:
            await self.reactor.when(self.isDoneWithReactor)
            await self._finish_handshakes()
            cut = [
                await port.close_connections(timeout_of(self.seconds_to_stop()))
                for port in self._ports
            ]
            if any(cut):
                self.logger.warning("Connections cut off, which took too long: %d", sum(cut))

    async def _finish_handshakes(self) -> None:
        """Let connections begin that could not yet; the default does nothing."""

    async def _stop_listening(self) -> None:
        for port in self._ports:
            await port.stop_listening()


class TwistedServiceTask(TwistedTask):
    """Runs an `IService` of Twisted's: a ``MultiService``, a ``StreamServerEndpointService``."""

    twisted_service: IService
    """What runs, from the start on."""

    @must_override
    def make_service(self) -> IService:
        """Return the service to run; called in the reactor's thread at each start."""
        raise NotImplementedError(f"{self.name} has nothing to run: write its make_service().")

    def start_in_loop(self) -> Any:
        """Start the service."""
        service: Any = self.make_service()
        self.twisted_service = service
        service.privilegedStartService()
        service.startService()

    async def stop_in_loop(self) -> None:
        """Stop the service, and wait until it has."""
        service: Any = getattr(self, "twisted_service", None)
        if service is not None:
            await maybeDeferred(service.stopService)
