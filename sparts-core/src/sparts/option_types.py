"""What an option's ``type`` may be beyond what argparse takes: durations, sizes, endpoints, lists.

A converter is a function of one text. It returns the value or raises `Expected` with a phrase that
says what would have been right ("a port from 0 to 65535"). The caller knows where the text came
from, and makes the whole sentence of it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from sparts.errors import text_of
from sparts.startup import NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS: dict[str, int] = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", 1):
    _UNITS |= {_letter + end: 1024**_power for end in ("", "i", "ib")}
    _UNITS[_letter + "b"] = 1000**_power


class Expected(ValueError):  # noqa: N818 - reads as the start of its message
    """A value is not what an option takes. The argument is a phrase: "a port from 0 to 65535"."""


class Endpoint(NamedTuple):
    """A host (without brackets; "" is every address) and a port, as `endpoint` reads them."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def boolean(value: str) -> bool:
    """True or false, in any of the usual spellings."""
    word = value.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    return False if word in ("false", "no", "off", "0") else _refuse(bool)


def duration(value: str) -> float:
    """Seconds, from ``250ms``, ``5s``, ``2m``, ``1h``, ``1h30m`` or a plain number of seconds."""
    word = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", word):
        word += "s"
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+", word):
        _refuse(duration)
    parts = re.findall(r"([0-9.]+)([a-z]+)", word)
    seconds = sum(float(count) * _SECONDS[unit] for count, unit in parts)
    return seconds if seconds < float("inf") else _refuse(duration)


def size(value: str) -> int:
    """A number of bytes, from ``4096``, ``64KiB`` (1024), ``64kB`` (1000) or ``64K`` (1024)."""
    word = value.strip().lower()
    number = word.rstrip("bikmgtp ")  # no pattern: to compile one takes longer than all else here
    factor = _UNITS.get(word[len(number) :].removeprefix(" "))
    whole, point, fraction = number.partition(".")
    right = (whole + fraction).isdigit() and number.isascii() and len(whole) in range(1, 31)
    if factor is None or not right or len(fraction) not in (range(1, 10) if point else (0,)):
        _refuse(size)
    count, rest = divmod(int(whole + fraction) * factor, int(10 ** len(fraction)))
    return _refuse(size) if rest else count


def format_size(count: int) -> str:
    """A number of bytes as `size` reads it, in its largest whole unit: ``64KiB``, ``10MB``."""
    for power in range(5, 0, -1):
        for base, units in ((1024, "KiB MiB GiB TiB PiB"), (1000, "kB MB GB TB PB")):
            if count and count % base**power == 0:
                return f"{count // base**power}{units.split()[power - 1]}"
    return f"{count}B"


def file_mask(value: str) -> int:
    """A file mode creation mask in octal digits, as umask(1) takes it: ``027``."""
    word = value.strip()
    return int(word, 8) if re.fullmatch(r"[0-7]{1,4}", word) else _refuse(file_mask)


def port(value: str) -> int:
    """A TCP or UDP port, 0 to 65535; 0 lets the system choose one."""
    word = value.strip()
    right = word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= 65535
    return int(word) if right else _refuse(port)


def endpoint(value: str) -> Endpoint:
    """A host and a port, from ``db.example:5432``, ``[::1]:80`` or ``:80`` (every address)."""
    host, colon, number = value.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed) or re.search(r"[\s/@]", host):
        _refuse(endpoint)
    try:
        return Endpoint(host[1:-1] if bracketed else host, port(number))
    except Expected:
        _refuse(endpoint)


def path(value: str) -> Path:
    """A path of the file system; a leading ``~`` is the home directory."""
    if not value or "\0" in value:
        _refuse(path)
    from pathlib import Path

    return Path(expand_home(value))


def expand_home(name: str) -> str:
    """A path whose leading ``~`` or ``~user`` is replaced by that home directory; as it is if there
    is no such user.

    Raises:
        Expected: it is our own home directory, and that is not known.
    """
    found = os.path.expanduser(name)
    if name.partition("/")[0] == "~" and not os.path.isabs(found):
        raise Expected("a path without ~, as HOME is not set and this user has no home directory")
    return found


def regex(value: str) -> re.Pattern[str]:
    """A regular expression, compiled."""
    try:
        return re.compile(value)
    except (re.error, OverflowError, RecursionError) as exc:
        raise Expected(f"a regular expression ({exc})") from None


class listof(Generic[T]):  # noqa: N801 - used like the functions beside it
    """A converter to a list of ``item`` (any type), from texts between commas or a file's array."""

    def __init__(self, item: Callable[[str], T]) -> None:
        self.item = item

    def __call__(self, value: str) -> list[T]:
        """The list in a string."""
        return [convert(self.item, part) for part in split(value)]


def split(value: str) -> list[str]:
    """The texts between the commas, without the spaces around them; none of an empty text."""
    return [part.strip() for part in value.split(",")] if value.strip() else []


