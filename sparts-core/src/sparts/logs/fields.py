"""What log lines say beside their messages, such as which request they are about; and what no log
record may say: the values of secret options, which `sparts.masking` knows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar

from sparts.errors import traceback_of
from sparts.masking import MASK, has_secrets, masked

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


class SecretFilter(logging.Filter):
    """Put this on a handler of your own, and no secret passes it; ours have it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask one record where it holds a secret (called by logging)."""
        if not has_secrets():
            return True
        try:
            message = record.getMessage()
        except BaseException:  # the formatter says so: mask them one by one
            record.msg, args = masked(record.msg), masked(record.args)
            record.args = tuple(args) if isinstance(args, list) else args
        else:
            shown = masked(message)
            if shown != message:
                record.msg, record.args = shown, ()
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            text = traceback_of(record.exc_info[1])
            record.exc_text = text if MASK in text else None
        fields = vars(record)
        for name in ("exc_text", "stack_info"):
            fields[name] = masked(fields[name])
        for name in fields.keys() - STANDARD:
            value = masked(fields.pop(name))
            fields[masked(name)] = value
        return True
