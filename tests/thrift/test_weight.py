"""How much memory a message takes once decoded is known before it is decoded."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sparts.thrift.interfaces import describe
from sparts.thrift.services import find_service
from sparts.thrift.weight import TooHeavyError, Weight
from sparts.thrift.wire import BINARY, COMPACT, Wire
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.transport.TTransport import TMemoryBuffer

from tests.thrift.echo import Echo, ttypes
from tests.thrift.values import everything, mutated

SPECS = describe(find_service(Echo))
WIRES = {
    "binary": (BINARY, TBinaryProtocolAccelerated),
    "compact": (COMPACT, TCompactProtocolAccelerated),
}
by_wire = pytest.mark.parametrize("wire", sorted(WIRES))


def weight_of(method: str) -> Weight:
    return Weight(SPECS[method].arguments, SPECS[method].arguments_spec)


def written(method: str, wire: str, value: Any) -> bytes:
    """Give the bytes of the arguments of a method that takes one."""
    arguments = SPECS[method].arguments(value)
    buffer = TMemoryBuffer()
    arguments.write(WIRES[wire][1](buffer))
    data: bytes = buffer.getvalue()
    return data


def decode(method: str, wire: Wire, data: bytes) -> Any:
    spec = SPECS[method]
    arguments = spec.arguments()
    wire.read_struct(arguments, [spec.arguments, spec.arguments_spec], data)
    return arguments


def trees(count: int) -> Any:
    return ttypes.Tree(value=1, children=[ttypes.Tree() for _ in range(count)])


def many_of_everything() -> Any:
    value = everything()
    value.blobs = [b"text %d" % number for number in range(5000)]
    value.numbers = [number << 40 for number in range(5000)]
    value.places = {f"place {number}": [ttypes.Point(x=number, y=7)] for number in range(2000)}
    return value


@by_wire
@pytest.mark.parametrize(
    ("method", "make"), [("tree", lambda: trees(20_000)), ("everything", many_of_everything)]
)
def test_the_weight_is_what_decoding_takes(method: str, make: Any, wire: str) -> None:
    data = written(method, wire, make())
    cost = weight_of(method).of(data, wire == "compact", float("inf"))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = decode(method, WIRES[wire][0], data)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept is not None
    assert taken <= cost * 1.1
    assert cost <= taken * 5


@by_wire
@pytest.mark.parametrize("method", ["tree", "everything", "text"])
def test_no_message_costs_more_byte_than_factor(method: str, wire: str) -> None:
    values = {"tree": trees(1000), "everything": many_of_everything(), "text": "x" * 5000}
    data = written(method, wire, values[method])
    weight = weight_of(method)
    own = weight.largest + 64
    assert weight.of(data, wire == "compact", float("inf")) <= weight.factor * len(data) + own


VALID = [
    (method, wire, written(method, wire, value))
    for wire in WIRES
    for method, value in (("everything", everything()), ("tree", trees(3)), ("text", "text"))
]


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, str, bytes]:
    method, wire, valid = draw(st.sampled_from(VALID))
    return method, wire, mutated(draw, valid, 6)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages())
def test_whatever_can_be_decoded_can_be_weighed(message: tuple[str, str, bytes]) -> None:
    method, wire, data = message
    try:
        decode(method, WIRES[wire][0], data)
    except Exception:
        decoded = False
    else:
        decoded = True
    problem = ""
    try:
        weight_of(method).of(data, wire == "compact", float("inf"))
    except TooHeavyError as error:
        problem = str(error)
    # A value of a type that there is not is skipped by who decodes it.
    assert not decoded or not problem or "there is no type" in problem


@by_wire
def test_too_large_message_is_refused_early(wire: str) -> None:
    data = written("tree", wire, trees(100_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooHeavyError, match="more than 1000000 bytes of memory"):
            weight_of("tree").of(data, wire == "compact", 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@by_wire
def test_what_nests_without_end_is_refused(wire: str) -> None:
    level = b"\x0f\x00\x02\x0c\x00\x00\x00\x01" if wire == "binary" else b"\x29\x1c"
    data = (b"\x0c\x00\x01" if wire == "binary" else b"\x1c") + level * 100_000
    with pytest.raises(TooHeavyError, match="nest deeper"):
        weight_of("tree").of(data, wire == "compact", float("inf"))


def test_large_messages_are_decoded_in_pieces() -> None:
    text = "".join(chr(97 + number % 26) for number in range(300_000))
    for name, value in (("text", text), ("everything", many_of_everything())):
        for wire in WIRES:
            arguments = decode(name, WIRES[wire][0], written(name, wire, value))
            assert getattr(arguments, name) == value


def test_short_message_is_refused_in_any_piece() -> None:
    data = written("text", "binary", "x" * 300_000)
    for size in (10, 70_000, 65_536, 65_544, 299_000):
        with pytest.raises((EOFError, OverflowError)):
            decode("text", BINARY, data[:size])
