"""Calls of clients as plugins wrap them: `sparts.calls` says how."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sparts.calls import ClientCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparts.calls import Wrapper
    from sparts.thrift.client.endpoint import Endpoint

sent_headers: ContextVar[Mapping[str, str]] = ContextVar("sparts.thrift.headers", default={})  # noqa: B039 - nobody changes it
"""What the present call sends as headers, over HTTP."""


def wrapped_call(
    wrapper: Wrapper,
    service: str,
    method: str,
    endpoint: Endpoint,
    proceed: Callable[[], Any],
    is_async: bool = False,
) -> Any:
    """Make a call with what wraps the calls of clients around it."""
    attributes = {"service": service, "method": method, "network.peer.address": str(endpoint)}
    call = ClientCall(None, "thrift", method, is_async=is_async, attributes=attributes)

    def send() -> Any:
        token = sent_headers.set(call.headers)
        try:
            return proceed()
        finally:
            sent_headers.reset(token)

    async def send_async() -> Any:
        token = sent_headers.set(call.headers)
        try:
            return await proceed()
        finally:
            sent_headers.reset(token)

    return wrapper(call, send_async if is_async else send)
