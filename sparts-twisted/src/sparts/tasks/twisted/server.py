"""TwistedServerTask: serves a factory of Twisted's on the sockets that every server task has."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from sparts.net.listeners import Listening
from sparts.tasks.twisted.ports import OpenPort, adopt_port
from sparts.tasks.twisted.task import TwistedTask
from sparts.tasks.twisted.tls import TLSFactory


class TwistedServerTask(Listening, TwistedTask):
    """Serves what `make_factory` makes, where its options say: ``--PREFIX-host``, ``-port``,
    ``-sock``, with ``-tls-cert`` by TLS.

    At the stop, connections that wait to be taken are taken, TLS handshakes that are under way may
    end, and what follows is as with an ``endpoint`` of `TwistedTask`: which serves what these
    options cannot say.
    """

    FIRST_REQUEST_GRACE: ClassVar[float] = 1.0
    """Seconds that a connection has to end its TLS handshake at a stop, and so to be served."""

    _factory: Any

    def start_in_loop(self) -> Any:
        """Begin to take connections."""
        self._factory = self.make_factory()
        if self.ssl_context is not None:
            self._factory = TLSFactory(self._factory, self.ssl_context, self.reactor)
        for sock in self.take_sockets():
            port = adopt_port(self.reactor, sock, self._factory, self.BACKLOG)
            self._ports.append(OpenPort(self.reactor, port, self, self._admits))
        self.log_started()

    async def _stop_listening(self) -> None:
        await super()._stop_listening()
        for connection in self.stop_listening():
            with connection:
                if self._ports:  # else its start has failed
                    self._ports[0].adopt(connection, self._factory)

    async def _finish_handshakes(self) -> None:
        """Let clients be served that were in their handshake when the stop came."""

        def cut_off() -> None:
            for connection in list(self._handshakes):
                connection.abortConnection()

        limit = min(self.FIRST_REQUEST_GRACE, self.seconds_to_stop())
        timer = self.reactor.callLater(limit, cut_off)
        await self.reactor.when(lambda: not self._handshakes)
        if timer.active():
            timer.cancel()

    @property
    def _handshakes(self) -> Collection[Any]:
        """The connections whose TLS handshake is under way."""
        return self._factory.handshakes if isinstance(self._factory, TLSFactory) else ()

    def join(self) -> None:
        """Wait for the end; the sockets are closed even when the reactor has failed."""
        super().join()
        self.close_sockets()
