"""What wrappers of calls see of calls of thrift methods, and what they can do with them."""

from __future__ import annotations

from contextlib import closing
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import thriftpy2
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.testing.running import running
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.transport.THttpClient import THttpClient

from tests.thrift.clients import serving
from tests.thrift.echo import AsyncHandler, EchoHandler, EchoServer, InlineHandler, interop
from tests.thrift.test_http import HERE as OVER_HTTP
from tests.thrift.test_http import EchoOverHTTP
from tests.wrapping import wrapped_by

calls: ContextVar[int] = ContextVar("calls", default=0)


def adding(a: int, b: int, c: int) -> int:
    return a + b + c


class PartialHandler(EchoHandler):
    """Has a method that is a partial."""

    add = staticmethod(partial(adding, 100))


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler, PartialHandler])
def test_wrapper_sees_arguments_of_each_call(handler: type[EchoHandler]) -> None:
    seen: list[Any] = []

    def note(call: Any, proceed: Any) -> Any:
        seen.append(call)
        return proceed()

    with serving(wrapped_by(note, EchoServer, handler), interop.Echo) as (_, echo):
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

    with serving(wrapped_by(twice, EchoServer, handler), interop.Echo) as (_, echo):
        assert echo.text("one") == "oneone"
        assert echo.who() == "instead"


ODD = """
struct Point { 1: i32 x, 2: i32 y }
service Odd {
  string said(1: string name, 2: string task, 3: string proceed, 4: string attributes),
  list<i32> given(1: list<i32> numbers = [1, 2], 2: i32 item = 7),
  i32 across(1: Point point = {"x": 1, "y": 2}),
}
"""


class OddHandler(ThriftHandlerTask):
    """Has parameters that are called as attributes of calls are, and defaults."""

    def said(self, name: str, task: str, proceed: str, attributes: str) -> str:
        return "/".join((name, task, proceed, attributes))

    def given(self, numbers: list[int], item: int) -> list[int]:
        numbers.append(item)
        return numbers

    def across(self, point: Any) -> int:
        return int(point.x + point.y)


@pytest.mark.parametrize("wrapper", [lambda call, proceed: proceed(), None])
def test_parameters_may_be_named_as_those_of_calls(wrapper: Any, tmp_path: Path) -> None:
    idl = tmp_path / "odd.thrift"
    idl.write_text(ODD)
    module = thriftpy2.load(str(idl), f"odd{wrapper is None}_thrift")
    handler: Any = type("Handler", (OddHandler,), {"MODULE": module.Odd})
    with serving(wrapped_by(wrapper, NBServerTask, handler), module.Odd) as (_, odd):
        assert odd.said("a", "b", "c", "d") == "a/b/c/d"
        for _ in range(2):
            assert odd.given([3], 4) == [3, 4]
            assert odd.given(None, None) == [1, 2, 7]
        assert odd.across(module.Point(3, 4)) == 7


class Counting(InlineHandler):
    """Counts in the context of a call."""

    def text(self, text: str) -> str:
        calls.set(calls.get() + 1)
        return str(calls.get())


class CountingInThreads(Counting):
    """Does so in the server's other threads."""

    INLINE = False


@pytest.mark.parametrize("handler", [Counting, CountingInThreads])
def test_what_a_method_sets_is_for_its_call(handler: type[EchoHandler]) -> None:
    with serving(wrapped_by(None, EchoServer, handler), interop.Echo) as (_, echo):
        assert [echo.text("") for _ in range(3)] == ["1", "1", "1"]


def test_json_over_http_is_wrapped() -> None:
    seen: list[Any] = []

    def note(call: Any, proceed: Any) -> Any:
        if call.kind == "thrift":
            seen.append((call.name, call.arguments))
        return proceed()

    with running(wrapped_by(note, EchoOverHTTP, EchoHandler), *OVER_HTTP) as service:
        port = service.requireTask(EchoOverHTTP).bound_addrs[0][1]
        transport = THttpClient(f"http://127.0.0.1:{port}/")
        transport.setCustomHeaders({"Content-Type": "application/vnd.apache.thrift.json"})
        with closing(transport):
            assert interop.Echo.Client(TJSONProtocol(transport)).add(2, 3) == 5
    assert seen == [("add", (2, 3))]
