"""Spans of calls: those that tasks handle, and those that clients make.

Names and attributes are those of OpenTelemetry's semantic conventions.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach, get_current, set_value
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from sparts.calls import CallRefusedError, ClientCall, Reason
from sparts.errors import TryLater, message_of, traceback_of
from sparts.logs import log_fields
from sparts.masking import masked
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.calls import Call, Proceed, Wrapper

SYSTEMS = {"thrift": "apache_thrift", "dbus": "dbus", "grpc": "grpc", "rpc": "sparts"}
METHODS = frozenset(  # of others there can be any number, and of names of spans few
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
TRACER = "sparts.tracer"
"""The key of a context under which the tracer is of the service whose call it is."""
SERVER_ERRORS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""The statuses of gRPC that are errors of a server; with others, its caller was wrong."""
REFUSALS = {
    Reason.UNAUTHENTICATED: "UNAUTHENTICATED",
    Reason.FORBIDDEN: "PERMISSION_DENIED",
    Reason.TOO_MANY: "RESOURCE_EXHAUSTED",
    Reason.UNAVAILABLE: "UNAVAILABLE",
}
LONGEST = 1024
"""Characters of an attribute that a client can choose: a path, a host, a user agent."""
FROM_OUTSIDE = frozenset(("http", "grpc", "rpc", "thrift", "dbus"))


class _Headers(Getter[Mapping[str, str]]):
    """Reads the headers of a call."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        """Return the values of a header."""
        found = carrier.get(key)
        return None if found is None else [str(found)]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        """Return the names of all headers."""
        return list(carrier)


_headers = _Headers()
for _name_of_logger in ("opentelemetry.trace.span", "opentelemetry.baggage.propagation"):
    # They warn of malformed headers, and quote them: any client could fill the log.
    if not logging.getLogger(_name_of_logger).level:
        logging.getLogger(_name_of_logger).setLevel(logging.ERROR)
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
        return await _within(span, set_value(TRACER, tracer, parent), call, proceed)

    return traced


def client_tracing(tracer: trace.Tracer, ours: Callable[[Call], bool]) -> Wrapper:
    """Return the wrapper that makes a span of each call of a client, and sends its context.

    Args:
        tracer: makes the spans.
        ours: whether a call is to be traced here, and not by another service of the process.
    """

    async def traced(call: Call, proceed: Proceed) -> Any:
        if not ours(call):
            return await proceed()
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
        found = propagate.extract(headers, Context(), _headers)
        if call.kind == "rpc" and _trace_of(found) == _trace_of(get_current()):
            return get_current()  # the request that brought the call has a span already
        return found
    return Context() if call.kind in ("http", "grpc") else get_current()


def _trace_of(context: Context) -> int:
    return trace.get_current_span(context).get_span_context().trace_id


async def _within(span: trace.Span, parent: Context, call: Call, proceed: Proceed) -> Any:
    token = attach(set_span_in_context(span, parent))
    fields = log_fields.set(SpanFields(log_fields.get({})))
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


class SpanFields(Mapping[str, object]):
    """The log fields of a call: those of before, and the ids of the span that a line is in.

    Args:
        known: those of before.
    """

    __slots__ = ("_known",)

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known

    def _all(self) -> dict[str, object]:
        ids = trace.get_current_span().get_span_context()
        trace_id, span_id = f"{ids.trace_id:032x}", f"{ids.span_id:016x}"
        return {**self._known, "trace_id": trace_id, "span_id": span_id}

    def __getitem__(self, name: str) -> object:
        """Give a field."""
        return self._known[name] if name in self._known else self._all()[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self._all())

    def __len__(self) -> int:
        """Give how many there are."""
        return len(self._all())


def describe(call: Call) -> tuple[str, dict[str, Any]]:
    """Return the name and the attributes of a call's span at its start."""
    kind, said = call.kind, call.attributes
    found: dict[str, Any] = {"sparts.kind": kind}
    if call.task is not None:
        found["sparts.task"] = ours(call.task).name
    if call.peer:
        found["client.address"] = call.peer
    if kind == "http":
        method, (address, port) = said.get("method", ""), _host(said.get("host", ""))
        found |= {
            "http.request.method": method,
            "url.path": said.get("path", ""),
            "url.scheme": said.get("scheme", ""),
            "server.address": address,
        }
        if port:
            found["server.port"] = port
        if method not in METHODS:
            found |= {"http.request.method": "_OTHER", "http.request.method_original": method}
        if said.get("route"):
            found["http.route"] = said["route"]
        agent = None if isinstance(call, ClientCall) else call.headers.get("user-agent")
        if agent:
            found["user_agent.original"] = agent
    elif kind in SYSTEMS:
        whole = f"{said.get('service', '')}/{call.name}" if kind == "thrift" else call.name
        found |= {"rpc.system.name": SYSTEMS[kind], "rpc.method": whole}
    elif kind in ("queue", "message"):
        found |= {
            "messaging.system": said.get("system", "sparts"),
            "messaging.destination.name": call.name,
            "messaging.operation.name": said.get("operation", "process"),
            "messaging.operation.type": said.get("operation", "process"),
        }
        if call.attempt > 1:
            found["sparts.attempt"] = call.attempt
    elif kind == "command":
        found["process.executable.name"] = call.name
    for each in ("url.full", "server.port", "network.peer.address"):
        if each in said:
            found[each] = said[each]
    return _name(call), {name: _short(value) for name, value in found.items()}


