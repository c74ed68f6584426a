"""What sends the telemetry of one instance of a service: providers of OpenTelemetry's SDK."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from logging import Logger
from time import monotonic
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import get_value
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer
from sparts import calls
from sparts.masking import encodable
from sparts.otel import current
from sparts.otel.exporters import exporters
from sparts.otel.exporting import CleaningExporter
from sparts.otel.reaching import hide_headers
from sparts.otel.tracing import TRACER, client_tracing, tracing
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from sparts.calls import Call, Wrapper
    from sparts.vservice import VService

END_TIME = 5.0
"""Seconds that the last telemetry may take to be sent at a stop; less if the stop has less left."""
RESERVE = 0.25
"""Seconds of a stop's time that are left to others."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")


class Telemetry:
    """Traces, metrics and logs of an instance.

    Args:
        service: the instance.
        endpoint: the collector; None: the environment says it.
        signals: what to send (``TRACES``, ``METRICS``, ``LOGS``), and how: by ``otlp``, to the
            ``console``.
    """

    def __init__(
        self, service: VService, endpoint: str | None, signals: Mapping[str, Collection[str]]
    ) -> None:
        self._service: VService = service
        self.logger: Logger = ours(service).logger
        if any("grpc" in os.environ.get(name, "") for name in _PROTOCOLS):
            self.logger.warning(
                "OTEL_EXPORTER_OTLP_PROTOCOL is grpc: telemetry is sent as http/protobuf all the "
                "same, for which collectors listen on port 4318"
            )
        hide_headers()
        resource = resource_of(service)
        self.tracer_provider: TracerProvider | None = None
        self._endings: list[Callable[[], object]] = []
        self._client: Wrapper | None = None
        try:
            self._start(resource, endpoint, signals)
        except BaseException:
            self._end(monotonic())
            raise

    def _start(
        self, resource: Resource, endpoint: str | None, signals: Mapping[str, Collection[str]]
    ) -> None:
        made = {name: exporters(name, used, endpoint) for name, used in signals.items()}
        if "TRACES" in made:
            self._start_traces(resource, made["TRACES"])
        if "METRICS" in made:
            from sparts.otel.metrics import start_metrics

            provider = start_metrics(self._service, resource, made["METRICS"])
            self._endings.append(provider.shutdown)
        if "LOGS" in made:
            from sparts.otel.logs import start_logs

            self._endings.append(start_logs(resource, made["LOGS"]))

    def _start_traces(self, resource: Resource, exporters: Iterable[Any]) -> None:
        processors = [BatchSpanProcessor(CleaningExporter(exporter)) for exporter in exporters]
        provider = self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        for processor in processors:
            provider.add_span_processor(processor)
        self.tracer: Tracer = provider.get_tracer("sparts")
        self._client = client_tracing(self.tracer, self._makes)
        calls.wrap_clients(self._client)
        current.begin(provider)
        self._endings.append(provider.shutdown)

    def _makes(self, call: Call) -> bool:
        """Return whether a client's call is this service's, if several run in this process."""
        if call.task is not None:
            return getattr(call.task, "service", None) is self._service
        if (tracer := get_value(TRACER)) is not None:
            return tracer is self.tracer
        return current.latest() is self.tracer_provider

    def call_wrapper(self, kind: str) -> Wrapper | None:
        """Return what traces the calls of a task; None: traces are not sent."""
        return None if self.tracer_provider is None else tracing(self.tracer, kind)

    def end(self, deadline: float | None) -> None:
        """Send what is left, as far as there is time for it.

        Args:
            deadline: when the service must have stopped, by `time.monotonic`; None: no limit.
        """
        if not self._end(deadline):
            self.logger.warning("The last telemetry was not sent: the collector takes too long")

    def _end(self, deadline: float | None) -> bool:
        if self._client is not None and self.tracer_provider is not None:
            calls.unwrap_clients(self._client)
            current.end(self.tracer_provider)
        left = END_TIME if deadline is None else min(END_TIME, deadline - RESERVE - monotonic())
        until = monotonic() + max(0.0, left)
        threads = [
            threading.Thread(target=ending, name="sparts otel end", daemon=True)
            for ending in self._endings
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        return not any(thread.is_alive() for thread in threads)


def resource_of(service: VService) -> Resource:
    """Return what telemetry says of its origin; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
    go first.
    """
    own: dict[str, Any] = {
        "service.name": ours(service).name,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    if ours(service).VERSION:
        own["service.version"] = ours(service).VERSION
    own |= OTELResourceDetector().detect().attributes
    return Resource.create({encodable(name): _encodable(own[name]) for name in own})


def _encodable(value: Any) -> Any:
    return encodable(value) if isinstance(value, str) else value


def tracer() -> trace.Tracer:
    """Return a tracer for spans of your own; they belong to the service that runs."""
    return trace.get_tracer("sparts.user")
