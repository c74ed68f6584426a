"""The methods and values with which the contract of RPC transports is tested."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

import msgspec
from sparts.calls import CallRefusedError, Reason
from sparts.hookspecs import hookimpl
from sparts.rpc.errors import RPCError
from sparts.rpc.interface import rpc
from sparts.rpc.task import RPCTask
from sparts.testing.waiting import WAIT

if TYPE_CHECKING:
    from sparts.calls import Call
    from sparts.vservice import VService
    from sparts.vtask import VTask


class Colour(Enum):
    """An enum of strings."""

    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    """An enum of numbers, without a zero."""

    LOW = 1
    HIGH = 20


@dataclass
class Point:
    """A dataclass."""

    x: float
    y: float


@dataclass
class Circle:
    """A member of a union."""

    centre: Point
    radius: float = 1.0


@dataclass
class Square:
    """Another one, with the same fields."""

    centre: Point
    radius: float = 1.0


@dataclass
class Tree:
    """A dataclass that contains itself."""

    name: str
    children: list[Tree] = field(default_factory=list)
    shape: Circle | Square | None = None


class Account(msgspec.Struct):
    """A msgspec.Struct."""

    id: int
    owner: str | None = None


class Options(TypedDict, total=False):
    """A TypedDict."""

    depth: int
    names: list[str]


@dataclass
class Everything:
    """A field of each kind."""

    flag: bool
    number: int
    real: float
    text: str
    data: bytes
    items: list[int]
    pair: tuple[int, str]
    names: set[str]
    counts: dict[str, int]
    maybe: int | None
    colour: Colour
    level: Level
    when: datetime
    day: date
    span: timedelta
    id: UUID
    price: Decimal
    point: Point
    account: Account
    shape: Circle | Square
    points: list[Point] = field(default_factory=list)
    by_name: dict[str, Point] = field(default_factory=dict)
    nested: list[list[int]] = field(default_factory=list)
    perhaps: Point | None = None


class TooFar(RPCError):  # noqa: N818 - as services name them
    """The points are too far from each other."""


class Forbidden(RPCError):  # noqa: N818
    """Another declared error."""


class Kit(RPCTask):
    """The methods that the contract calls."""

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self.entered: threading.Event = threading.Event()
        """Set when `hold` runs."""
        self.release: threading.Event = threading.Event()
        """Set it to let `hold` return."""
        self.entered_async: threading.Event = threading.Event()
        """Set when `hold_async` runs."""
        self.cancelled: threading.Event = threading.Event()
        """Set when `hold_async` was cancelled."""
        self.finish: threading.Event = threading.Event()
        """Set it to let `hold_async` return, where it is not cancelled."""
        self.ended: threading.Event = threading.Event()
        """Set when `hold_async` has ended either way."""
        self.meet: Callable[[], Any] = lambda: None
        """Called by `together`."""

    @rpc
    def nothing(self) -> None:
        """Take and return nothing."""

    @rpc(idempotent=True)
    def distance(self, a: Point, b: Point, scale: float = 1.0) -> float:
        """Return the distance of two points."""
        return scale * float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

    @rpc
    def everything(self, value: Everything) -> Everything:
        """Return a value of each kind."""
        return value

    @rpc
    def echo_str(self, value: str) -> str:
        """Return a string."""
        return value

    @rpc
    async def echo_async(self, value: str) -> str:
        """Return a string."""
        return value

    @rpc
    def echo_int(self, value: int) -> int:
        """Return an int."""
        return value

    @rpc
    def echo_float(self, value: float) -> float:
        """Return a float."""
        return value

    @rpc
    def echo_bytes(self, value: bytes) -> bytes:
        """Return bytes."""
        return value

    @rpc
    def echo_ints(self, value: list[int]) -> list[int]:
        """Return a list."""
        return value

    @rpc
    def echo_tree(self, value: Tree) -> Tree:
        """Return a tree."""
        return value

    @rpc
    def echo_maybe(self, value: str | None = None) -> str | None:
        """Return a string or None."""
        return value

    @rpc
    def echo_shape(self, value: Circle | Square) -> Circle | Square:
        """Return a circle or a square."""
        return value

    @rpc
    def echo_options(self, value: Options) -> Options:
        """Return a TypedDict."""
        return value

    @rpc
    def fail(self, how: str) -> int:
        """Raise an error."""
        if how == "far":
            raise TooFar(f"too far: {how}")
        if how == "default":
            raise Forbidden
        if how == "unshowable":
            raise _unshowable()
        if how == "half":
            raise TooFar("caf\udce9")
        if how == "cancelled":
            raise asyncio.CancelledError
        raise ValueError("a secret")

    @rpc(raises=[TooFar])
    async def fail_narrowed(self, how: str) -> int:
        """Raise an error that is declared, or one that is not."""
        if how == "cancelled":  # as when something cancels what is awaited here
            raise asyncio.CancelledError
        raise TooFar(how) if how == "far" else Forbidden(how)

    @rpc
    def wrong(self, how: str) -> list[Point]:
        """Return what it should not."""
        return [Point(1.0, None if how == "cancelled" else "no float")]  # type: ignore[arg-type]

    @rpc
    def hold(self) -> str:
        """Wait until `release` is set."""
        self.entered.set()
        self.release.wait(WAIT)
        return "released"

    @rpc
    async def hold_async(self) -> str:
        """Wait until it is cancelled."""
        self.entered_async.set()
        try:
            while not self.finish.is_set():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.ended.set()
        return "not cancelled"

    @rpc(deadline=0.1)
    async def short(self) -> str:
        """Take longer than it may."""
        await asyncio.sleep(WAIT)
        return "too late"

    @rpc
    def together(self, number: int) -> int:
        """Call `meet`, and return a number."""
        self.meet()
        return number

    @rpc
    def colour(self, value: Colour = Colour.GREEN) -> Colour:
        """Return an enum."""
        return value

    @rpc
    def refused(self) -> None:
        """Is never called: a plugin refuses."""

    @rpc
    def count(self, n: int) -> Iterator[int]:
        """Give the first numbers."""
        yield from range(n)

    @rpc
    async def count_async(self, n: int) -> AsyncIterator[int]:
        """Give the first numbers."""
        for number in range(n):
            yield number


def _unshowable() -> TooFar:
    class Unshowable(TooFar):
        def __str__(self) -> str:
            raise RuntimeError

    return Unshowable()


def one_of_each(**changes: Any) -> Everything:
    """Return a value of each kind."""
    known: dict[str, Any] = {
        "flag": True, "number": -(2**63), "real": -0.1, "text": "Grüße, 世界 🦊", "data": b"\0\xff",
        "items": [1, 2**63 - 1], "pair": (7, "seven"), "names": {"a", "b"},
        "counts": {"": 0, "ü": 1}, "maybe": None, "colour": Colour.GREEN, "level": Level.HIGH,
        "when": datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=UTC), "day": date(2024, 2, 29),
        "span": timedelta(days=-1, microseconds=5),
        "id": UUID("12345678-1234-5678-1234-567812345678"), "price": Decimal("19.990"),
        "point": Point(1.5, 2.0), "account": Account(5, "me"),
        "shape": Square(Point(0.0, 0.0), 2.0),
    }  # fmt: skip
    return Everything(**(known | changes))


def chain(depth: int) -> Tree:
    """Return a tree in which each has one child."""
    tree = Tree("leaf")
    for number in range(depth):
        tree = Tree(str(number), [tree])
    return tree


def waited(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that waits for a method that is awaited."""
    return lambda *arguments: asyncio.run(call(*arguments))


class Wrapping:
    """A hook plugin that notes the calls of `Kit`, and refuses those of ``refused``."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, Any]] = []
        self.kept_back: str = ""
        """The name of what it does not let proceed."""

    @hookimpl
    def sparts_call_wrap(self, task: VTask, kind: str) -> Any:
        """Wrap the calls of the kit."""
        return self._wrap if kind == "rpc" else None

    def _wrap(self, call: Call, proceed: Callable[[], Any]) -> Any:
        self.calls.append((call.kind, call.name, call.peer, call.deadline))
        if call.name == "Kit.refused":
            raise CallRefusedError(Reason.TOO_MANY, "not so often", 7.0)
        return None if call.name == self.kept_back else proceed()
