"""RPC in the soaked service, by every transport, and its clients."""

from __future__ import annotations

from typing import Any

from sparts.rpc import RPCClientTask, RPCTask, connect, rpc
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.tasks.dbus.rpc import RPCDBusTask
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.tasks.thrift.rpc import RPCThriftTask

from soak import ledger
from soak.clients import Away, Client, expect
from soak.jobs import JOBS

ON_BUS = "org.example.SoakRPC"


class Sums(RPCTask):
    """Methods that every transport serves."""

    DEPS = JOBS

    @rpc(idempotent=True)
    def twice(self, number: int) -> int:
        """Double a number by way of a queue."""
        ledger.handed("Items")
        return int(self.service.requireTask("Items").submit(number).result())

    @rpc(idempotent=True)
    def joined(self, texts: list[str]) -> str:
        """Join strings."""
        return ",".join(texts)


class RPCOnHTTP(RPCHTTPTask):
    """Serves them over HTTP."""

    DEFAULT_HOST = "127.0.0.1"


class RPCOnThrift(RPCThriftTask):
    """Serves them over thrift."""

    DEFAULT_HOST = "127.0.0.1"


class RPCOnGrpc(RPCGrpcTask):
    """Serves them over gRPC."""

    DEFAULT_HOST = "127.0.0.1"


class RPCOnDBus(RPCDBusTask):
    """Serves them on the bus."""

    BUS_NAME = ON_BUS


class SumsClient(RPCClientTask[Sums]):
    """Is there, and idle: a call to its own service would hold up the stop."""

    INTERFACE = Sums
    URL = "http://127.0.0.1:1"


RPC = (Sums, RPCOnHTTP, RPCOnThrift, RPCOnGrpc, RPCOnDBus, SumsClient)


def rpc_clients(urls: dict[str, str], away: Away) -> list[Client]:
    """Make the clients, one for each URL."""
    return [_client(name, url, away) for name, url in urls.items()]


def _client(name: str, url: str, away: Away) -> Client:
    proxy: Any = connect(url, Sums, timeout=60.0)

    def once(number: int) -> None:
        expect(proxy.twice(number), 2 * number)
        texts = [str(each) for each in range(number % 20)]
        expect(proxy.joined(texts), ",".join(texts))

    client = Client(f"RPC over {name}", once)
    client.close, client.PAUSE = proxy.close, 0.05
    if name == "D-Bus":
        client.excused = away
    return client
