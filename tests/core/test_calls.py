"""Wrappers of calls: when they are asked for, what they see, and how they refuse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, TypeVar

import pytest
from sparts.calls import Call, CallRefusedError, Reason, blocking
from sparts.errors import PluginError, TryLater
from sparts.hookspecs import hookimpl
from sparts.states import ServiceStatus
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.event import EventTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask, UniqueQueueTask
from sparts.tasks.select import SelectTask
from sparts.testing.running import running, running_task
from sparts.vservice import VService
from sparts.vtask import VTask

WAIT = 20.0
T = TypeVar("T", bound=VTask)
variable: ContextVar[str] = ContextVar("variable", default="nothing")


class Plugin:
    """Gives one wrapper for all tasks."""

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper
        self.asked: list[tuple[str, str]] = []

    @hookimpl
    def sparts_call_wrap(self, task: VTask, kind: str) -> Any:
        self.asked.append((task.name, kind))
        return self.wrapper


def service_with(*tasks: type[VTask], plugins: Sequence[Any] = ()) -> type[VService]:
    class Wrapped(VService):
        TASKS = list(tasks)

        def initService(self) -> None:  # noqa: N802
            for plugin in plugins:
                self.hooks.register(plugin)

    return Wrapped


@contextmanager
def running_wrapped(task: type[T], *plugins: Any) -> Iterator[T]:
    """Run a service of one task with plugins, and give the task."""
    with running(service_with(task, plugins=list(plugins))) as service:
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


class Regular(PeriodicTask):
    """Runs when it is asked, as often as not."""

    INTERVAL = 3600.0

    def execute(self, context: Any = None) -> str:
        return "done"


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
    class Kindless(VTask):
        LOOPLESS = True

    with running(service_with(Doubling, Kindless)) as service:
        assert blocking(service.requireTask(Doubling)) is None
        assert blocking(service.requireTask(Kindless)) is None


@pytest.mark.parametrize("task_class", [Doubling, AsyncDoubling])
def test_refused_item_is_a_dead_letter(task_class: Any) -> None:
    dead: list[tuple[Any, BaseException]] = []
    ended = threading.Event()

    class Kept(task_class):  # type: ignore[misc]
        ON_ERROR = "shutdown"

        def on_dead_letter(self, context: Any, error: BaseException) -> None:
            dead.append((context.item, error))
            ended.set()

    def refuse(call: Call, proceed: Any) -> Any:
        raise CallRefusedError(Reason.FORBIDDEN, "not this one")

    with running_wrapped(Kept, Plugin(refuse)) as task:
        with pytest.raises(CallRefusedError, match="not this one"):
            task.submit(1).result(WAIT)
        ended.clear()
        task.queue.put(2)  # nobody waits: the service goes on all the same
        assert ended.wait(WAIT)
        assert task.service.health.status is not ServiceStatus.STOPPING
    assert [item for item, _ in dead] == [1, 2]


@pytest.mark.parametrize("task_class", [Asked, Regular, AsyncRegular])
def test_refused_run_ends_its_future_alone(task_class: Any) -> None:
    def refuse(call: Call, proceed: Any) -> Any:
        raise CallRefusedError(Reason.TOO_MANY)

    class Late(task_class):  # type: ignore[misc]
        RUN_AT_START = False

    with running_wrapped(Late, Plugin(refuse)) as task:
        for _ in range(2):
            with pytest.raises(CallRefusedError, match="too many"):
                task.execute_async().result(WAIT)
        assert task.service.health.status is not ServiceStatus.STOPPING


def test_wrapper_sees_try_later_and_further_attempts() -> None:
    attempts: list[int] = []

    class Later(Doubling):
        def execute(self, item: int, context: Any) -> int:
            if context.attempt < 3:
                raise TryLater
            return item

    def wrapper(call: Call, proceed: Any) -> Any:
        attempts.append(call.attempt)
        return proceed()

    with running_wrapped(Later, Plugin(wrapper)) as task:
        assert task.submit(7).result(WAIT) == 7
    assert attempts == [1, 2, 3]


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
        running(service_with(Doubling, plugins=[Broken()])),
    ):
        pass


# -- context variables -----------------------------------------------------------------------------


def looks(task_class: Any, *, keep: bool = True) -> Any:
    """Make a task of a class that gives the variable as ``execute`` sees it."""

    class Looks(task_class):  # type: ignore[misc]
        KEEP_CONTEXT = keep
        RUN_AT_START = False

        def execute(self, *_: Any) -> str:
            return variable.get()

    class AsyncLooks(task_class):  # type: ignore[misc]
        KEEP_CONTEXT = keep
        RUN_AT_START = False

        async def execute(self, *_: Any) -> str:
            await asyncio.sleep(0)
            return await asyncio.create_task(self.deeper())

        async def deeper(self) -> str:
            await asyncio.sleep(0)
            return variable.get()

    return AsyncLooks if issubclass(task_class, AsyncQueueTask | AsyncPeriodicTask) else Looks


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

    class Sets(task_class):  # type: ignore[misc]
        RUN_AT_START = False

        def execute(self, *arguments: Any) -> str:
            attempt = arguments[-1].attempt
            variable.set(f"{variable.get()}, {attempt}")
            if attempt == 1:
                raise TryLater(after=0)
            return variable.get()

    class AsyncSets(Sets):
        async def execute(self, *arguments: Any) -> str:  # type: ignore[override]
            await asyncio.sleep(0)
            return super().execute(*arguments)

    if issubclass(task_class, QueueTask):
        Sets.WORKERS = 1
    return AsyncSets if issubclass(task_class, AsyncQueueTask | AsyncPeriodicTask) else Sets


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
    with running_wrapped(cls) as task, variable_set("mine"):
        assert task.submit(1).result(WAIT) == "nothing"


def test_trigger_brings_variables_of_first_who_asked() -> None:
    seen: list[str] = []
    ran, go = threading.Semaphore(0), threading.Event()

    class Looking(EventTask):
        def execute(self, context: Any = None) -> None:
            assert go.wait(WAIT)
            seen.append(variable.get())
            ran.release()

    with running_wrapped(Looking) as task:
        for value in ("first", "second", "third"):
            with variable_set(value):
                task.trigger()
            if value == "first":
                while task.has_pending():
                    ran.acquire(timeout=0.01)
        go.set()
        assert ran.acquire(timeout=WAIT)
        assert ran.acquire(timeout=WAIT)
    assert seen == ["first", "second"]


@pytest.mark.parametrize("loop_class", [AsyncioLoopTask, SelectTask])
def test_loop_calls_have_the_variables_of_their_caller(loop_class: Any) -> None:
    class Numbers(QueueTask[int, int]):
        def execute(self, item: int, context: Any) -> int:
            return item

    with running(service_with(loop_class, Numbers)) as service:
        loop, numbers = service.requireTask(loop_class), service.requireTask(Numbers)

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

    with running(service_with(AsyncioLoopTask, Early)):
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

    with variable_set("mine"), running(service_with(Hangs), "--stop-timeout", "2") as service:
        future = service.requireTask(Hangs).submit(1)
        assert begun.wait(WAIT)
    with pytest.raises(CancelledError):
        future.result(WAIT)
    assert seen == ["mine"]


def test_equal_items_have_the_variables_of_the_first() -> None:
    class Unique(UniqueQueueTask[str, str]):
        def execute(self, item: str, context: Any) -> str:
            return variable.get()

    with running_wrapped(Unique) as task, variable_set("mine"):
        assert task.submit("x").result(WAIT) == "mine"
