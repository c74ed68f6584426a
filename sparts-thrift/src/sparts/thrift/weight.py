"""How much memory the arguments of a call take once they are decoded, found out before they are.

A struct of one byte on the wire is an object of some hundred bytes, and a list has 8 bytes for each
entry before that. So the length of a message says little of what it costs. `Weight` knows the
structs that a method takes: most messages are too short to matter, whatever is in them, and the
others are walked through. The walk makes no objects, and stops where the limit is passed.
"""

from __future__ import annotations

import struct
import sys
from typing import Any, ClassVar, TypeAlias

from thrift.Thrift import TType

POINTER = 8
STRING = 64
"""Bytes that a string takes, without its content."""
NUMBER = 32
CONTAINER = 80
_ENTRY = 100
"""Bytes that an entry of a map or set takes beside its key and value."""
_OF_STRINGS = 24
"""Bytes of memory for each byte of a message that consists of short strings and numbers."""
_UNKNOWN = 512
"""Bytes that are reckoned for a struct that cannot be made without arguments."""

_LENGTH = struct.Struct(">I")
_DEEPEST = 200
"""Levels of structs and containers: each takes up to five of Python's own."""

Fields: TypeAlias = "dict[int, tuple[int, Any]]"
"""The fields of a struct by their numbers: the type of each, and what is held by it."""


class TooHeavyError(ValueError):
    """Arguments that would take more memory than is allowed, or that claim more than there is."""


class Struct:
    """A class of structs, and what one of it costs."""

    __slots__ = ("fields", "size")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.fields: Fields = {}


class Weight:
    """What the arguments of one method cost in memory.

    Args:
        struct: the class of the struct that holds the arguments.
        spec: its ``thrift_spec``, as `sparts.thrift.interfaces` describes it; None: not known.
    """

    def __init__(self, struct: Any, spec: Any) -> None:
        self._known: dict[Any, Struct] = {}
        self._arguments = self._describe([struct, spec])
        self.largest: int = max(each.size for each in self._known.values())
        """Bytes that the largest of the structs takes, without what its fields hold."""
        self._guess = spec is None
        nested = len(self._known) > 1 or self._guess
        nested = nested or any(_nests(kind) for kind, _ in self._arguments.fields.values())
        self.factor: int = max(self.largest + POINTER, CONTAINER, _OF_STRINGS) if nested else 1
        """The most bytes of memory that a byte of a message can cost."""

    def of(self, data: bytes, compact: bool, limit: float) -> int:
        """Return how many bytes the arguments in a message cost.

        Args:
            data: the struct of the arguments.
            compact: whether it is in the compact protocol; else in the binary one.
            limit: the most that they may cost.

        Raises:
            TooHeavyError: they cost more, or claim to be longer than the message.
        """
        walk = (_Compact if compact else _Binary)(data, limit, self._guess)
        try:
            walk.struct(self._arguments, 0)
        except IndexError:
            raise TooHeavyError("they end too early") from None
        return walk.cost

    def _describe(self, described: Any) -> Struct:
        made, spec = described
        if made not in self._known:
            self._known[made] = found = Struct(_size_of(made))
            for field in spec or ():
                if field is not None:
                    found.fields[field[0]] = field[1], self._held(field[1], field[3])
        return self._known[made]

    def _held(self, kind: int, held: Any) -> Any:
        """Return what a value of a type holds: a `Struct`, or the types of the entries."""
        if kind == TType.STRUCT:
            return self._describe(held)
        if kind in (TType.LIST, TType.SET):
            return held[0], self._held(held[0], held[1])
        if kind == TType.MAP:
            return held[0], self._held(held[0], held[1]), held[2], self._held(held[2], held[3])
        return None


def _nests(kind: int) -> bool:
    return kind in (TType.STRUCT, TType.LIST, TType.SET, TType.MAP)


def _size_of(struct: Any) -> int:
    try:
        one = struct()
    except Exception:  # it has to be given fields
        return _UNKNOWN
    return sys.getsizeof(one) + sys.getsizeof(getattr(one, "__dict__", None)) + POINTER


