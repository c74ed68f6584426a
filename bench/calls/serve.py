"""Hello, world by TornadoHTTPTask: plain or traced.

`traced` is sparts-otel; `instrumented` is OpenTelemetry's own instrumentation of Tornado. Both send
every span to BENCH_COLLECTOR.
"""

from __future__ import annotations

import os
import sys
import time

from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService

WAY = sys.argv.pop(1)
COLLECTOR = os.environ["BENCH_COLLECTOR"]


def stamp(word: bytes, number: int) -> None:
    """Tell the benchmark a number."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


class Hello(TornadoHTTPTask):
    """Says where it listens."""

    DEFAULT_HOST = "127.0.0.1"

    def start(self) -> None:
        """Start, and stamp."""
        super().start()
        stamp(b"port", self.bound_addrs[0][1])
        stamp(b"ready", time.monotonic_ns())


class MyService(VService):
    """Nothing but HTTP."""

    TASKS = [Hello]


def instrument() -> None:
    """Have OpenTelemetry's own instrumentation trace Tornado."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"{COLLECTOR}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    TornadoInstrumentor().instrument()  # type: ignore[no-untyped-call]


if WAY == "instrumented":
    instrument()
if WAY == "traced":
    os.environ["SPARTS_DISABLE_PLUGINS"] = "reload"
    sys.argv += ["--otel-endpoint", COLLECTOR]
else:
    os.environ["SPARTS_DISABLE_PLUGINS"] = "otel,reload"
sys.argv += ["--http-port", "0", "--level", "ERROR"]
MyService.initFromCLI()
