"""Spans of calls: those that tasks handle, and those that clients make.

Names and attributes are those of OpenTelemetry's semantic conventions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from sparts.calls import CallRefusedError, Reason
from sparts.errors import TryLater, text_of, traceback_of
from sparts.logs import log_fields
from sparts.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparts.calls import Call, Proceed, Wrapper

SYSTEMS = {"thrift": "apache_thrift", "dbus": "dbus", "grpc": "grpc", "rpc": "sparts"}
FROM_OUTSIDE = frozenset(("http", "grpc", "rpc", "thrift", "dbus"))


class _Headers(Getter["Mapping[str, str]"]):
    """Reads the headers of a call."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        """Return the values of a header."""
        found = carrier.get(key)
        return None if found is None else [str(found)]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        """Return the names of all headers."""
        return list(carrier)


_headers = _Headers()
_propagated = frozenset(propagate.get_global_textmap().fields)


def tracing(tracer: trace.Tracer, kind: str) -> Wrapper:
    """Return the wrapper that makes a span of each call of a kind."""
    span_kind = SpanKind.INTERNAL
    if kind in FROM_OUTSIDE:
        span_kind = SpanKind.SERVER
    elif kind in ("queue", "message"):
        span_kind = SpanKind.CONSUMER

    async def traced(call: Call, proceed: Proceed) -> Any:
        parent = _parent(call)
        name, attributes = describe(call)
        span = tracer.start_span(name, parent, span_kind, attributes)
        return await _within(span, parent, call, proceed)

    return traced


def client_tracing(tracer: trace.Tracer) -> Wrapper:
    """Return the wrapper that makes a span of each call of a client, and sends its context."""

    async def traced(call: Call, proceed: Proceed) -> Any:
        parent = get_current()
        name, attributes = describe(call)
        kind = SpanKind.PRODUCER if call.kind in ("queue", "message") else SpanKind.CLIENT
        span = tracer.start_span(name, parent, kind, attributes)
        propagate.inject(call.headers, set_span_in_context(span, parent))
        return await _within(span, parent, call, proceed)

    return traced


def _parent(call: Call) -> Context:
    """Return the context that a call comes from: its headers', or else the present one.

    A request of a network starts its own trace, whatever its server was doing when it was started.
    """
    headers = call.headers
    if headers and any(name in headers for name in _propagated):
        return propagate.extract(headers, Context(), _headers)
    return Context() if call.kind in ("http", "grpc") else get_current()


async def _within(span: trace.Span, parent: Context, call: Call, proceed: Proceed) -> Any:
    token = attach(set_span_in_context(span, parent))
    ids = span.get_span_context()
    known = log_fields.get(None) or {}
    fields = log_fields.set(
        {**known, "trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}
    )
    error: BaseException | None = None
    try:
        return await proceed()
    except BaseException as caught:
        error = caught
        raise
    finally:
        if span.is_recording():
            _note_end(span, call, error or call.error)
        log_fields.reset(fields)
        detach(token)
        span.end()


def describe(call: Call) -> tuple[str, dict[str, Any]]:
    """Return the name and the attributes of a call's span at its start."""
    kind, said = call.kind, call.attributes
    found: dict[str, Any] = {"sparts.kind": kind}
    if call.task is not None:
        found["sparts.task"] = call.task.name
    if call.peer:
        found["client.address"] = call.peer
    if kind == "http":
        found |= {
            "http.request.method": said.get("method", ""),
            "url.path": said.get("path", ""),
            "url.scheme": said.get("scheme", ""),
            "server.address": said.get("host", ""),
        }
        if said.get("route"):
            found["http.route"] = said["route"]
        agent = call.headers.get("user-agent") if "task" in vars(call) else None
        if agent:
            found["user_agent.original"] = agent
    elif kind in SYSTEMS:
        service, _, method = call.name.rpartition("/" if kind == "grpc" else ".")
        found |= {"rpc.system": SYSTEMS[kind], "rpc.method": said.get("method") or method}
        service = said.get("service") or said.get("interface") or service
        if service:
            found["rpc.service"] = service
    elif kind in ("queue", "message"):
        found |= {
            "messaging.system": said.get("system", "sparts"),
            "messaging.destination.name": call.name,
            "messaging.operation.type": said.get("operation", "process"),
        }
        if call.attempt > 1:
            found["sparts.attempt"] = call.attempt
    elif kind == "command":
        found["process.executable.name"] = call.name
    for name in ("url.full", "server.port", "network.peer.address"):
        if name in said:
            found[name] = said[name]
    return call.name, found


def _note_end(span: trace.Span, call: Call, error: BaseException | None) -> None:
    """Note how a call has ended."""
    status = call.attributes.get("status") if call.kind == "http" else None
    if status:
        span.set_attribute("http.response.status_code", int(status))
        route = call.attributes.get("route")
        if route and route not in call.name:  # known only since the framework has found it
            span.update_name(f"{call.name} {route}")
            span.set_attribute("http.route", route)
    if isinstance(error, TryLater):
        span.add_event("try later")
        return
    server_error = status is not None and int(status) >= 500
    if error is None:
        if server_error:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        return
    if isinstance(error, CallRefusedError):
        span.set_attribute("error.type", str(error.reason))
        if error.reason is not Reason.UNAVAILABLE:
            return
    elif status is not None and 400 <= int(status) < 500:  # an HTTPError of the handler's
        return
    kind, message = type(error).__qualname__, masked(text_of(error))
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, message))
    span.add_event(
        "exception",
        {
            "exception.type": f"{type(error).__module__}.{kind}",
            "exception.message": message,
            "exception.stacktrace": masked(traceback_of(error)),
        },
    )
