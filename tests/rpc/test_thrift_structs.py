"""Dataclasses in lists, as thrift reads them: made by their classes, or filled at once."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from sparts.rpc import InvalidArgumentsError, interface_of
from sparts.thrift.rpc.idl import messages_of
from sparts.thrift.wire import BINARY

from tests.rpc.test_refused import taking


@dataclass
class Plain:
    x: int
    y: int


@dataclass(slots=True)
class Slots:
    x: int
    y: int


@dataclass(frozen=True)
class Frozen:
    x: int
    y: int


@dataclass
class Checked:
    x: int
    y: int

    def __post_init__(self) -> None:
        if self.x > self.y:
            raise ValueError("x is greater than y")


@dataclass
class Own:
    x: int
    y: int

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y, self.sum = x, y, x + y


# As in `python -c`.
Own.__init__.__code__ = Own.__init__.__code__.replace(co_filename="<string>")


@dataclass
class Defaults:
    x: int
    y: int = 2


@dataclass
class Outer:
    x: int
    y: Plain


def read(cls: Any, *rows: tuple[Any, Any]) -> Any:
    """Return the list of a class that a server reads of rows of x and y; None is left out."""
    messages = messages_of([interface_of(taking(list[cls], "values"))])["Odd"]["run"]
    values = [SimpleNamespace(x=x, y=y) for x, y in rows]
    sent = SimpleNamespace(**{"0": None, "values": values})
    body = BINARY.write_struct(sent, messages.arguments_held)
    arguments = messages.new_arguments()
    BINARY.read_struct(arguments, messages.arguments_held, body)
    (value,) = messages.values(arguments)
    return value


@pytest.mark.parametrize("cls", [Plain, Slots, Frozen, Checked, Own, Defaults])
def test_dataclasses_are_what_their_class_makes(cls: Any) -> None:
    value = read(cls, (1, 2), (3, 4))
    assert value == [cls(1, 2), cls(3, 4)]
    assert [type(each) for each in value] == [cls, cls]
    assert read(cls) == []
    assert getattr(value[1], "sum", 7) == 7


@pytest.mark.parametrize("cls", [Plain, Slots])
def test_a_missing_field_is_named_with_its_path(cls: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match=rf"values\[1\]: missing in {cls.__name__}: y"):
        read(cls, (1, 2), (3, None))


def test_defaults_and_checks_of_dataclasses_hold() -> None:
    assert read(Defaults, (1, None)) == [Defaults(1, 2)]
    assert read(Outer, (1, SimpleNamespace(x=1, y=2))) == [Outer(1, Plain(1, 2))]
    with pytest.raises(ValueError, match="x is greater"):
        read(Checked, (2, 1))
    with pytest.raises(TypeError, match="missing 1 required"):
        read(Outer, (1, SimpleNamespace(x=1, y=None)))
    with pytest.raises(TypeError, match="missing 1 required"):
        read(Frozen, (1, None))
