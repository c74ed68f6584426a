"""What every log line of a context says beside its message: which request it is about."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar

from sparts.masking import masked

log_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields")
"""The fields of log lines from the present context (a coroutine and what it starts, or a thread).

Who serves requests sets it once for each: ``log_fields.set({"request_id": "7f3a"})``. A line
of text then ends with ``[request_id=7f3a]``; a JSON line has the keys.
"""

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What each record has."""

process_fields: dict[str, object] = {}
"""The fields of all log lines of this process, such as which of several copies it is."""

_NONE: Mapping[str, object] = {}


def present_fields() -> Mapping[str, object]:
    """Return the fields of this process and of the present context, without secrets."""
    found = log_fields.get(_NONE)
    return {**process_fields, **masked(dict(found))} if found else process_fields
