"""Text in XML: characters that XML does not have are replaced."""

from __future__ import annotations

import re

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile("&#(x[0-9A-Fa-f]+|[0-9]+);")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def legal(text: str) -> str:
    """Return a string for XML, with U+FFFD for each character that XML does not have."""
    return _ILLEGAL.sub(_REPLACEMENT, text)


def readable(xml: str) -> str:
    """Return XML of others that a parser can read: the same, also for references (``&#1;``)."""
    return _REFERENCE.sub(_referenced, legal(xml))


def _referenced(found: re.Match[str]) -> str:
    number = found[1]
    code = int(number[1:], 16) if number.startswith("x") else int(number[:10])
    valid = code <= 0x10FFFF and not _ILLEGAL.match(chr(code))
    return found[0] if valid else _REPLACEMENT
