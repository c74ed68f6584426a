"""Reads of interface files what has to be known before they are compiled: their includes.

The lexical rules are those of https://thrift.apache.org/docs/idl: three kinds of comments, and
strings in either quotes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TOKEN = re.compile(
    r"""
    (?P<comment> //[^\n]* | \#[^\n]* | /\*.*?\*/ )
  | (?P<string> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' )
  | (?P<word> [A-Za-z_][A-Za-z0-9_.]* )
    """,
    re.DOTALL | re.VERBOSE,
)

_DOCUMENTED = re.compile(
    r"""
    \bservice\s+(?P<service>\w+)
  | /\*\*(?P<doc>(?:(?!\*/).)*)\*/ [^;{}()/]*? \b(?P<method>\w+)\s*\(
    """,
    re.DOTALL | re.VERBOSE,
)


class Include(NamedTuple):
    """An include in a string."""

    path: str
    line: int
    span: tuple[int, int]
    """Where in the text its string begins and ends, quotes included."""


def find_includes(text: str) -> Iterator[Include]:
    """Find the files that a string includes."""
    wanted = False
    for token in _TOKEN.finditer(text):
        if token["string"] and wanted:
            path = token["string"][1:-1]
            yield Include(path, text.count("\n", 0, token.start()) + 1, token.span())
        if not token["comment"]:
            wanted = token["word"] == "include"


def find_word(text: str, fits: Callable[[str], bool]) -> tuple[str, int] | None:
    """Find the first word (part of a dotted name) that fits, and its line; None if none does."""
    for token in _TOKEN.finditer(text):
        for part in (token["word"] or "").split("."):
            if part and fits(part):
                return part, text.count("\n", 0, token.start()) + 1
    return None


def find_docs(text: str) -> dict[tuple[str, str], str]:
    """Find the comments ``/** ... */`` before the methods of services, by service and method."""
    found: dict[tuple[str, str], str] = {}
    service = ""
    for match in _DOCUMENTED.finditer(text):
        service = match["service"] or service
        if match["method"]:
            lines = [line.strip().lstrip("*").strip() for line in match["doc"].splitlines()]
            found[service, match["method"]] = "\n".join(lines).strip()
    return found


def line_of(words: str, text: str) -> int | None:
    """Return the line of the first word of a string that a message about it quotes, or None."""
    quoted = re.search(r"""["'](?:\d+:\s*)?(\w+)["']""", words)
    found = find_word(text, quoted[1].__eq__) if quoted else None
    return found[1] if found else None


def with_includes(text: str, paths: dict[str, str]) -> str:
    """Return a string in which other paths are included, every line where it was."""
    for include in reversed(list(find_includes(text))):
        begin, end = include.span
        text = f'{text[:begin]}"{paths[include.path]}"{text[end:]}'
    return text
