"""Types that the contract's kit does not have, for the tests of thrift, gRPC and D-Bus."""

# ruff: noqa: D101 - what they are for is said above

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from time import monotonic
from typing import Annotated, Any, TypedDict

import msgspec
from sparts.rpc import RPCTask, current_call, rpc
from sparts.testing.rpc.kit import Colour, Level, Point

Small = Annotated[int, msgspec.Meta(ge=0, le=200)]
Name = Annotated[str, msgspec.Meta(max_length=3)]


@dataclass(frozen=True)
class Key:
    x: int
    y: int = 0


@dataclass(kw_only=True)
class Named:
    last: str
    first: str = "A"


class Maybe(TypedDict, total=False):
    value: int | None


@dataclass
class Left:
    right: Right | None = None
    number: int | None = 7


@dataclass
class Right:
    lefts: list[Left]


@dataclass
class Odds:
    small: Small
    name: Name
    maybes: list[int | None]
    keyed: dict[Key, str]
    unique: frozenset[Key]
    colours: set[Colour]
    levels: dict[Level, date]
    nested: dict[str, dict[int, list[Point | None]]]
    pairs: list[tuple[int, str | None]]
    many: tuple[int, ...]
    nothing: None
    any: Any
    choice: int | str | Key | list[int]
    left: Left
    td: Maybe
    smalls: list[Small]
    maybe_small: Small | None
    named: Named
    lists: dict[str, list[int]]
    by_float: dict[float, str]
    maybe_list: list[int] | None


def odds(**changes: Any) -> Odds:
    """Return a value of each of them."""
    known: dict[str, Any] = {
        "small": 200, "name": "abc", "maybes": [1, None, 0], "keyed": {Key(1, 2): "a", Key(3): ""},
        "unique": frozenset({Key(1), Key(2)}), "colours": {Colour.RED, Colour.GREEN},
        "levels": {Level.LOW: date(2026, 1, 1)},
        "nested": {"a": {1: [None, Point(0.0, 1.0)], -1: []}, "": {}},
        "pairs": [(1, None), (2, "")], "many": (1, 2), "nothing": None,
        "any": {"a": [1, "b", 2.5, True]}, "choice": Key(5),
        "left": Left(Right([Left(), Left(None, None)])), "td": {"value": None}, "smalls": [0, 200],
        "maybe_small": 3, "named": Named(last="B"), "lists": {"a": [1, 2], "": []},
        "by_float": {0.5: "half"}, "maybe_list": None,
    }  # fmt: skip
    return Odds(**(known | changes))


class OddTask(RPCTask):
    """Takes and gives odd types."""

    @rpc
    def same(self, value: Odds) -> Odds:
        """Return a value."""
        return value

    @rpc
    def default(self, value: int | None = 5, items: list[int] = [1]) -> list[int | None]:  # noqa: B006
        """Return what was given."""
        items.append(2)
        return [value, *items]

    @rpc
    def wrong(self) -> int:
        """Return what it should not."""
        return "no int"  # type: ignore[return-value]

    @rpc
    def wrong_colour(self) -> Colour:
        """Return what is none."""
        return "blue"  # type: ignore[return-value]

    @rpc
    def total(self, numbers: Iterator[int]) -> int:
        """Add up a stream."""
        return sum(numbers)

    @rpc
    def endless(self) -> Iterator[int]:
        """Give more than is collected."""
        number = 0
        while True:
            yield number
            number += 1

    @rpc
    def seconds(self) -> float | None:
        """Return how long the caller waits."""
        call = current_call()
        assert call is not None
        return None if call.deadline is None else call.deadline - monotonic()

    @rpc
    def header(self, name: str) -> str | None:
        """Return a header."""
        call = current_call()
        assert call is not None
        return call.headers.get(name)
