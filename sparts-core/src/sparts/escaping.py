"""Writes what comes from outside such that it makes no line of its own, and moves no cursor.

A control character in a log or on a terminal may begin a line that looks like another's, change
colours or reverse the text. It is shown as Python would write it: ``\\n``, ``\\x9b``, ``\\u202e``.
"""

from __future__ import annotations

import re

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
