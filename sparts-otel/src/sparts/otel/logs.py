"""Log lines by OTLP, with the trace that they belong to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from sparts.errors import message_of, traceback_of
from sparts.logs.formats import message_of_record, present_fields
from sparts.otel.exporting import clean, cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.sdk.resources import Resource


def start_logs(resource: Resource, exporters: Iterable[Any]) -> Callable[[], object]:
    """Begin to send log lines; call what is returned to end that, which sends what is left."""
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    handler = _Handler(provider)
    logging.getLogger().addHandler(handler)

    def end() -> None:
        logging.getLogger().removeHandler(handler)
        provider.shutdown()

    return end


class _Handler(logging.Handler):
    """Hands log records to OpenTelemetry, without secrets."""

    observes = True  # it is no logging that an application configured

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a record; called in the thread that logs. It waits for nothing."""
        if record.name.startswith("opentelemetry"):
            return  # what it says of its sending would be sent, and so on
        try:
            attributes: dict[str, Any] = dict(present_fields())
            if record.exc_info and (error := record.exc_info[1]) is not None:
                attributes |= {
                    "exception.type": type(error).__qualname__,
                    "exception.message": message_of(error),
                    "exception.stacktrace": traceback_of(error),
                }
            self._provider.get_logger(record.name).emit(
                timestamp=int(record.created * 1e9),
                context=get_current(),
                severity_number=_severity(record.levelno),
                severity_text=record.levelname,
                body=clean(message_of_record(record)),
                attributes=cleaned(attributes),
            )
        except Exception:
            self.handleError(record)


def _severity(level: int) -> SeverityNumber:
    if level >= logging.CRITICAL:
        return SeverityNumber.FATAL
    if level >= logging.ERROR:
        return SeverityNumber.ERROR
    if level >= logging.WARNING:
        return SeverityNumber.WARN
    return SeverityNumber.INFO if level >= logging.INFO else SeverityNumber.DEBUG
