"""Wrappers of calls: when they are asked for, what they see, and how they refuse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, TypeVar

import pytest
from sparts.calls import Call, CallRefusedError, Reason, blocking, wrap_clients
from sparts.errors import PluginError, TryLater, UsageError
from sparts.hookspecs import hookimpl
from sparts.states import ServiceStatus
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.event import EventTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask, UniqueQueueTask
from sparts.tasks.select import SelectTask
from sparts.testing.running import running, running_task, service_of
from sparts.testing.waiting import WAIT, Recorder
from sparts.vtask import VTask

from tests.core.queue_tasks import variant
from tests.wrapping import Plugin, with_plugins

T = TypeVar("T", bound=VTask)
variable: ContextVar[str] = ContextVar("variable", default="nothing")


@contextmanager
def running_wrapped(task: type[T], *plugins: Any) -> Iterator[T]:
    """Run a service of one task with plugins, and give the task."""
    with running(with_plugins(plugins, task)) as service:
        yield service.requireTask(task)


@contextmanager
def variable_set(value: str) -> Iterator[None]:
    """Have the variable a value in the block."""
    token = variable.set(value)
    yield
    variable.reset(token)


class Doubling(QueueTask[int, int]):
    """Doubles numbers."""

    ON_ERROR = "log"

    def execute(self, item: int, context: Any) -> int:
        return 2 * item


class AsyncDoubling(AsyncQueueTask[int, int]):
    """Doubles numbers in a loop."""

    ON_ERROR = "log"

    async def execute(self, item: int, context: Any) -> int:
        await asyncio.sleep(0)
        return 2 * item


class Asked(EventTask):
    """Runs when it is asked."""

    def execute(self, context: Any = None) -> str:
        return "done"


Regular = type("Regular", (PeriodicTask,), {"INTERVAL": 3600.0, "execute": Asked.execute})


class AsyncRegular(AsyncPeriodicTask):
    """The same, in a loop."""

    INTERVAL = 3600.0

    async def execute(self, context: Any = None) -> str:
        await asyncio.sleep(0)
        return "done"


WORK = [
    (Doubling, "queue"),
    (AsyncDoubling, "queue"),
    (Asked, "event"),
    (Regular, "periodic"),
    (AsyncRegular, "periodic"),
]


def one_call(task: Any) -> Any:
    return task.submit(21) if hasattr(task, "submit") else task.execute_async()


def plain(calls: list[Call]) -> Any:
    def wrapper(call: Call, proceed: Any) -> Any:
        calls.append(call)
        return proceed()

    return wrapper


def refusing(*why: Any) -> Plugin:
    """Make a plugin that refuses all calls."""

    def wrapper(call: Call, proceed: Any) -> Any:
        raise CallRefusedError(*why)

    return Plugin(wrapper)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("task_class", "kind"), WORK)
def test_wrapper_sees_each_call(task_class: Any, kind: str, is_async: bool) -> None:
    calls: list[Call] = []
    results: list[Any] = []

    async def awaiting(call: Call, proceed: Any) -> Any:
        calls.append(call)
        result = await proceed()
        results.append(result)
        return result

    plugin = Plugin(awaiting if is_async else plain(calls))
    with running_wrapped(task_class, plugin) as task:
        result = one_call(task).result(WAIT)
    assert result in (42, "done")
    assert plugin.asked == [(task_class.__name__, kind)]
    call = calls[-1]
    assert (call.kind, call.name, call.attempt) == (kind, task_class.__name__, 1)
    assert call.item == (21 if kind == "queue" else None)
    assert call.is_async is issubclass(task_class, AsyncDoubling | AsyncRegular)
    if is_async:
        assert results[-1] == result


def test_wrappers_nest_in_the_order_of_hooks() -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        def wrapper(call: Call, proceed: Any) -> Any:
            order.append(name)
            result = proceed()
            order.append(f"{name} ends")
            return result

        return wrapper

    async def awaiting(call: Call, proceed: Any) -> Any:
        order.append("async")
        result = await proceed()
        order.append("async ends")
        return result

    plugins = [Plugin(named("inner")), Plugin(awaiting), Plugin(None), Plugin(named("outer"))]
    with running_wrapped(Doubling, *plugins) as task:
        assert task.submit(1).result(WAIT) == 2
    assert order == ["outer", "async", "inner", "inner ends", "async ends", "outer ends"]


def test_without_a_plugin_the_handler_is_unchanged() -> None:
    kindless = variant(VTask, LOOPLESS=True)
    with running(service_of(Doubling, kindless)) as service:
        assert blocking(service.requireTask(Doubling)) is None
        assert blocking(service.requireTask(kindless)) is None


@pytest.mark.parametrize("task_class", [Doubling, AsyncDoubling])
def test_refused_item_is_a_dead_letter(task_class: Any) -> None:
    dead: Recorder[int] = Recorder()

    def keep(self: Any, context: Any, error: BaseException) -> None:
        dead(context.item)

    kept = variant(task_class, ON_ERROR="shutdown", on_dead_letter=keep)
    with running_wrapped(kept, refusing(Reason.FORBIDDEN, "not this one")) as task:
        with pytest.raises(CallRefusedError, match="not this one"):
            task.submit(1).result(WAIT)
        task.queue.put(2)  # nobody waits: the service goes on all the same
        assert dead.wait(2) == [1, 2]
        assert task.service.health.status is not ServiceStatus.STOPPING


@pytest.mark.parametrize("task_class", [Asked, Regular, AsyncRegular])
def test_refused_run_ends_its_future_alone(task_class: Any) -> None:
    late = variant(task_class, RUN_AT_START=False)
    with running_wrapped(late, refusing(Reason.TOO_MANY)) as task:
        for _ in range(2):
            with pytest.raises(CallRefusedError, match="too many"):
                task.execute_async().result(WAIT)
        assert task.service.health.status is not ServiceStatus.STOPPING


def test_wrapper_sees_try_later_and_further_attempts() -> None:
    calls: list[Call] = []

    class Later(Doubling):
        def execute(self, item: int, context: Any) -> int:
            if context.attempt < 3:
                raise TryLater
            return item

    with running_wrapped(Later, Plugin(plain(calls))) as task:
        assert task.submit(7).result(WAIT) == 7
    assert [call.attempt for call in calls] == [1, 2, 3]


def test_wrapper_that_waits_in_thread_fails_call() -> None:
    async def waits(call: Call, proceed: Any) -> Any:
        await asyncio.sleep(0)
        return await proceed()

    refused = pytest.raises(RuntimeError, match="has no loop")
    with running_wrapped(Doubling, Plugin(waits)) as task, refused:
        task.submit(1).result(WAIT)


def test_hook_that_fails_ends_the_start_by_name() -> None:
    class Broken:
        @hookimpl
        def sparts_call_wrap(self, task: VTask) -> Any:
            raise ZeroDivisionError("no wrapper today")

    with (
        pytest.raises(PluginError, match=r"Broken.*sparts_call_wrap.*no wrapper today"),
        running(with_plugins([Broken()], Doubling)),
    ):
        pass


def yields(call: Call, proceed: Any) -> Any:
    yield proceed()


async def yields_later(call: Call, proceed: Any) -> Any:
    yield await proceed()


Yielding = type("Yielding", (), {"__call__": lambda self, call, proceed: (yield proceed())})


@pytest.mark.parametrize("wrapper", [yields, yields_later, partial(yields), Yielding(), "none"])
def test_wrapper_that_would_run_nothing_is_refused(wrapper: Any) -> None:
    """A generator: each call would seem done, and an item of a queue would be lost."""
    refused = pytest.raises(PluginError, match=r"Plugin.*sparts_call_wrap.*without yield")
    with refused, running(with_plugins([Plugin(wrapper)], Doubling)):
        pass
    with pytest.raises(UsageError, match="without yield"):
        wrap_clients(wrapper)


# -- context variables -----------------------------------------------------------------------------


def looks(task_class: Any, *, keep: bool = True) -> Any:
    """Make a task of a class that gives the variable as ``execute`` sees it."""

    async def deeper() -> str:
        await asyncio.sleep(0)
        return variable.get()

    async def in_loop(self: Any, *_: Any) -> str:
        await asyncio.sleep(0)
        return await asyncio.create_task(deeper())

    is_async = issubclass(task_class, AsyncQueueTask | AsyncPeriodicTask)
    execute = in_loop if is_async else lambda self, *_: variable.get()
    return variant(task_class, KEEP_CONTEXT=keep, RUN_AT_START=False, execute=execute)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("task_class", [task for task, _ in WORK])
def test_execute_has_the_variables_of_who_asked(task_class: Any, wrapped: bool) -> None:
    cls = looks(task_class)
    plugins = [Plugin(plain([]))] if wrapped else []
    with running_wrapped(cls, *plugins) as task:
        seen = []
        for value in ("one", "two"):
            with variable_set(value):
                seen.append(one_call(task))
                assert seen[-1].result(WAIT) == value
        assert one_call(task).result(WAIT) == "nothing"


def sets(task_class: Any) -> Any:
    """Make a task of a class that gives the variable, and sets it."""

    def execute(self: Any, *arguments: Any) -> str:
        attempt = arguments[-1].attempt
        variable.set(f"{variable.get()}, {attempt}")
        if attempt == 1:
            raise TryLater(after=0)
        return variable.get()

    async def in_loop(self: Any, *arguments: Any) -> str:
        await asyncio.sleep(0)
        return execute(self, *arguments)

    is_async = issubclass(task_class, AsyncQueueTask | AsyncPeriodicTask)
    more = {"WORKERS": 1} if issubclass(task_class, QueueTask) else {}
    return variant(task_class, RUN_AT_START=False, execute=in_loop if is_async else execute, **more)


@pytest.mark.parametrize("task_class", [task for task, _ in WORK])
def test_only_next_attempt_sees_what_execute_sets(task_class: Any) -> None:
    cls = sets(task_class)
    with running_task(cls) as task:
        for _ in range(3):
            future = Context().run(one_call, task)  # as of a thread that has no variables
            assert future.result(WAIT) == "nothing, 1, 2"


@pytest.mark.parametrize("task_class", [Doubling, AsyncDoubling])
def test_context_can_be_left_to_the_worker(task_class: Any) -> None:
    cls = looks(task_class, keep=False)
    with running_task(cls) as task, variable_set("mine"):
        assert task.submit(1).result(WAIT) == "nothing"


def test_trigger_brings_variables_of_first_who_asked() -> None:
    began, go, seen = threading.Event(), threading.Event(), Recorder[str]()

    class Looking(EventTask):
        def execute(self, context: Any = None) -> None:
            began.set()
            assert go.wait(WAIT)
            seen(variable.get())

    with running_task(Looking) as task:
        for value in ("first", "second", "third"):
            with variable_set(value):
                task.trigger()
            assert began.wait(WAIT)
        go.set()
        assert seen.wait(2) == ["first", "second"]


@pytest.mark.parametrize("loop_class", [AsyncioLoopTask, SelectTask])
def test_loop_calls_have_the_variables_of_their_caller(loop_class: Any) -> None:
    with running(service_of(loop_class, Doubling)) as service:
        loop, numbers = service.requireTask(loop_class), service.requireTask(Doubling)

        async def waits() -> str:
            await numbers.submit(1)
            return variable.get()

        for value in ("one", "two"):
            with variable_set(value):
                assert loop.call(variable.get).result(WAIT) == value
                assert loop.call(waits).result(WAIT) == value
        assert loop.call(variable.get).result(WAIT) == "nothing"


def test_early_loop_call_has_variables_of_its_caller() -> None:
    found: list[Any] = []

    class Early(VTask):
        DEPS = (AsyncioLoopTask,)
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            with variable_set("early"):
                found.append(self.service.requireTask(AsyncioLoopTask).call(variable.get))

    with running(service_of(AsyncioLoopTask, Early)):
        assert found[0].result(WAIT) == "early"


def test_cancelled_item_is_cancelled_in_its_context() -> None:
    begun, seen = threading.Event(), []

    class Hangs(AsyncQueueTask[int, int]):
        DRAIN = False

        async def execute(self, item: int, context: Any) -> int:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                seen.append(variable.get())
            return item

    with variable_set("mine"), running_task(Hangs, "--stop-timeout", "2") as task:
        future = task.submit(1)
        assert begun.wait(WAIT)
    with pytest.raises(CancelledError):
        future.result(WAIT)
    assert seen == ["mine"]


def test_equal_items_have_the_variables_of_the_first() -> None:
    with running_task(looks(UniqueQueueTask)) as task, variable_set("mine"):
        assert task.submit("x").result(WAIT) == "mine"
