"""Sends spans without secrets: those of calls, and those that the service's own code makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status
from sparts.masking import has_secrets, masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace.export import SpanExportResult


class MaskingExporter(OTLPSpanExporter):
    """Masks what it sends: here, where no call waits for it, and no span is forgotten."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; called in the SDK's thread."""
        return super().export([_without_secrets(span) for span in spans])


def _without_secrets(span: ReadableSpan) -> ReadableSpan:
    if not has_secrets():
        return span
    name, description = masked(span.name), masked(span.status.description)
    attributes, events = _masked(span.attributes), [_event(event) for event in span.events]
    same = (span.name, span.status.description, _plain(span.attributes), list(span.events))
    if (name, description, attributes, events) == same:
        return span
    status = span.status
    if description != status.description:
        status = Status(status.status_code, description)
    return ReadableSpan(
        name, span.context, span.parent, span.resource, attributes, events, span.links, span.kind,
        None, status, span.start_time, span.end_time, span.instrumentation_scope,
    )  # fmt: skip


def _event(event: Any) -> Any:
    attributes = _masked(event.attributes)
    if attributes == _plain(event.attributes):
        return event
    return Event(event.name, attributes, event.timestamp)


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(attributes or {})


def _masked(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: masked(value) for name, value in (attributes or {}).items()}
