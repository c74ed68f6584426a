"""The counters of a service as OpenTelemetry's metrics: read when they are sent, counted once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from sparts.masking import encodable
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.sdk.resources import Resource
    from sparts.counters import Reading
    from sparts.vservice import VService

_SCOPE = InstrumentationScope("sparts")


def start_metrics(service: VService, resource: Resource, exporters: Iterable[Any]) -> MeterProvider:
    """Begin to send the counters of a service, by the interval of OTEL_METRIC_EXPORT_INTERVAL."""
    readers = [ServiceReader(exporter, service, resource) for exporter in exporters]
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    provider.get_meter("sparts.service").create_observable_gauge(
        "sparts.service.ready",
        [lambda _: [Observation(int(ours(service).health.ready))]],
        description="Whether the service can be sent work.",
    )
    return provider


class ServiceReader(PeriodicExportingMetricReader):
    """Sends what the SDK collects, and all counters of a service beside it."""

    def __init__(self, exporter: Any, service: VService, resource: Resource) -> None:
        self._service, self._resource = service, resource
        super().__init__(exporter)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        """Send what was collected; called by the SDK at its interval, and at the end."""
        since = int(ours(self._service).start_time * 1e9)
        metrics = metrics_of(ours(self._service).stats.describe_counters(), since, time.time_ns())
        scopes = [scope for each in metrics_data.resource_metrics for scope in each.scope_metrics]
        scopes.append(ScopeMetrics(_SCOPE, metrics, ""))
        # One entry for the resource: of several, the exporter would send the last alone.
        everything = MetricsData([ResourceMetrics(self._resource, scopes, "")])
        super()._receive_metrics(everything, timeout_millis, **kwargs)


def metrics_of(readings: Iterable[tuple[str, Reading]], since: int, now: int) -> list[Metric]:
    """Return readings as metrics, one for each name and kind.

    Args:
        readings: each after the name of its task; empty for the service's own.
        since: when counting began, in nanoseconds since the epoch.
        now: when they were read, the same.
    """
    points: dict[tuple[str, bool], list[NumberDataPoint]] = {}
    told: dict[tuple[str, bool], Reading] = {}
    for task, reading in readings:
        value = _sendable(reading.value)
        if value is None:
            continue
        pairs = reading.labels.items()
        labels: dict[str, Any] = {name: encodable(str(label)) for name, label in pairs}
        name, grows = f"sparts.{reading.name}", reading.kind == "counter"
        if reading.kind in ("summary", "histogram") and "window" not in labels:
            name, grows = f"{name}.{labels.pop('type', 'value')}", True
        if task:
            labels["sparts.task"] = task
        key = (name, grows)
        told.setdefault(key, reading)
        points.setdefault(key, []).append(NumberDataPoint(labels, since, now, value))
    return [
        Metric(name, told[key].help, told[key].unit, _data(points[key], grows))
        for key in points
        for name, grows in [key]
    ]


def _sendable(value: Any) -> int | float | None:
    """Return a number as OTLP can carry it; None: it cannot, and would keep back all others."""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _data(points: list[NumberDataPoint], grows: bool) -> Sum | Gauge:
    if not grows:
        return Gauge(points)
    return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