def _least(kind: int, held: Any) -> int:
    """Return what a value of a type costs at the least."""
    if kind == TType.STRUCT and held is not None:
        size: int = held.size
        return size
    return STRING if kind == TType.STRING or _nests(kind) else 0


class _Walk:
    """A way through the bytes of a struct, which adds up what they cost."""

    WIDTHS: ClassVar[dict[int, int]]
    """How many bytes the values of a type have, for the types whose values have all the same."""

    def __init__(self, data: bytes, limit: float, guess: bool) -> None:
        self.data = data
        self.guess = guess
        """Whether all that is not known costs something too."""
        self.place = 0
        self.cost = 0
        self._limit = limit

    def spend(self, cost: int) -> None:
        self.cost += cost
        if self.cost > self._limit:
            self.refuse()

    def refuse(self) -> None:
        """Say that it costs too much."""
        limit = f"{self._limit:.0f} bytes of memory"
        raise TooHeavyError(f"they would take more than {limit} once decoded")

    def check(self, count: int) -> int:
        """Return a length that the message claims, if that much can follow."""
        if not 0 <= count <= len(self.data) - self.place:
            raise TooHeavyError(f"they claim {count} entries or bytes, which are not there")
        return count

    def begin(self, struct: Struct | None, depth: int) -> Fields:
        """Count a struct, and return its fields."""
        if depth > _DEEPEST:
            raise TooHeavyError(f"they nest deeper than {_DEEPEST} levels")
        if struct is not None:
            self.spend(struct.size)
            return struct.fields
        if self.guess:
            self.spend(_UNKNOWN)
        return {}

    def struct(self, struct: Struct | None, depth: int) -> None:
        """Go through a struct; None: one that is not known, and skipped by who decodes it."""
        raise NotImplementedError

    def header(self, kind: int) -> tuple[int, tuple[int, ...]]:
        """Read how many entries a container has, and the types of these."""
        raise NotImplementedError

    def length(self) -> int:
        """Read the length of a string."""
        raise NotImplementedError

    def skip_numbers(self, kind: int, count: int) -> None:
        """Go past numbers of a type."""
        self.place += self.check(self.WIDTHS[kind] * count)

    def skip_strings(self, count: int, counted: bool) -> None:
        """Go past strings."""
        for _ in range(count):
            length = self.check(self.length())
            self.place += length
            if counted:
                self.spend(STRING + length)

    def value(self, kind: int, held: Any, depth: int, known: bool = True) -> None:
        """Go through a value; one that is not ``known`` is skipped by who decodes it."""
        if kind == TType.STRING:
            length = self.check(self.length())
            self.place += length
            if known or self.guess:
                self.spend(STRING + length)
        elif kind == TType.STRUCT:
            self.struct(held if known else None, depth + 1)
        elif _nests(kind):
            self._container(kind, held, depth + 1, known)
        elif kind in self.WIDTHS:
            self.skip_numbers(kind, 1)
            if known or self.guess:
                self.spend(NUMBER)
        else:
            raise TooHeavyError(f"there is no type {kind}")

    def _container(self, kind: int, held: Any, depth: int, known: bool) -> None:
        if depth > _DEEPEST:
            raise TooHeavyError(f"they nest deeper than {_DEEPEST} levels")
        count, kinds = self.header(kind)
        self.check(count)
        known = known and held is not None
        if known and count and kinds != held[::2]:
            raise TooHeavyError(f"they have entries of the types {kinds}, not {held[::2]}")
        inner = held[1::2] if known else (None, None)
        counted = known or self.guess
        if counted:
            self.spend(CONTAINER + count * (POINTER if kind == TType.LIST else _ENTRY))
        if len(kinds) == 1 and kinds[0] in self.WIDTHS:
            if counted and kinds[0] != TType.BOOL:
                self.spend(NUMBER * count)
            self.skip_numbers(kinds[0], count)
            return
        if counted and self.cost + count * sum(map(_least, kinds, inner)) > self._limit:
            self.refuse()  # whatever they are
        if kinds == (TType.STRING,):
            self.skip_strings(count, counted)
            return
        for _ in range(count):
            for each, what in zip(kinds, inner, strict=False):
                self.value(each, what, depth, known)


