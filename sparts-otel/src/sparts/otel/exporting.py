"""What is sent has no secrets, and can be sent: spans of calls, and of the service's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from sparts.masking import encodable, masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class CleaningExporter(SpanExporter):
    """Cleans what another sends: here, where no call waits for it, and no span is forgotten."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; called in the SDK's thread."""
        return self._exporter.export([_clean_span(span) for span in spans])

    def shutdown(self) -> None:
        """End."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is left."""
        return self._exporter.force_flush(timeout_millis)


def clean(value: Any) -> Any:
    """Return a value without secrets, and as UTF-8: one that is none would lose its whole batch."""
    value = masked(value)
    if isinstance(value, str):
        return encodable(value)
    return [clean(part) for part in value] if isinstance(value, list | tuple) else value


def cleaned(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes without secrets, and as UTF-8."""
    return {clean(name): clean(value) for name, value in (attributes or {}).items()}


def _clean_span(span: ReadableSpan) -> ReadableSpan:
    status = span.status
    if status.description:
        status = Status(status.status_code, clean(status.description))
    events = [
        Event(clean(event.name), cleaned(event.attributes), event.timestamp)
        for event in span.events
    ]
    return ReadableSpan(
        clean(span.name), span.context, span.parent, span.resource, cleaned(span.attributes),
        events, span.links, span.kind, None, status, span.start_time, span.end_time,
        span.instrumentation_scope,
    )  # fmt: skip
