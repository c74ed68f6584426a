"""Keeps the values of secret options out of every log record: message, exception and extra fields.

Which values these are is `sparts.masking`'s.
"""

from __future__ import annotations

import logging

from sparts.errors import traceback_of
from sparts.logs.fields import STANDARD
from sparts.masking import MASK, has_secrets, hide_secret, masked

__all__ = ["SecretFilter", "hide_secret", "masked"]


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
