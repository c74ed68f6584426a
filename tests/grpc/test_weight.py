"""Messages of protobuf that would take too much memory once they are decoded."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf import descriptor_pb2
from sparts.rpc import RPCTask, rpc
from sparts.tasks.grpc import GrpcTask
from sparts.tasks.grpc.rpc.task import RPCGrpcTask
from sparts.tasks.grpc.weight import LARGE, TooHeavyError, bounded
from sparts.testing.running import running, service_of

from tests.grpc.greeters import Base, Text, pb2_grpc, serving

decode = bounded(descriptor_pb2.FileDescriptorProto)
ARGV = ("--rpc-grpc-host", "127.0.0.1", "--rpc-grpc-port", "0")


@pytest.mark.parametrize(
    "data",
    [
        b"\x22\x00" * 3_000_000,  # an empty message_type each
        b"\x22\x80\x9b\xee\x02" + b"\x12\x00" * 3_000_000,  # in one, an empty field each
        b"\x50\x01" * 8_000_000,  # a public_dependency each
    ],
    ids=["messages", "within a message", "numbers"],
)
def test_what_takes_too_much_memory_is_refused(data: bytes) -> None:
    with pytest.raises(TooHeavyError, match="more than 256 MiB of memory"):
        decode(data)


@pytest.mark.parametrize(("long", "many"), [(20_000_000, 0), (0, 100_000)])
def test_strings_are_not_heavy(long: int, many: int) -> None:
    message = descriptor_pb2.FileDescriptorProto(name="x" * long, dependency=["x" * 100] * many)
    assert decode(message.SerializeToString()) == message


@pytest.mark.parametrize("end", [b"\x22", b"\x22\xff", b"\xff" * 20, b"\x22\x7f"])
def test_wrong_messages_are_left_to_protobuf(end: bytes) -> None:
    data = b"\x0a\xc0\x84\x3d" + b"x" * 1_000_000 + end
    with pytest.raises(Exception, match="parsing"):
        decode(data)


class Item(msgspec.Struct):
    """A small struct."""

    number: int = 0
    names: list[str] = []


class Shop(RPCTask):
    """Counts."""

    @rpc
    def total(self, items: list[Item]) -> int:
        """Return how many there are."""
        return len(items)

    @rpc
    async def total_async(self, items: list[Item]) -> int:
        """Return how many there are."""
        return len(items)


@pytest.mark.parametrize("method", ["total", "total_async"])
def test_list_of_many_structs_is_refused_by_rpc(method: str) -> None:
    with running(service_of(Shop, RPCGrpcTask), *ARGV) as service:
        host, port = service.requireTask(RPCGrpcTask).bound_addrs[0]
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"{host}:{port}", options=options) as channel:
            call = channel.unary_unary(f"/Shop/{method}")
            with pytest.raises(grpc.RpcError) as raised:
                call(b"\x0a\x00" * 3_000_000, timeout=30)
            error: Any = raised.value
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "256 MiB of memory" in error.details()
            assert call(b"\x0a\x00" * 40_000, timeout=30) == b"\x08\xc0\xb8\x02"


class Inline(RPCTask):
    """Gets the items of a stream at once."""

    INLINE = True

    @rpc
    def total(self, items: Iterator[Item]) -> int:
        """Return how many there are."""
        return len(list(items))


def test_items_of_inline_methods_count_as_memory() -> None:
    argv = [*ARGV, "--rpc-grpc-max-message", "1MiB", "--rpc-grpc-max-memory", "1MiB"]
    with running(service_of(Inline, RPCGrpcTask), *argv) as service:
        task: Any = service.requireTask(RPCGrpcTask)
        with grpc.insecure_channel("{}:{}".format(*task.bound_addrs[0])) as channel:
            call = channel.stream_unary("/Inline/total")
            assert call((b"\x0a\x00" for _ in range(500)), timeout=30) == b"\x08\xf4\x03"
            with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
                call(itertools.repeat(b"\x0a\x00"), timeout=30)
        assert task.calls_server.requests.taken == 0


def test_large_request_is_decoded_beside_the_loop() -> None:
    threads: list[str] = []

    class Greeter(Base):  # type: ignore[misc]
        async def Greet(self, request: Any, context: Any) -> Any:  # noqa: N802
            await asyncio.sleep(0)
            return Text(number=len(request.text))

    greeting: Any = type("GreeterTask", (GrpcTask,), {"SERVICERS": (Greeter,)})
    with serving(of=service_of(greeting)) as (service, channel):
        task = service.requireTask(greeting)
        method = task.registry.known(b"/sparts.tests.Greeter/Greet")
        assert method is not None

        def decoding(data: bytes) -> Any:
            threads.append(threading.current_thread().name)
            return Text.FromString(data)

        path = b"/sparts.tests.Greeter/Greet"
        known = task.registry.known
        task.registry.known = lambda name: (
            method._replace(decode=decoding) if name == path else known(name)
        )
        stub = pb2_grpc.GreeterStub(channel)
        assert stub.Greet(Text(text="x" * LARGE), timeout=20).number == LARGE
        assert stub.Greet(Text(text="x"), timeout=20).number == 1
    loop = threads[1]
    assert threads[0] != loop
