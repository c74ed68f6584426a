"""What a method returns is of its type, fields included, before any transport sends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from sparts.rpc import InternalError, RPCTask, connect, rpc
from sparts.testing.rpc.kit import Circle, Colour, Point, Square, Tree, chain
from sparts.testing.running import ServiceFactory, service_of


class Options(TypedDict):
    depth: int


@dataclass
class Deep:
    """Fields of many kinds, all with defaults."""

    flag: bool = False
    number: int = 0
    real: float = 0.0
    text: str = ""
    data: bytes = b""
    maybe: int | None = None
    pair: tuple[int, str] = (0, "")
    colour: Colour = Colour.RED
    when: datetime | None = None
    points: list[Point] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    shape: Circle | Square | None = None
    small: Annotated[int, msgspec.Meta(le=255)] = 0
    options: Options | None = None
    tree: Tree | None = None


class Ways(RPCTask):
    """Returns what it is given to."""

    value: Any = None

    @rpc
    def deep(self) -> Deep:
        found: Deep = self.value
        return found

    @rpc
    def many(self) -> Iterator[Deep]:
        yield self.value

    @rpc
    def nothing(self) -> None:
        found: None = self.value
        return found


@pytest.fixture(scope="module")
def ways(factory: ServiceFactory) -> Iterator[tuple[Ways, Ways]]:
    service = factory(service_of(Ways))
    with connect("local:", Ways) as proxy:
        yield service.requireTask(Ways), proxy


P: Any = Point


@pytest.mark.parametrize(
    "changes",
    [
        {"flag": 1}, {"flag": "yes"}, {"flag": None},
        {"number": "1"}, {"number": True}, {"number": 1.5}, {"number": 2**63},
        {"real": "1.0"}, {"text": b"a"}, {"text": None}, {"data": "a"},
        {"maybe": "a"}, {"pair": (1,)}, {"pair": ("a", 1)}, {"colour": None}, {"when": 7},
        {"points": [P("a", 1.0)]}, {"points": [P(None, 1.0)]}, {"points": [None]}, {"points": None},
        {"counts": {"a": "b"}}, {"shape": Circle(P(1.0, "a"))}, {"shape": P(1.0, 1.0)},
        {"small": 256}, {"options": {}}, {"options": {"depth": "a"}},
        {"tree": Tree("a", [Tree("b", [P(1.0, 1.0)])])},
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_field_of_a_result_is_an_error(ways: Any, changes: Any) -> None:
    task, proxy = ways
    task.value = Deep(**changes)
    for call in (proxy.deep, lambda: list(proxy.many())):
        with pytest.raises(InternalError):
            call()


@pytest.mark.parametrize("value", [None, 5, {}, P(1.0, 1.0), [Deep()]], ids=repr)
def test_result_of_another_type_is_an_error(ways: Any, value: Any) -> None:
    task, proxy = ways
    task.value = value
    with pytest.raises(InternalError):
        proxy.deep()


def test_struct_that_lost_a_field_is_an_error(ways: Any) -> None:
    task, proxy = ways
    task.value = Deep(points=[P(1.0, 1.0)])
    del task.value.points[0].x
    with pytest.raises(InternalError):
        proxy.deep()


def test_method_of_none_returns_nothing_else(ways: Any) -> None:
    task, proxy = ways
    task.value = None
    assert proxy.nothing() is None
    task.value = 5
    with pytest.raises(InternalError):
        proxy.nothing()


class Place(Point):
    """A point with a name, of which callers know nothing."""


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ({"real": 1}, {"real": 1.0}),
        ({"points": [Place(1.0, 2.0)]}, {"points": [Point(1.0, 2.0)]}),
        ({"points": (P(1.0, 2),)}, {"points": [Point(1.0, 2.0)]}),
        ({"number": -(2**63)}, {"number": -(2**63)}),
        ({"tree": chain(100)}, {"tree": chain(100)}),
        ({"shape": Square(Point(1.0, 1.0))}, {"shape": Square(Point(1.0, 1.0))}),
    ],
    ids=repr,
)
def test_result_that_is_as_good_is_sent(ways: Any, given: Any, got: Any) -> None:
    task, proxy = ways
    task.value = Deep(**given)
    assert proxy.deep() == Deep(**got)
    assert list(proxy.many()) == [Deep(**got)]