class _OneOf:
    """The converter of an `Enum` class: a member by its name or its value, in any case."""

    def __init__(self, members: type[Enum]) -> None:
        self.members = members

    def __call__(self, value: str) -> Enum:
        exact = {str(m.value): m for m in self.members} | dict(self.members.__members__)
        folded = {text.lower(): m for text, m in exact.items()}
        word = value.strip()
        for known, text in ((exact, value), (exact, word), (folded, word.lower())):
            if text in known:
                return known[text]
        return _refuse(self.members)


_CONVERTERS: dict[Any, Any] = {None: str, bool: boolean, re.compile: regex, re.Pattern: regex}
_PHRASES: dict[Any, str] = {
    str: "a string", int: "a whole number", float: "a number", boolean: "true or false",
    duration: "a duration such as 250ms, 5s, 2m or 1h",
    size: "a size such as 4096, 64KiB or 10MB", file_mask: "an octal file mask such as 027",
    port: "a port from 0 to 65535", endpoint: "host:port", path: "a path",
    regex: "a regular expression",
}  # fmt: skip
# These take text alone: a number in a file is a mistake there, not a path named 5.
_TEXT_ONLY = (str, path, regex, endpoint, file_mask)


def is_path(kind: Any) -> bool:
    """Whether ``kind`` is a class of pathlib, found out without importing it for every service."""
    pathlib = sys.modules.get("pathlib")  # code that names such a class has imported it
    return pathlib is not None and isinstance(kind, type) and issubclass(kind, pathlib.Path)


def _converter(kind: Any) -> Any:
    """The function of one text that makes a value of ``kind`` (an option's ``type``)."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _OneOf(kind)
    return path if is_path(kind) else _CONVERTERS.get(kind, kind)


def expectation(kind: Any) -> str:
    """A phrase for what ``kind`` takes: "a whole number", "one of red, green"; of a function, its
    attribute ``expects``.
    """
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(member.name for member in kind)
    if isinstance(kind, listof):
        return f"a list, each of it {expectation(kind.item)}"
    otherwise = getattr(kind, "expects", f"a value that {getattr(kind, '__name__', kind)} takes")
    return _PHRASES.get(_converter(kind), otherwise)


def _refuse(kind: Any) -> NoReturn:
    raise Expected(expectation(kind))


def convert(kind: Any, raw: object) -> Any:
    """``raw`` as a value of ``kind``.

    Args:
        kind: an option's ``type``; None is text.
        raw: a string, or a value as TOML or code has it (number, boolean, list, date, the value
            itself).

    Raises:
        Expected: ``raw`` is nothing that ``kind`` takes.
    """
    try:
        make = _converter(kind)
        return make(raw) if isinstance(raw, str) else _convert_value(kind, make, raw)
    except Expected:
        raise
    except Exception as exc:  # a type is anybody's function: whatever it raises, the value is wrong
        why = "" if kind in (int, float) else f" ({text_of(exc) or type(exc).__name__})"
        raise Expected(expectation(kind) + why) from exc


def written(kind: Any, value: Any) -> Any:
    """A value of ``kind`` as a file holds it (text, number, boolean, list): `convert` reads it back
    as the same, if ``kind`` is one of ours.
    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_fields"):
        item = kind.item if isinstance(kind, listof) else kind
        return [written(item, part) for part in value]
    if isinstance(value, re.Pattern):
        flags = "".join(letter for letter in "aimsx" if value.flags & re.RegexFlag[letter.upper()])
        same = re.compile(value.pattern).flags == value.flags
        return value.pattern if same else f"(?{flags}){value.pattern}"
    if kind is file_mask and isinstance(value, int):
        return f"{value:03o}"
    return value if value is None or isinstance(value, bool | int | float | dict) else str(value)


def _convert_value(kind: Any, make: Any, raw: object) -> Any:
    """What `convert` does for a value that is not a string."""
    ours = make in _PHRASES or isinstance(make, listof | _OneOf)
    if isinstance(raw, bool) and kind is not bool:
        return _refuse(kind) if ours else make("true" if raw else "false")
    made = {endpoint: Endpoint, regex: re.Pattern}.get(make, kind)
    if (isinstance(made, type) and isinstance(raw, made)) or (make is path and is_path(type(raw))):
        return raw
    if isinstance(make, listof) and isinstance(raw, list | tuple):
        return [convert(make.item, part) for part in raw]
    if make is duration and isinstance(raw, int | float) and 0 <= raw < float("inf"):
        return float(raw)  # which `repr` may write as 1e-07
    if isinstance(raw, int | float) and make not in _TEXT_ONLY and not isinstance(make, listof):
        return make(repr(raw))
    if ours:
        _refuse(kind)
    return make(str(raw) if hasattr(raw, "isoformat") else raw)


def display(value: object) -> str:
    """A value as help and messages show it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return ",".join(map(display, value)) or "none"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(getattr(value, "pattern", value))
