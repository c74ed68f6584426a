"""Calls that methods serve, as the methods see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import Context, copy_context
from typing import Any

import pytest
from sparts.rpc import RPCTask, current_call, rpc
from sparts.rpc.errors import InternalError
from sparts.rpc.serving import Served
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import WAIT


class Asking(RPCTask):
    context: Context

    @rpc
    def ask(self) -> bool:
        """Return whether the call is the same one in a copy of the context."""
        self.context = copy_context()
        call = self.context.run(current_call)
        return call is not None and call is current_call()


def test_a_call_lasts_as_long_as_its_method(service_factory: ServiceFactory) -> None:
    task = service_factory(service_of(Asking)).requireTask(Asking)
    served = Served(task, Asking.interface().methods["ask"], "none")
    assert served.call_here(())
    assert current_call() is None
    assert task.context.run(current_call) is None
    assert served.call_here(())


def test_calls_are_counted_by_the_next_read(service_factory: ServiceFactory) -> None:
    task = service_factory(service_of(Asking)).requireTask(Asking)
    served = Served(task, Asking.interface().methods["ask"], "none")
    counted = task.n_calls.labels("ask")
    for number in range(3):
        assert counted() == number
        served.call_here(())
    counted.reset()
    assert counted() == 0
    served.call_now(())
    assert counted() == 1
    assert task.in_flight() == 0


class Counting(RPCTask):
    @rpc
    async def awaited(self) -> AsyncIterator[int]:
        yield 1
        raise GeneratorExit

    @rpc
    def plain(self) -> Iterator[int]:
        yield 1
        raise GeneratorExit


async def _collect(served: Served) -> None:
    async for _ in served.stream(()):
        pass


@pytest.mark.parametrize("name", ["awaited", "plain"])
def test_generator_exit_of_stream_is_an_internal_error(
    service_factory: ServiceFactory, name: str
) -> None:
    task = service_factory(service_of(Counting)).requireTask(Counting)
    served = Served(task, Counting.interface().methods[name], "none")
    with pytest.raises(InternalError):
        list(served.stream_here(()))
    with pytest.raises(InternalError):
        task.loop_task.call(_collect, served).result(WAIT)
    assert task.n_errors.labels(name)() == 2


def test_stream_that_is_closed_has_not_failed(service_factory: ServiceFactory) -> None:
    task = service_factory(service_of(Counting)).requireTask(Counting)
    stream: Any = Served(task, Counting.interface().methods["plain"], "none").stream_here(())
    assert next(stream) == 1
    stream.close()
    assert task.n_errors.labels("plain")() == 0
