"""Requests of Twisted's site as calls that plugins wrap: `sparts.calls` says how."""

from __future__ import annotations

from concurrent.futures import Future
from math import ceil
from typing import TYPE_CHECKING, Any

from sparts.calls import Call, CallRefusedError, Reason, around_future
from sparts.errors import message_of

from twisted.web.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.TOO_MANY: 429,
    Reason.UNAVAILABLE: 503,
}


class WebCall(Call):
    """A request. ``request`` is Twisted's."""

    kind = "http"
    is_async = True

    def __init__(self, task: Any, request: Any) -> None:
        self.task: Any = task
        self.request: Any = request

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method: resources have no routes."""
        return str(self.request.method.decode("latin-1"))

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the client."""
        return str(getattr(self.request.getClientAddress(), "host", ""))

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """The headers, by lower-case name."""
        found = self.request.requestHeaders.getAllRawHeaders()
        return {
            name.decode("latin-1").lower(): b",".join(values).decode("latin-1")
            for name, values in found
        }

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What is known of the request, and the status of the response as it is now."""
        request = self.request
        return {
            "method": self.name,
            "route": "",
            "path": request.path.decode("latin-1"),
            "scheme": "https" if request.isSecure() else "http",
            "host": (request.getHeader("host") or ""),
            "status": request.code,
        }


class WrappedResource(Resource):
    """Renders another resource, with what wraps calls around it."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, task: Any, resource: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.task: Any = task
        self.resource: Any = resource

    def render(self, request: Any) -> Any:
        """Answer a request; called in the reactor's thread."""
        ended: Future[None] = Future()
        results: list[Any] = []

        def start() -> Future[None]:
            request.notifyFinish().addBoth(lambda _: ended.set_result(None))
            results.append(self.resource.render(request))
            return ended

        try:
            around_future(self.task, WebCall(self.task, request), start)
        except CallRefusedError as refused:
            return _refuse(request, refused)
        return results[0]


def _refuse(request: Any, refused: CallRefusedError) -> bytes:
    request.setResponseCode(_STATUS[refused.reason])
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    if refused.reason is Reason.UNAUTHENTICATED:
        request.setHeader("WWW-Authenticate", "Bearer")
    if refused.retry_after is not None:
        request.setHeader("Retry-After", str(ceil(refused.retry_after)))
    return message_of(refused).encode()