def _short(value: Any) -> Any:
    """Return what a client has sent, cut: spans that wait for a collector take memory."""
    # A secret that is cut would not be found any more when the span is sent.
    return masked(value)[:LONGEST] if isinstance(value, str) and len(value) > LONGEST else value


def _name(call: Call) -> str:
    method = call.attributes.get("method", "") if call.kind == "http" else ""
    return call.name.replace(method, "HTTP", 1) if method and method not in METHODS else call.name


def _host(host: str) -> tuple[str, int]:
    """Return the parts of ``address:port``; the port is 0 if there is none."""
    address, _, port = host.rpartition(":")
    if port.isdecimal() and ("]" in address or ":" not in address):
        return address, int(port)
    return host, 0


def _grpc_code(call: Call, error: BaseException | None) -> str:
    """Return the name of the status that a call of gRPC has ended with."""
    if isinstance(error, CallRefusedError):
        return REFUSALS[error.reason]
    if isinstance(call, ClientCall):
        name = "OK" if error is None else message_of(error)
        return name if name.isupper() else "UNKNOWN"
    code: str = call.attributes["status"]
    if error is not None and code == "OK":
        return "CANCELLED" if isinstance(error, CancelledError) else "UNKNOWN"
    return code


def _note_end(span: trace.Span, call: Call, error: BaseException | None) -> None:
    """Note how a call has ended."""
    status = call.attributes.get("status") if call.kind == "http" else None
    if status:
        span.set_attribute("http.response.status_code", int(status))
        route = call.attributes.get("route")
        if route and route not in call.name:  # known only since the framework has found it
            span.update_name(f"{_name(call)} {route}")
            span.set_attribute("http.route", route)
    if isinstance(error, TryLater):
        span.add_event("try later")
        return
    code = _grpc_code(call, error) if call.kind == "grpc" else "OK"
    if call.kind == "grpc":
        span.set_attribute("rpc.response.status_code", code)
    first_error = 400 if isinstance(call, ClientCall) else 500
    if error is None:
        if status and int(status) >= first_error:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        elif code != "OK":
            span.set_attribute("error.type", code)
            if code in SERVER_ERRORS:
                span.set_status(Status(StatusCode.ERROR))
        return
    if isinstance(error, CallRefusedError):
        span.set_attribute("error.type", str(error.reason))
        if error.reason is not Reason.UNAVAILABLE:
            return
    elif status and 400 <= int(status) < first_error:  # an HTTPError of the handler's
        return
    elif code not in ("OK", *SERVER_ERRORS) and not isinstance(call, ClientCall):
        span.set_attribute("error.type", code)  # the caller's fault
        return
    kind, message = type(error).__qualname__, message_of(error)
    span.set_attribute("error.type", code if code not in ("OK", "UNKNOWN") else kind)
    span.set_status(Status(StatusCode.ERROR, message))
    span.add_event(
        "exception",
        {
            "exception.type": f"{type(error).__module__}.{kind}",
            "exception.message": message,
            "exception.stacktrace": traceback_of(error),
        },
    )
