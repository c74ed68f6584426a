"""Calls that methods serve, as the methods see them."""

from __future__ import annotations

from contextvars import Context, copy_context

from sparts.rpc import RPCTask, current_call, rpc
from sparts.rpc.serving import Served
from sparts.testing.running import ServiceFactory, service_of


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
