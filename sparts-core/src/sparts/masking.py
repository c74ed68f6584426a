"""What may be shown: no control characters, and no values of secret options.

A control character in a log or on a terminal may begin a line that looks like another's, change
colours or reverse the text. It is shown as Python would write it: ``\\n``, ``\\x9b``, ``\\u202e``.

Secrets stay out of whatever a process shows: logs, errors, descriptions. Their values are the
process's: once a secret has been read it stays hidden until the process ends, also after it has
changed. While there are none, masking costs one look.
"""

from __future__ import annotations

import re
import threading
from typing import Any

# -- control characters ----------------------------------------------------------------------------

# C0, DEL, C1, line and paragraph separators, the marks that reverse text, halves of UTF-16 pairs.
_CONTROLS = "\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_A_LINE = f"[\x00-\x1f{_CONTROLS}]"
_IN_LINES = f"[\x00-\x08\x0b-\x1f{_CONTROLS}]"


def one_line(text: str) -> str:
    """Return a string without any control character: it stays one line, whatever it holds."""
    return text if text.isprintable() else re.sub(_IN_A_LINE, _escape, text)


def lines(text: str) -> str:
    """Return a string without control characters, but for its line breaks and tabs."""
    return text if text.isprintable() else re.sub(_IN_LINES, _escape, text)


def encodable(text: str) -> str:
    """Return a string that UTF-8 can encode: halves of UTF-16 pairs, as of file names, escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


# -- secrets ---------------------------------------------------------------------------------------

MASK = "********"
"""What is shown in place of a secret."""
_lock = threading.Lock()
_values: frozenset[str] = frozenset()
_pattern: re.Pattern[str] | None = None


def hide_secret(value: object) -> None:
    """Keep ``value`` out of all that is shown from now on; any thread may call this.

    Args:
        value: a string, anything whose text is the secret, or a list of those. None and "" hide
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
    """How a secret is written: itself, quoted by Python and JSON, line by line (PEM)."""
    import json  # here, as few services have secrets and all import this

    quoted = {repr(secret), ascii(secret), json.dumps(secret)}
    in_bytes = repr(secret.encode("utf-8", "replace"))[2:-1]
    lines = {line for line in secret.splitlines() if len(line) >= 8 and line[:5] != "-----"}
    return {secret, in_bytes, *lines, *(form[1:-1] for form in quoted)}


def masked(value: Any) -> Any:
    """``value`` with every secret in it written ``********``: a string, or what holds texts."""
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
    try:
        text = "".join((str(value),))  # also of a subclass of str, whose methods may raise
    except BaseException:  # nothing shows it
        return value
    return pattern.sub(MASK, text) if pattern.search(text) else value


def has_secrets() -> bool:
    """Return whether there is anything to mask."""
    return _pattern is not None
