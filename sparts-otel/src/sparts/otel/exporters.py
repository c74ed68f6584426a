"""What sends a signal: OpenTelemetry's exporters, by OTLP over HTTP and to the console."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sparts.otel.reaching import session_for, signal_endpoint

if TYPE_CHECKING:
    from collections.abc import Collection


def exporters(signal: str, used: Collection[str], endpoint: str | None) -> list[Any]:
    """Return the exporters of a signal.

    Args:
        signal: ``TRACES``, ``METRICS`` or ``LOGS``.
        used: which: ``otlp``, ``console``.
        endpoint: the collector; None: the environment says it.

    Raises:
        OptionError: the collector's address is no URL.
    """
    to_console, by_otlp = _kinds(signal)
    found = [to_console(out=sys.stdout)] if "console" in used else []
    if "otlp" in used:
        address = signal_endpoint(endpoint, signal.lower())
        found.append(by_otlp(endpoint=address, session=session_for(signal)))
    return found


def _kinds(signal: str) -> tuple[Any, Any]:
    """Return the classes of both exporters."""
    if signal == "TRACES":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter, OTLPSpanExporter
    if signal == "METRICS":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter, OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import export

    console = getattr(export, "ConsoleLogRecordExporter", None)  # named otherwise before 1.37
    return console or getattr(export, "ConsoleLogExporter", None), OTLPLogExporter
