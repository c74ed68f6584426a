"""Servicers for the tests: one for the loop, one for threads."""

# ruff: noqa: N802 - gRPC's names

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import grpc
from sparts.tasks.grpc import GrpcTask
from sparts.testing.leftovers import allow
from sparts.testing.running import ServiceFactory, service_of
from sparts.vservice import VService

from tests.grpc.generated import generated

allow(descriptor=r"anon_inode:\[(eventpoll|eventfd|timerfd)\]")  # grpcio's, once a process
pb2, pb2_grpc = generated("greeter")
Text = pb2.Text
Base: Any = pb2_grpc.GreeterServicer
ThreadBase: Any = pb2_grpc.ThreadGreeterServicer


class Abort(Exception):  # noqa: N818
    """Says how a call is to be aborted."""


def greet(request: Any, context: Any) -> Any:
    """Return what both answer; some texts do more."""
    if request.text == "abort":
        metadata = (("why", "test"), ("x-bin", b"\0"))
        raise Abort(grpc.StatusCode.FAILED_PRECONDITION, "not näw", metadata)
    if request.text == "fail":
        raise RuntimeError("a secret")
    if request.text == "long":
        raise Abort(grpc.StatusCode.FAILED_PRECONDITION, "é" * request.number)
    if request.text == "left":
        raise GeneratorExit
    if request.text in ("code", "bytes"):
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("nobody" if request.text == "code" else b"nobody \xff")
    if request.text == "none":
        return None
    if request.text == "metadata":
        context.set_trailing_metadata((("last", "2"), ("raw-bin", b"\xff")))
        return Text(text=repr(sorted(tuple(each) for each in context.invocation_metadata())))
    if request.text == "peer":
        return Text(text=repr((context.peer(), sorted(context.auth_context()))))
    if request.text == "identity":
        identities = list(context.peer_identities() or ())
        return Text(text=repr((context.peer_identity_key(), identities)))
    if request.text == "deadline":
        return Text(text=repr(context.time_remaining()))
    if request.text == "big":
        return Text(text="x" * request.number)
    return Text(text=f"Hello, {request.text}", number=request.number)


class Greeter(Base):  # type: ignore[misc]
    """Greets in the loop."""

    async def Greet(self, request: Any, context: Any) -> Any:
        """Greet."""
        if request.text == "wait":
            await asyncio.sleep(request.number or 3600)
        if request.text == "metadata":
            await context.send_initial_metadata((("first", "1"),))
        try:
            return greet(request, context)
        except Abort as error:
            await context.abort(*error.args)

    async def Count(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Count; for one text only until the loop has had a turn."""
        turned = asyncio.Event()
        if request.text == "turn":
            asyncio.get_running_loop().call_soon(turned.set)
        for number in range(request.number):
            if turned.is_set():
                return
            yield Text(text=request.text, number=number)

    async def Join(self, requests: AsyncIterator[Any], context: Any) -> Any:
        """Join what comes."""
        return Text(text=",".join([each.text async for each in requests]))

    async def Echo(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Send back, by the context's own methods."""
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(request)


class ThreadGreeter(ThreadBase):  # type: ignore[misc]
    """Greets in threads."""

    def Greet(self, request: Any, context: Any) -> Any:
        """Greet."""
        if request.text == "metadata":
            context.send_initial_metadata((("first", "1"),))
        try:
            return greet(request, context)
        except Abort as error:
            context.abort(*error.args)

    def Count(self, request: Any, context: Any) -> Iterator[Any]:
        """Count."""
        for number in range(request.number):
            yield Text(text=request.text, number=number)

    def Join(self, requests: Iterator[Any], context: Any) -> Any:
        """Join what comes."""
        return Text(text=",".join(each.text for each in requests))

    def Echo(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        """Send back."""
        yield from requests


class GreeterTask(GrpcTask):
    """Serves both."""

    SERVICERS = (Greeter, ThreadGreeter)


LOCAL = ("--grpc-host", "127.0.0.1", "--grpc-port", "0")


def target(service: VService) -> str:
    """Return where a service listens."""
    (address,) = service.requireTask(GrpcTask).bound_addrs
    return f"unix:{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"


@contextmanager
def serving(
    *argv: str, of: type[VService] | None = None
) -> Iterator[tuple[VService, grpc.Channel]]:
    """Run a service, that of the greeters if none is given; give it, and a channel to it."""
    with closing(ServiceFactory()) as factory:
        service = factory(of or service_of(GreeterTask), *LOCAL, *argv)
        with grpc.insecure_channel(target(service)) as channel:
            yield service, channel
