"""A service of the tests as a process: RPC over HTTP, which restarts when a client says so."""

from __future__ import annotations

from sparts.rpc import RPCTask, rpc
from sparts.vservice import VService


class Sums(RPCTask):
    """Methods in threads."""

    @rpc(idempotent=True)
    def twice(self, number: int) -> int:
        """Double a number."""
        return 2 * number

    @rpc
    def once(self, number: int) -> int:
        """Return a number; clients never call this again."""
        return number

    @rpc
    def again(self) -> None:
        """Restart the service."""
        self.service.restart()


class FastSums(Sums):
    """The same in the loop."""

    INLINE = True


class Restarting(VService):
    """Serves them."""

    TASKS = [Sums, FastSums, "RPCHTTPTask", "StatusHTTPTask"]


if __name__ == "__main__":
    Restarting.initFromCLI()
