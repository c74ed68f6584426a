"""RPCThriftTask: serves the RPC tasks of a service over thrift."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparts.rpc.transport import RPCTransport
from sparts.tasks.thrift.nbserver import NBServerTask
from sparts.thrift.processor import Router
from sparts.thrift.rpc import PORT
from sparts.thrift.rpc.idl import messages_of
from sparts.thrift.rpc.names import safe
from sparts.thrift.rpc.serving import RPCMethod

if TYPE_CHECKING:
    from sparts.tasks.thrift.handler import ThriftHandlerTask
    from sparts.thrift.processor import Served


class RPCThriftTask(RPCTransport, NBServerTask):
    """Serves the methods of the service's `RPCTask` tasks over thrift: framed, binary or compact.

    ``sparts rpc idl --thrift`` prints the IDL. Clients name the task in each call
    (``Geo:distance``, Apache's ``TMultiplexedProtocol``), or need not where there is one.
    """

    OPT_PREFIX: ClassVar[str | None] = "rpc-thrift"
    TRANSPORT: ClassVar[str] = "thrift"
    DEFAULT_PORT: ClassVar[int] = PORT

    def make_router(self) -> Router:
        """Return a router to the methods.

        Raises:
            UsageError: thrift cannot carry one; the message says which and why.
        """
        table: dict[bytes, Served] = {}
        served = self.find_served()
        interfaces = {each.method.interface: each.task.interface()
                      for methods in served.values() for each in methods.values()}  # fmt: skip
        messages = messages_of(interfaces.values())
        for task, methods in served.items():
            for name, each in methods.items():
                method = RPCMethod(each, messages[each.method.interface][name])
                table[f"{safe(task)}:{method.spec.name}".encode()] = method
                if len(served) == 1:
                    table[method.name] = method
        return Router(table, map(safe, served))

    def _handlers(self) -> list[ThriftHandlerTask]:
        """Return none: RPC tasks need no handler beside them."""
        return []

    def check(self) -> None:
        """See whether all methods can be carried."""
        super().check()
        self.make_router()
