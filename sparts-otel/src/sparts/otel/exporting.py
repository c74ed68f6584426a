"""Sends spans as they may be sent: those of calls, and those that the service's own code makes.

They have no secrets, and no text that UTF-8 cannot encode: one would lose all spans beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status
from sparts.escaping import encodable
from sparts.masking import has_secrets, masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace.export import SpanExportResult


_NUMBERS = (int, float, bool)


class MaskingExporter(OTLPSpanExporter):
    """Masks what it sends: here, where no call waits for it, and no span is forgotten."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; called in the SDK's thread."""
        return super().export([_sendable(span) for span in spans])


def _sendable(span: ReadableSpan) -> ReadableSpan:
    if not has_secrets() and _is_ascii(span):
        return span
    name, description = _text(span.name), _text(span.status.description)
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
    return {name: _text(value) for name, value in (attributes or {}).items()}


def _is_ascii(span: ReadableSpan) -> bool:
    texts: list[Any] = [span.name, span.status.description or "", *(span.attributes or {}).values()]
    for event in span.events:
        texts.extend((event.attributes or {}).values())
    return all(
        each.isascii() if isinstance(each, str) else type(each) in _NUMBERS for each in texts
    )


def _text(value: Any) -> Any:
    """Return a value without secrets, and such that UTF-8 can encode it."""
    value = masked(value)
    if isinstance(value, str):
        return encodable(value)
    return [_text(each) for each in value] if isinstance(value, list | tuple) else value
