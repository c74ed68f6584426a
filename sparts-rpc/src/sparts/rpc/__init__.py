"""RPC: methods that are described once, from their annotations, and served by every transport.

`RPCTask` and `rpc` are for services, `connect`, `connect_async` and `RPCClientTask` for clients.
The rest is for transports: `interface_of` describes a class (`sparts.rpc.interface`,
`sparts.rpc.types`), `RPCTransport` is a task that serves what `RPCTask` has
(`sparts.rpc.transport`), `Values` converts arguments and results to JSON or MessagePack
(`sparts.rpc.values`), and `Client` is what a client transport implements (`sparts.rpc.clients`).

Nothing is imported before it is used: the description needs no task, and msgspec
(``sparts-core[rpc]``) is needed by values alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.startup import imported_later

if TYPE_CHECKING:
    from sparts.rpc.client_task import RPCClientTask as RPCClientTask
    from sparts.rpc.clients import Client as Client
    from sparts.rpc.errors import DeadlineExceededError as DeadlineExceededError
    from sparts.rpc.errors import InternalError as InternalError
    from sparts.rpc.errors import InvalidArgumentsError as InvalidArgumentsError
    from sparts.rpc.errors import NoSuchMethodError as NoSuchMethodError
    from sparts.rpc.errors import RPCError as RPCError
    from sparts.rpc.errors import UnavailableError as UnavailableError
    from sparts.rpc.interface import Interface as Interface
    from sparts.rpc.interface import Method as Method
    from sparts.rpc.interface import Parameter as Parameter
    from sparts.rpc.interface import interface_of as interface_of
    from sparts.rpc.interface import rpc as rpc
    from sparts.rpc.proxies import connect as connect
    from sparts.rpc.proxies import connect_async as connect_async
    from sparts.rpc.served_calls import current_call as current_call
    from sparts.rpc.task import RPCTask as RPCTask
    from sparts.rpc.transport import RPCTransport as RPCTransport
else:
    _homes = {
        "sparts.rpc.client_task": ("RPCClientTask",),
        "sparts.rpc.clients": ("Client",),
        "sparts.rpc.errors": (
            "DeadlineExceededError", "InternalError", "InvalidArgumentsError", "NoSuchMethodError",
            "RPCError", "UnavailableError",
        ),
        "sparts.rpc.interface": ("Interface", "Method", "Parameter", "interface_of", "rpc"),
        "sparts.rpc.proxies": ("connect", "connect_async"),
        "sparts.rpc.served_calls": ("current_call",),
        "sparts.rpc.task": ("RPCTask",),
        "sparts.rpc.transport": ("RPCTransport",),
    }  # fmt: skip
    __getattr__ = imported_later(__name__, _homes)