class _Binary(_Walk):
    WIDTHS: ClassVar[dict[int, int]] = {
        TType.BOOL: 1, TType.BYTE: 1, TType.I16: 2, TType.I32: 4, TType.I64: 8, TType.DOUBLE: 8,
    }  # fmt: skip

    def _number(self, width: int) -> int:
        place = self.place
        self.place = place + width
        return int.from_bytes(self.data[place : place + width], "big", signed=True)

    def length(self) -> int:
        return self._number(4)

    def skip_strings(self, count: int, counted: bool) -> None:
        data, place, end, read = self.data, self.place, len(self.data), _LENGTH.unpack_from
        for _ in range(count):
            if place + 4 > end:
                raise TooHeavyError("they end too early")
            place += 4 + read(data, place)[0]
        if place > end:
            raise TooHeavyError("they end too early")
        if counted:
            self.spend(STRING * count + place - self.place)
        self.place = place

    def header(self, kind: int) -> tuple[int, tuple[int, ...]]:
        kinds = tuple(self.data[self.place : self.place + (2 if kind == TType.MAP else 1)])
        self.place += len(kinds)
        return self._number(4), kinds

    def struct(self, struct: Struct | None, depth: int) -> None:
        fields = self.begin(struct, depth)
        data = self.data
        while kind := data[self.place]:
            place = self.place
            self.place = place + 3
            known, held = fields.get(data[place + 1] << 8 | data[place + 2], (None, None))
            self.value(kind, held, depth, known == kind)
        self.place += 1


_COMPACT = (
    TType.STOP, TType.BOOL, TType.BOOL, TType.BYTE, TType.I16, TType.I32, TType.I64, TType.DOUBLE,
    TType.STRING, TType.LIST, TType.SET, TType.MAP, TType.STRUCT, -1, -1, -1,
)  # fmt: skip
"""The types, by their numbers in the compact protocol."""
_NO_LAST_BYTES = bytes(range(128, 256))
_PIECE = 4096


class _Compact(_Walk):
    WIDTHS: ClassVar[dict[int, int]] = {
        TType.BOOL: 1, TType.BYTE: 1, TType.I16: 0, TType.I32: 0, TType.I64: 0, TType.DOUBLE: 8,
    }  # fmt: skip

    def length(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self.data[self.place]
            self.place += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
            if shift > 63:
                raise TooHeavyError("a number in them has no end")

    def header(self, kind: int) -> tuple[int, tuple[int, ...]]:
        if kind == TType.MAP:
            count = self.length()
            if not count:
                return 0, ()
            both = self.data[self.place]
            self.place += 1
            return count, (_COMPACT[both >> 4], _COMPACT[both & 15])
        first = self.data[self.place]
        self.place += 1
        return self.length() if first >> 4 == 15 else first >> 4, (_COMPACT[first & 15],)

    def skip_numbers(self, kind: int, count: int) -> None:
        if width := self.WIDTHS[kind]:
            self.place += self.check(width * count)
            return
        # Each ends with its first byte below 128.
        while count > _PIECE // 8:
            piece = self.data[self.place : self.place + _PIECE]
            ends = len(piece.translate(None, _NO_LAST_BYTES))
            if ends > count or not piece:
                break
            count -= ends
            self.place += len(piece)
        for _ in range(count):
            while self.data[self.place] >= 0x80:
                self.place += 1
            self.place += 1

    def struct(self, struct: Struct | None, depth: int) -> None:
        fields = self.begin(struct, depth)
        data, number = self.data, 0
        while (first := data[self.place]) & 15:  # the type 0 is the end, whatever else it says
            self.place += 1
            kind = _COMPACT[first & 15]
            if first >> 4:
                number += first >> 4
            else:
                zigzag = self.length()
                number = zigzag >> 1 ^ -(zigzag & 1)
            if kind == TType.BOOL:  # the type says which
                continue
            known, held = fields.get(number, (None, None))
            self.value(kind, held, depth, known == kind)
        self.place += 1
