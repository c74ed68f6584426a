"""Matches regular expressions of clients, in a time that grows with the length of the name alone.

Python's own engine tries all ways in which an expression may fit. ``([\\w.]+)+-`` takes it years,
while the interpreter's lock is held and the process does nothing else. Here every way is followed
at once: by RE2 (the extra ``sparts-core[re2]``), or without it by `Simple`, which knows less.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sparts.errors import SpartsError, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 1000
"""How many characters an expression of a client may have."""

# One character of a name as an expression describes it, how often it may come, and ? for "lazy",
# which changes nothing here.
_ITEM = r"(\\[dwsDWS]|\\[^A-Za-z0-9]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^][\\^$*+?{}()|])([*+?]?)\??"


def matcher(expression: str) -> Callable[[str], bool]:
    """Return a function that says whether an expression matches a name from its start on.

    Raises:
        SpartsError: the expression is too long, not valid, or needs the extra.
    """
    if len(expression) > LONGEST:
        raise SpartsError(f"A regular expression has at most {LONGEST} characters here.")
    try:
        import re2
    except ImportError:
        return Simple(expression).match
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(expression, options)
    except Exception as error:  # re2.error, and what it raises for lone surrogates
        raise _invalid(expression, text_of(error)) from error
    return lambda name: found.match(name.encode("utf-8", "replace").decode()) is not None


def _invalid(expression: str, why: str) -> SpartsError:
    return SpartsError(f"{expression!r} is not a regular expression: {why}.")


class Simple:
    """Expressions without groups: characters, ``.``, ``[...]``, ``\\d`` and its like, each with
    ``*``, ``+`` or ``?`` or without; ``^`` and ``$`` at the ends; and ``|`` between whole ones.

    Raises:
        SpartsError: the expression is not valid, or has something else in it.
    """

    def __init__(self, expression: str) -> None:
        try:
            self._ways = [_Way(part) for part in _alternatives(expression)]
        except (re.error, Warning) as error:  # of a set in brackets
            raise _invalid(expression, str(error)) from error
        except SyntaxError as error:
            raise SpartsError(
                f"{expression!r} is not a regular expression without groups and counts. Others "
                "need the extra sparts-core[re2] (pip install google-re2) where the service runs."
            ) from error

    def match(self, name: str) -> bool:
        """Return whether it matches a name from its start on."""
        return any(way.match(name) for way in self._ways)


def _alternatives(expression: str) -> list[str]:
    """Split an expression at each ``|`` that is neither escaped nor in brackets."""
    found, start = [], 0
    for part in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\|", expression, re.DOTALL):
        if part[0] == "|":
            found.append(expression[start : part.start()])
            start = part.end()
    return [*found, expression[start:]]


class _Way:
    """One alternative: bit i of a state says that items up to i have been matched."""

    def __init__(self, text: str) -> None:
        text = text.removeprefix("^")
        self._to_end = re.search(r"(?<!\\)(?:\\\\)*\$\Z", text) is not None
        text = text[:-1] if self._to_end else text
        self._items: list[re.Pattern[str]] = []
        self._repeated = self._optional = at = 0
        one = re.compile(_ITEM, re.DOTALL)
        while at < len(text):
            item = one.match(text, at)
            if item is None:
                raise SyntaxError
            bit = 1 << len(self._items)
            self._repeated |= bit if item[2] in ("*", "+") else 0
            self._optional |= bit if item[2] in ("*", "?") else 0
            self._items.append(re.compile(item[1]))
            at = item.end()
        self._last = 1 << len(self._items)
        self._fits: dict[str, int] = {}
        self._first = self._skip(1)

    def match(self, name: str) -> bool:
        # Bit i of `state`: item i comes next. Of `repeating`: item i has come, and may come again.
        state, repeating, last = self._first, 0, self._last
        if not self._to_end and state & last:
            return True
        for letter in name:
            fits = self._fits.get(letter)
            if fits is None:
                fits = sum(1 << i for i, item in enumerate(self._items) if item.fullmatch(letter))
                self._fits[letter] = fits
            came = (state | repeating) & fits
            repeating = came & self._repeated
            state = self._skip(came << 1)
            if state & last and not self._to_end:
                return True
            if not state and not repeating:
                return False
        return bool(state & last)

    def _skip(self, state: int) -> int:
        """Return a state with those that follow when optional items are left out."""
        # The sum carries each bit through the run of optional items above it.
        optional = self._optional
        return state | (((state & optional) + optional) ^ optional)
