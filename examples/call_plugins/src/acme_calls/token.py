"""A check of a bearer token: anybody who calls a server must present it.

A transport without headers (framed thrift, D-Bus) cannot present one, so its calls are refused.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from sparts.calls import CallRefusedError, Reason
from sparts.hookspecs import hookimpl
from sparts.options import OptionGroup, option, prefix_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.calls import Call, Wrapper
    from sparts.vservice import VService
    from sparts.vtask import VTask

FROM_OUTSIDE = frozenset(("http", "thrift", "dbus", "grpc", "rpc"))


class CallOptions(OptionGroup):
    """Which calls are served."""

    OPT_PREFIX = "calls"

    token = option(type=str, secret=True, help="the bearer token that calls must present")


@hookimpl
def sparts_options_add(service_class: type[VService]) -> type[OptionGroup]:
    """Add --calls-token."""
    return CallOptions


@hookimpl
def sparts_call_wrap(task: VTask, kind: str) -> Wrapper | None:
    """Check the calls of servers, if there is a token; health probes of the status task pass."""
    token = CallOptions(task.service).token
    if not token or kind not in FROM_OUTSIDE or prefix_of(type(task)) == "status":
        return None
    wanted = f"Bearer {token}".encode()

    def check(call: Call, proceed: Callable[[], Any]) -> Any:
        given = call.headers.get("authorization", "").encode(errors="replace")
        if not hmac.compare_digest(given, wanted):
            raise CallRefusedError(Reason.UNAUTHENTICATED, "A bearer token is needed.")
        return proceed()

    return check
