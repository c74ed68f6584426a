"""A small OTLP receiver: keeps what services send, as OpenTelemetry's protobuf says it."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sparts.testing.waiting import WAIT


class Span:
    """A span that came in."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.kind: int = span.kind
        self.trace: bytes = span.trace_id
        self.id: bytes = span.span_id
        self.parent: bytes = span.parent_span_id
        self.status: int = span.status.code
        self.message: str = span.status.message
        self.attributes = attributes(span.attributes)
        self.events = {event.name: attributes(event.attributes) for event in span.events}
        self.resource = resource

    def __repr__(self) -> str:
        return f"<{self.name} {self.id.hex()} in {self.parent.hex()} of {self.trace.hex()}>"


def attributes(found: Any) -> dict[str, Any]:
    """Return attributes as a dict."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in found}


class Collector:
    """Listens on a free port of this host; a context manager.

    ``token`` is what the header ``x-token`` must hold; ``requests`` are the paths and headers of
    all that came.

    Args:
        tls: what connections are to be wrapped in.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, Message]] = []
        self.spans: list[Span] = []
        self.metrics: dict[str, Any] = {}
        self.logs: list[Any] = []
        self.token = ""
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append((self.path, self.headers))
                if self.headers["Content-Encoding"] == "gzip":
                    data = gzip.decompress(data)
                allowed = self.headers.get("x-token", "") == collector.token
                if allowed:
                    collector.take(self.path, data)
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.endpoint = f"http{'s' if tls else ''}://{self.host}"

    def take(self, path: str, data: bytes) -> None:
        """Keep a request."""
        with self._changed:
            if path.endswith("/v1/traces"):
                for spans in ExportTraceServiceRequest.FromString(data).resource_spans:
                    resource = attributes(spans.resource.attributes)
                    for scope in spans.scope_spans:
                        self.spans += [Span(span, resource) for span in scope.spans]
            elif path.endswith("/v1/metrics"):
                for metrics in ExportMetricsServiceRequest.FromString(data).resource_metrics:
                    for scope in metrics.scope_metrics:
                        self.metrics.update({metric.name: metric for metric in scope.metrics})
            elif path.endswith("/v1/logs"):
                for logs in ExportLogsServiceRequest.FromString(data).resource_logs:
                    for scope in logs.scope_logs:
                        self.logs += scope.log_records
            self._changed.notify_all()

    def span(self, name: str) -> Span:
        """Wait for a span of a name."""
        until = time.monotonic() + WAIT
        with self._changed:
            while not (found := [span for span in self.spans if span.name == name]):
                left = until - time.monotonic()
                assert left > 0, f"no span {name!r}; there are {self.spans}"
                self._changed.wait(left)
            return found[-1]

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
