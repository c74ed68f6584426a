"""A server on asyncio: give it a protocol, and it serves, drains and restarts as all of ours do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparts.established import TaskReference
from sparts.loops import LoopBoundTask
from sparts.net.serving import Serving
from sparts.tasks.asyncio_loop import AsyncioLoopTask

if TYPE_CHECKING:
    import asyncio


class AsyncioServerTask(Serving, LoopBoundTask):
    """Serves the protocol that `make_protocol` returns: a server in a few lines.

    Options, sockets, TLS, the limit of connections, restarts and the stop are those of every server
    of sparts.
    """

    LOOP: ClassVar[TaskReference] = AsyncioLoopTask

    def make_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of one connection that was accepted; called in the loop.

        At the stop its method ``drain`` is called, if it has one; see `sparts.net.serving.Drains`.
        An exception is logged, and the client disconnected.
        """
        raise NotImplementedError(f"{type(self).__name__} has no protocol: write make_protocol().")

    def start_in_loop(self) -> Any:
        """Begin to accept connections."""
        self.serve(self.make_protocol)

    async def stop_in_loop(self) -> None:
        """Stop to accept, and let what has begun finish; see `Serving.end_serving`."""
        await self.end_serving()

    def join(self) -> None:
        """Wait for the end of the server; its sockets are closed even when the loop has crashed."""
        super().join()
        self.close_sockets()
