"""RPC over gRPC: clients that grpcio-tools generates, streams, reflection, what is refused."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import grpc
import msgspec
import pytest
from grpc_tools import protoc
from sparts.rpc import (
    InvalidArgumentsError,
    RPCError,
    RPCTask,
    UnavailableError,
    connect,
    interface_of,
    rpc,
)
from sparts.rpc.command import main as rpc_command
from sparts.rpc.proxies import connect_async
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.tasks.grpc.rpc.text import proto_of
from sparts.testing.rpc.kit import Kit, one_of_each
from sparts.testing.running import running, service_of

from tests.rpc.conftest import here, url_of


class Colour(Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Point:
    """A place."""

    x: float
    y: float = 5.0


class TooFar(RPCError):  # noqa: N818
    """The points are too far from each other."""


Large = Annotated[int, msgspec.Meta(ge=0, le=2**64 - 1)]


class Geo(RPCTask):
    """Distances and routes."""

    @rpc(idempotent=True)
    def distance(self, a: Point, b: Point, colour: Colour = Colour.GREEN) -> float:
        """Return the distance in metres."""
        if a.x > 1000:
            raise TooFar("more than 1000")
        return float(((a.x - b.x) ** 2 + (a.y - b.y) ** 2) ** 0.5)

    @rpc
    def colour(self, value: Colour = Colour.GREEN) -> Colour:
        """Return it."""
        return value

    @rpc
    async def running_sum(self, start: int, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        """Give the sum after each number."""
        async for each in numbers:
            start += each
            yield start

    @rpc
    def total(self, numbers: Iterator[int], scale: int = 1) -> int:
        """Return the sum."""
        return scale * sum(numbers)

    @rpc
    def named(
        self,
        name: Annotated[str, msgspec.Meta(min_length=1)],
        tags: Annotated[list[str], msgspec.Meta(max_length=2)],
        large: Large = 0,
    ) -> Large:
        """Take what has limits."""
        return large


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    argv = (*here("grpc"), "--rpc-grpc-reflection")
    with running(service_of(Geo, Kit, RPCGrpcTask), *argv) as service:
        yield url_of(service, "grpc").removeprefix("grpc://")


@pytest.fixture(scope="module")
def generate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[type], Any]:
    """Return what makes modules of an interface, as users of other languages do."""

    def made(cls: type) -> tuple[ModuleType, ModuleType]:
        folder = tmp_path_factory.mktemp(cls.__name__)
        name = f"rpc_{cls.__name__.lower()}"
        path = Path(folder, f"{name}.proto")
        path.write_text(proto_of([interface_of(cls)]))
        arguments = ["protoc", f"-I{folder}", f"--python_out={folder}"]
        assert protoc.main([*arguments, f"--grpc_python_out={folder}", str(path)]) == 0
        sys.path.insert(0, str(folder))
        try:
            return tuple(map(importlib.import_module, (f"{name}_pb2", f"{name}_pb2_grpc")))  # type: ignore[return-value]
        finally:
            sys.path.remove(str(folder))

    return made


def test_generated_client_calls_the_methods(address: str, generate: Callable[[type], Any]) -> None:
    messages, stubs = generate(Geo)
    with grpc.insecure_channel(address) as channel:
        stub = stubs.GeoStub(channel)
        a, b = messages.GeoPoint(x=0.0, y=0.0), messages.GeoPoint(x=3.0)  # y is 5.0 then
        reply = stub.distance(messages.GeoDistanceRequest(a=a, b=b))
        assert reply.result == pytest.approx(34**0.5)
        with pytest.raises(grpc.RpcError) as caught:
            stub.distance(messages.GeoDistanceRequest(a=messages.GeoPoint(x=2000.0), b=b))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == "more than 1000"
        assert dict(caught.value.trailing_metadata())["sparts-error"] == "TooFar"
        with pytest.raises(grpc.RpcError) as caught:
            stub.distance(messages.GeoDistanceRequest(a=a))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "b: it is missing"
        red = stub.colour(messages.GeoColourRequest(value=messages.GEO_COLOUR_RED))
        assert red.result == messages.GEO_COLOUR_RED
        assert stub.colour(messages.GeoColourRequest()).result == messages.GEO_COLOUR_GREEN
        requests = [messages.GeoRunningSumRequest(start=10)]
        requests += [messages.GeoRunningSumRequest(numbers=each) for each in (1, 2, 0)]
        assert [each.result for each in stub.running_sum(iter(requests))] == [11, 13, 13]


def test_generated_client_sends_a_value_of_each_kind(
    address: str, generate: Callable[[type], Any]
) -> None:
    messages, stubs = generate(Kit)
    with grpc.insecure_channel(address) as channel, connect(f"grpc://{address}", Kit) as kit:
        stub = stubs.KitStub(channel)
        value = one_of_each()
        assert kit.everything(value) == value
        for pair in ((1,), (1, "a", 2)):
            with pytest.raises(InvalidArgumentsError, match="expected items: 2"):
                kit.everything(one_of_each(pair=pair))
        sent = messages.KitEverything(
            flag=True, number=1, real=0.5, text="t", data=b"d", items=[1, 2],
            pair=messages.KitTupleOfIntStr(item_1=7, item_2="seven"), names=["a"], counts={"ü": 1},
            colour=messages.KIT_COLOUR_RED, level=messages.KIT_LEVEL_HIGH,
            when="2026-11-27T12:00:00Z", day="2024-02-29", span="P1D",
            id="12345678-1234-5678-1234-567812345678", price="19.990",
            point=messages.KitPoint(x=1.0, y=2.0), account=messages.KitAccount(id=5),
            shape=messages.KitUnionOfCircleSquare(
                square_value=messages.KitSquare(centre=messages.KitPoint(x=0.0, y=0.0))
            ),
            by_name={"p": messages.KitPoint(x=1.0, y=1.0)},
            nested=[messages.KitSomeOfListInt(value=[1])],
        )  # fmt: skip
        got = stub.everything(messages.KitEverythingRequest(value=sent)).result
        assert got.shape.square_value.radius == 1.0
        assert (got.counts["ü"], got.price, got.HasField("maybe")) == (1, "19.990", False)


def test_streams_go_both_ways(address: str) -> None:
    with connect(f"grpc://{address}", Geo) as geo:
        assert geo.total(iter([1, 2, 3]), 2) == 12
        assert geo.total(iter([])) == 0

    async def main() -> None:
        async with connect_async(f"grpc://{address}", Geo) as geo:
            turn = asyncio.Event()

            async def numbers() -> AsyncIterator[int]:
                yield 1
                await turn.wait()  # the first sum comes before the second number is sent
                yield 2

            sums = []
            async for each in geo.running_sum(5, numbers()):
                sums.append(each)
                turn.set()
            assert sums == [6, 8]

    asyncio.run(main())


def test_limits_of_annotations_hold(address: str, generate: Callable[[type], Any]) -> None:
    messages, stubs = generate(Geo)
    with connect(f"grpc://{address}", Geo) as geo, grpc.insecure_channel(address) as channel:
        assert geo.named("a", ["b"], 2**64 - 1) == 2**64 - 1
        for arguments, why in (
            (("", []), "name: expected str of length >= 1"),
            (("a", ["b"] * 3), "tags: expected array of length <= 2"),
            (("a", [], 2**64), "large: "),
            (("a", [], -1), "large: "),
        ):
            with pytest.raises(InvalidArgumentsError, match=why):
                geo.named(*arguments)
        with pytest.raises(grpc.RpcError) as caught:
            stubs.GeoStub(channel).named(messages.GeoNamedRequest(name="a", tags=["b"] * 3))
        assert caught.value.details() == "tags: expected array of length <= 2"


def test_list_needs_reflection(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rpc_command(["list", f"grpc://{address}"]) == 0
    assert "Geo.distance\n" in capsys.readouterr().out
    with (
        running(service_of(Geo, RPCGrpcTask), *here("grpc")) as service,
        pytest.raises(UnavailableError, match="--rpc-grpc-reflection"),
    ):
        rpc_command(["list", url_of(service, "grpc")])
