"""What wrappers of calls see of calls of thrift methods, and what they can do with them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sparts.hookspecs import hookimpl
from sparts.testing.running import running
from sparts.thrift.client import ThriftClient
from sparts.vservice import VService

from tests.thrift.echo import HERE, AsyncHandler, EchoHandler, EchoServer, InlineHandler, interop


def adding(a: int, b: int, c: int) -> int:
    return a + b + c


class PartialHandler(EchoHandler):
    """Has a method that is a partial."""

    add = staticmethod(partial(adding, 100))


class Plugin:
    """Wraps all calls in one wrapper."""

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper

    @hookimpl
    def sparts_call_wrap(self) -> Any:
        return self.wrapper


def wrapped_by(wrapper: Any, handler: type[EchoHandler]) -> type[VService]:
    class Wrapped(VService):
        TASKS = [EchoServer, handler]

        def initService(self) -> None:  # noqa: N802
            self.hooks.register(Plugin(wrapper))

    return Wrapped


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler, PartialHandler])
def test_wrapper_sees_arguments_of_each_call(handler: type[EchoHandler]) -> None:
    seen: list[Any] = []

    def note(call: Any, proceed: Any) -> Any:
        seen.append(call)
        return proceed()

    with running(wrapped_by(note, handler), *HERE) as service:
        port = service.requireTask(EchoServer).bound_port
        with ThriftClient.for_localhost(port, module=interop.Echo) as echo:
            echo.ping()
            assert echo.text("one") == "one"
            assert echo.add(1, 2) == (103 if handler is PartialHandler else 3)
    assert [(call.name, call.arguments) for call in seen] == [
        ("ping", ()), ("text", ("one",)), ("add", (1, 2)),
    ]  # fmt: skip
    assert {(call.kind, call.task.name, call.attempt) for call in seen} == {
        ("thrift", handler.__name__, 1)
    }
    assert repr(seen[0]) == "<ThriftCall thrift ping>"
    assert [call.is_async for call in seen] == [False, handler is AsyncHandler, False]
    seen[0].error = ValueError()
    assert seen[1].error is None


@pytest.mark.parametrize("handler", [EchoHandler, AsyncHandler])
def test_wrapper_proceeds_as_often_as_it_likes(handler: type[EchoHandler]) -> None:
    async def twice(call: Any, proceed: Any) -> Any:
        return await proceed() + await proceed() if call.name == "text" else "instead"

    with running(wrapped_by(twice, handler), *HERE) as service:
        port = service.requireTask(EchoServer).bound_port
        with ThriftClient.for_localhost(port, module=interop.Echo) as echo:
            assert echo.text("one") == "oneone"
            assert echo.who() == "instead"
