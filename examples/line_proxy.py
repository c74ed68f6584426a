"""A proxy for protocols of lines: passes them on in both directions, and logs them."""

from typing import Any

from sparts.counters import counter
from sparts.options import option
from sparts.tasks.twisted import TwistedServerTask
from sparts.vservice import VService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver


class Side(LineReceiver):
    """One of the two connections; what comes before the other is there waits for it."""

    delimiter = b"\n"
    transport: Any

    def __init__(self, task: "LineProxy", arrow: str) -> None:
        self.task = task
        self.arrow = arrow
        self.other: Any = None

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        self.task.lines.increment()
        self.task.logger.info("%s %s", self.arrow, line.decode(errors="replace").rstrip("\r"))
        self.other.sendLine(line)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        if self.other is not None:
            self.other.transport.loseConnection()


class Client(Side):
    def connectionMade(self) -> None:  # noqa: N802
        self.pauseProducing()
        target = clientFromString(self.task.reactor, self.task.target)
        server: Deferred[Any] = connectProtocol(target, Side(self.task, "<"))
        server.addCallbacks(self.connected_to, self.failed)

    def connected_to(self, server: Side) -> None:
        self.other, server.other = server, self
        self.resumeProducing()

    def failed(self, failure: Any) -> None:
        self.task.logger.warning("%s: %s", self.task.target, failure.getErrorMessage())
        self.transport.loseConnection()


class LineProxy(TwistedServerTask):
    OPT_PREFIX = "proxy"
    DEFAULT_HOST = "127.0.0.1"
    target = option(type=str, default="tcp:127.0.0.1:25", help="where to connect to, an endpoint")
    lines = counter(help="Lines that were passed on.")

    def make_factory(self) -> Any:
        return Factory.forProtocol(lambda: Client(self, ">"))


class Proxy(VService):
    TASKS = [LineProxy]


if __name__ == "__main__":
    Proxy.initFromCLI()
