"""Keeps the values of secret options out of every log record: message, exception and extra fields.

The values are the process's: once a secret has been read it stays out of the logs until the process
ends, also after it has changed. While there are none, the filter costs one look.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

from sparts.errors import text_of, traceback_of

_MASK = "********"
_lock = threading.Lock()
_values: frozenset[str] = frozenset()
_pattern: re.Pattern[str] | None = None
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def hide_secret(value: object) -> None:
    """Keep ``value`` out of all log lines from now on; any thread may call this.

    Args:
        value: a text, anything whose text is the secret, or a list of those. None and "" hide
            nothing.
    """
    global _pattern, _values
    if isinstance(value, list | tuple | set | frozenset):
        for part in value:
            hide_secret(part)
        return
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = "" if value is None or isinstance(value, bool) else str(value)
    with _lock:
        if text and text not in _values:
            _values = _values | {text}
            spellings = {form for known in _values for form in _spellings(known)}
            longest_first = sorted(spellings, key=lambda form: (-len(form), form))
            _pattern = re.compile("|".join(map(re.escape, longest_first)))


def _spellings(secret: str) -> set[str]:
    """How a secret is written in a log: itself, quoted by Python and JSON, line by line (PEM)."""
    import json  # here, as few services have secrets and all import this

    quoted = {repr(secret), ascii(secret), json.dumps(secret)}
    in_bytes = repr(secret.encode("utf-8", "replace"))[2:-1]
    lines = {line for line in secret.splitlines() if len(line) >= 8 and line[:5] != "-----"}
    return {secret, in_bytes, *lines, *(form[1:-1] for form in quoted)}


def masked(value: Any) -> Any:
    """``value`` with every secret in it written ``********``: a text, or what holds texts."""
    return value if _pattern is None else _masked(value, _pattern, 0)


def _masked(value: Any, pattern: re.Pattern[str], depth: int) -> Any:
    """`masked`, to a depth at which a circle would show."""
    if value is None or isinstance(value, bool):
        return value
    if depth < 20 and isinstance(value, dict):
        parts = (_masked(part, pattern, depth + 1) for part in value.values())
        return dict(zip((_in_text(name, pattern) for name in value), parts, strict=True))
    if depth < 20 and type(value) in (list, tuple, set, frozenset):
        return [_masked(part, pattern, depth + 1) for part in value]
    return _in_text(value, pattern)


def _in_text(value: Any, pattern: re.Pattern[str]) -> Any:
    """``value``, or its text without secrets if that has any."""
    text = text_of(value)
    return pattern.sub(_MASK, text) if pattern.search(text) else value


class SecretFilter(logging.Filter):
    """Put this on a handler of your own, and no secret passes it; ours have it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask one record where it holds a secret (called by logging)."""
        pattern = _pattern
        if pattern is None:
            return True
        try:
            message = record.getMessage()
        except BaseException:  # the formatter says so: mask them one by one
            record.msg, args = _masked(record.msg, pattern, 0), _masked(record.args, pattern, 0)
            record.args = tuple(args) if isinstance(args, list) else args
        else:
            if pattern.search(message):
                record.msg, record.args = pattern.sub(_MASK, message), ()
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            text = traceback_of(record.exc_info[1])
            record.exc_text = text if pattern.search(text) else None
        fields = vars(record)
        for name in ("exc_text", "stack_info"):
            fields[name] = _masked(fields[name], pattern, 0)
        for name in fields.keys() - _STANDARD:
            value = _masked(fields.pop(name), pattern, 0)
            fields[pattern.sub(_MASK, name)] = value
        return True
