"""What an option's ``type`` may be, beyond what argparse takes: durations, sizes, endpoints and so
on.

A converter is a function of one text. It returns the value or raises `Expected` with a phrase that
says what would have been right ("a port from 0 to 65535"); whoever knows where the text came from
makes the whole sentence of it.
"""

from __future__ import annotations

import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


class Expected(ValueError):  # noqa: N818 - reads as the start of its message
    """A value is not what an option takes. The argument is a phrase: "a port from 0 to 65535"."""


class Endpoint(NamedTuple):
    """A host and a port, as `endpoint` reads them.

    Attributes:
        host: a name or address without brackets; "" for every address.
        port: 0 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:us|ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))? ?([kmgtp]?i?b?)", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def text(value: str) -> str:
    """The text itself."""
    return value


def integer(value: str) -> int:
    """A whole number, in decimal."""
    try:
        return int(value)
    except ValueError:
        raise Expected("a whole number") from None


def number(value: str) -> float:
    """A number, whole or not."""
    try:
        return float(value)
    except ValueError:
        raise Expected("a number") from None


def boolean(value: str) -> bool:
    """True or false, in any of the usual spellings."""
    word = value.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise Expected("true or false")


def duration(value: str) -> float:
    """Seconds, from ``250ms``, ``5s``, ``2m``, ``1h``, ``1h30m`` or a plain number of seconds."""
    word = value.strip()
    if _NUMBER.fullmatch(word):
        seconds = float(word)
    elif _DURATION.fullmatch(word):
        seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(word))
    else:
        raise Expected(_PHRASES[duration])
    if seconds == float("inf"):
        raise Expected(_PHRASES[duration])
    return seconds


def size(value: str) -> int:
    """A number of bytes, from ``4096``, ``64KiB`` (1024), ``64kB`` (1000) or ``64K`` (1024)."""
    found = _SIZE.fullmatch(value.strip())
    if found is None or found[3].lower() == "i" or found[3].lower() == "ib":
        raise Expected(_PHRASES[size])
    unit = found[3].lower()
    power = _POWERS[unit.rstrip("b").rstrip("i")]
    base = 1000 if unit.endswith("b") and "i" not in unit else 1024
    factor = int(base**power)
    fraction = found[2] or ""
    whole, rest = divmod(int(found[1] + fraction) * factor, int(10 ** len(fraction)))
    if rest:
        raise Expected(f"{_PHRASES[size]} that is a whole number of bytes")
    return whole


def port(value: str) -> int:
    """A TCP or UDP port, 0 to 65535; 0 lets the system choose one."""
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65535):
        raise Expected(_PHRASES[port])
    return int(value)


def endpoint(value: str) -> Endpoint:
    """A host and a port, from ``db.example:5432``, ``[::1]:80`` or ``:80`` (every address)."""
    host, colon, number_ = value.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or any(c.isspace() or c in "/@" for c in host):
        raise Expected(_PHRASES[endpoint])
    try:
        return Endpoint(host[1:-1] if bracketed else host, port(number_))
    except Expected:
        raise Expected(_PHRASES[endpoint]) from None


def path(value: str) -> Path:
    """A path of the file system; a leading ``~`` is the home directory."""
    if not value or "\0" in value:
        raise Expected(_PHRASES[path])
    from pathlib import Path

    found = Path(value)
    try:
        return found.expanduser()
    except RuntimeError:  # no such user: then it is a file whose name begins with a tilde
        return found


def regex(value: str) -> re.Pattern[str]:
    """A regular expression, compiled."""
    try:
        return re.compile(value)
    except re.error as exc:
        where = "" if exc.pos is None else f" at position {exc.pos}"
        raise Expected(f"a regular expression ({exc.msg}{where})") from None
    except (OverflowError, RecursionError) as exc:
        raise Expected(f"a regular expression ({exc})") from None


class listof(Generic[T]):  # noqa: N801 - used like the functions beside it
    """A converter to a list of ``item``, from values between commas or an array of a file.

    Args:
        item: what each value is: any type that an option takes.
    """

    def __init__(self, item: Callable[[str], T]) -> None:
        self.item = item
        self.__name__ = f"listof({getattr(item, '__name__', item)})"

    def __call__(self, value: str) -> list[T]:
        """The list of a text."""
        return [convert(self.item, part) for part in split(value)]


def split(value: str) -> list[str]:
    """The texts between the commas, without the spaces around them; none of an empty text."""
    return [part.strip() for part in value.split(",")] if value.strip() else []


class _OneOf:
    """The converter of an `Enum` class: a member by its name or its value, in any case."""

    def __init__(self, members: type[Enum]) -> None:
        self.members = members

    def __call__(self, value: str) -> Enum:
        for member in self.members:
            if value in (member.name, str(member.value)):
                return member
        for member in self.members:
            if value.lower() in (member.name.lower(), str(member.value).lower()):
                return member
        raise Expected(expectation(self.members))


_CONVERTERS: dict[Any, Callable[[str], Any]] = {
    None: text,
    str: text,
    int: integer,
    float: number,
    bool: boolean,
    re.compile: regex,
    re.Pattern: regex,
}
_PHRASES: dict[Any, str] = {
    text: "a text",
    integer: "a whole number",
    number: "a number",
    boolean: "true or false",
    duration: "a duration such as 250ms, 5s, 2m or 1h",
    size: "a size such as 4096, 64KiB or 10MB",
    port: "a port from 0 to 65535",
    endpoint: "host:port",
    path: "a path",
    regex: "a regular expression",
}
# What these converters make, so that code may set such a value as it is.
_RESULTS: dict[Any, type] = {endpoint: Endpoint, regex: re.Pattern}
# These take text alone: a number in a file is a mistake there, not a path named 5.
_TEXT_ONLY = (text, path, regex, endpoint)


def is_path(kind: Any) -> bool:
    """Whether ``kind`` is a class of pathlib, found out without importing it for every service."""
    pathlib = sys.modules.get("pathlib")  # whoever names such a class has imported it
    return pathlib is not None and isinstance(kind, type) and issubclass(kind, pathlib.Path)


def converter(kind: Any) -> Callable[[str], Any]:
    """The function of one text that makes a value of ``kind`` (an option's ``type``)."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _OneOf(kind)
    if is_path(kind):
        return path
    try:
        found: Callable[[str], Any] = _CONVERTERS.get(kind, kind)
    except TypeError:  # not hashable, so none of ours
        found = kind
    return found


def expectation(kind: Any) -> str:
    """A phrase for what ``kind`` takes: "a whole number", "one of red, green"."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(member.name for member in kind)
    if isinstance(kind, listof):
        return f"a list, each of it {expectation(kind.item)}"
    phrase = _PHRASES.get(converter(kind))
    return phrase or f"a value that {getattr(kind, '__name__', kind)} takes"


def convert(kind: Any, raw: object) -> Any:
    """``raw`` as a value of ``kind``.

    Args:
        kind: an option's ``type``; None is text.
        raw: a text, or a value as TOML or code has it (number, boolean, list, date, the value
            itself).

    Raises:
        Expected: ``raw`` is nothing that ``kind`` takes.
    """
    make = converter(kind)
    try:
        if isinstance(raw, str):
            return raw if isinstance(kind, type) and type(raw) is kind else make(raw)
        return _convert_value(kind, make, raw)
    except Expected:
        raise
    except ArgumentTypeError as exc:
        raise Expected(f"{expectation(kind)} ({exc})") from exc
    except (
        Exception
    ) as exc:  # a type is anybody's function: whatever it raises, the value was wrong
        reason = f" ({exc})" if str(exc) else f" ({type(exc).__name__})"
        raise Expected(expectation(kind) + reason) from exc


def _convert_value(kind: Any, make: Callable[[Any], Any], raw: object) -> Any:
    """What `convert` does for a value that is not a text."""
    result = kind if isinstance(kind, type) else _RESULTS.get(make)
    if isinstance(raw, bool):
        if kind is bool:
            return raw
        return _refuse(kind) if make in _PHRASES or isinstance(kind, listof) else make(_word(raw))
    if (result is not None and isinstance(raw, result)) or (make is path and is_path(type(raw))):
        return raw
    if isinstance(kind, listof):
        if not isinstance(raw, (list, tuple)):
            return _refuse(kind)
        return [convert(kind.item, part) for part in raw]
    if isinstance(raw, (int, float)):
        return _refuse(kind) if make in _TEXT_ONLY else make(repr(raw))
    if make in _PHRASES or isinstance(make, _OneOf):
        return _refuse(kind)
    return make(str(raw) if hasattr(raw, "isoformat") else raw)


def _refuse(kind: Any) -> NoReturn:
    """Raise that ``kind`` takes something else."""
    raise Expected(expectation(kind))


def _word(raw: object) -> str:
    """A boolean as it is written in a file."""
    return "true" if raw else "false"
