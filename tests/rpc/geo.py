"""A service of RPC methods, for tests over HTTP."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, TypedDict
from uuid import UUID

import msgspec
from sparts.rpc import RPCError, RPCTask, current_call, rpc


@dataclass
class Point:
    """A point of the plane."""

    x: float
    y: float


class Mode(Enum):
    """How one travels."""

    FOOT = "foot"
    BIKE = "bike"


@dataclass
class Leg:
    """A part of a route."""

    to: Point
    mode: Mode = Mode.FOOT
    notes: list[str] = field(default_factory=list)


@dataclass
class Ferry:
    """Another part of a route."""

    to: Point
    at: datetime | None = None


class Extra(TypedDict, total=False):
    """What else is known."""

    days: list[date]
    price: Decimal


@dataclass
class Route:
    """A route, with detours."""

    id: UUID
    legs: list[Leg | Ferry]
    takes: timedelta
    pair: tuple[int, str]
    tags: set[str]
    detours: dict[str, Route]
    extra: Extra
    data: bytes = b""


class TooFar(RPCError):  # noqa: N818
    """The points are farther apart than a route may be."""


class Missing(RPCError):  # noqa: N818
    """There is no such route."""

    http_status = 404


class Geo(RPCTask):
    """Distances and routes."""

    gone = threading.Event()

    @rpc(idempotent=True)
    def distance(self, a: Point, b: Point, scale: float = 1.0, label: str | None = None) -> float:
        """Return the distance in metres."""
        found = scale * math.hypot(a.x - b.x, a.y - b.y)
        if not abs(found) < 1e6:
            raise TooFar("more than 1000 km")
        return found

    @rpc(idempotent=True)
    def half(self, n: Annotated[int, msgspec.Meta(ge=0, le=100)], mode: Mode = Mode.FOOT) -> int:
        """Return half of a small number."""
        return n // 2

    @rpc
    async def route(self, route: Route | None) -> Route | None:
        """Return a route as it is."""
        return route

    @rpc
    def find(self, name: str) -> str:
        """Raise an error."""
        if name == "bug":
            raise ZeroDivisionError("a secret")
        raise Missing

    @rpc
    def walk(self, n: int, then: str = "") -> Iterator[Point]:
        """Give points."""
        for number in range(n):
            yield Point(float(number), 0.0)
        if then:
            raise TooFar(then)

    @rpc
    async def tick(self) -> AsyncIterator[int]:
        """Give numbers, without an end."""
        number = 0
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(0.01)
        finally:
            self.gone.set()

    @rpc
    def total(self, numbers: Iterator[int]) -> int:
        """Return the sum of a stream."""
        return sum(numbers)

    @rpc
    def who(self) -> dict[str, str]:  # noqa: D102
        return facts_of_call()


def facts_of_call() -> dict[str, str]:
    """Return what the call that is served says of itself."""
    call = current_call()
    assert call is not None
    left = "" if call.deadline is None else "limited"
    agent = call.headers.get("user-agent", "")
    return {"name": call.name, "peer": call.peer, "agent": agent, "left": left}


leaked: ContextVar[bool] = ContextVar("leaked", default=False)


class Fast(RPCTask):
    """The same in the loop."""

    INLINE = True

    @rpc
    def length(self, text: str) -> int:
        """Return how long a string is."""
        return len(text)

    @rpc
    def leak(self) -> bool:
        """Return whether the context is that of an earlier call."""
        found = leaked.get()
        leaked.set(True)
        return found

    @rpc
    def cancel(self) -> None:
        """Raise what asyncio raises in what is cancelled."""
        raise asyncio.CancelledError

    @rpc(idempotent=True)
    def half(self, n: int) -> float:
        """Return half of a number."""
        if n == 13:
            raise ZeroDivisionError("a secret")
        return n / 2

    @rpc
    def who(self) -> dict[str, str]:  # noqa: D102
        return facts_of_call()
