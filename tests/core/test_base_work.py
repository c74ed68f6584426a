"""Work of a base class is done, whether an override calls ``super()`` or not."""

from __future__ import annotations

from typing import Any

import pytest
from sparts.base_work import base_work, marked_methods
from sparts.loops import LoopBoundTask
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.event import EventTask, ExecuteContext
from sparts.testing.running import running_task, service_of
from sparts.vtask import VTask

from tests.core.failing import failing
from tests.core.queue_tasks import SOON, Echo, variant


class Base(VTask):
    """Notes what is called."""

    LOOPLESS = True
    done: list[str]

    @base_work
    def initTask(self) -> None:  # noqa: N802
        self.done = [*getattr(self, "done", []), "base"]


def overriding(*bases: type[Any], calls: str = "") -> type[Any]:
    """Derive a class whose initTask notes "own", after it has called that of its base, or not."""

    def init_task(self: Any) -> None:
        if calls == "super":
            super(derived, self).initTask()
        elif calls == "Base":
            Base.initTask(self)
        self.done = [*(self.done if calls else []), "own"]

    derived: type[Any] = type("Derived", bases, {"initTask": init_task})
    return derived


Forgetful = overriding(Base)
Careful = overriding(Base, calls="super")


@pytest.mark.parametrize(
    ("task", "done"),
    [
        (Base, ["base"]),
        (Forgetful, ["own", "base"]),
        (Careful, ["base", "own"]),
        (overriding(Base, calls="Base"), ["base", "own"]),
        (type("Mixed", (overriding(object), Base), {}), ["own", "base"]),
        (overriding(Forgetful, calls="super"), ["own", "base", "own"]),
        (overriding(Careful), ["own", "base"]),
    ],
)
def test_work_of_the_base_is_done_once(task: type[Base], done: list[str]) -> None:
    with running_task(task) as found:
        assert found.done == done


def test_work_named_after_a_mixin_was_used_counts() -> None:
    plain: Any = {"__module__": "sparts.mixed", "greet": lambda self: "mixed"}
    mixin: Any = type("Mixin", (), plain)
    type("Before", (mixin, VTask), {})

    class Greets(VTask):
        @base_work
        def greet(self) -> None:
            """Work of a name that nothing was marked by before."""

    assert "greet" in marked_methods(type("After", (mixin, Greets), {}))


def test_override_that_raises_is_not_completed() -> None:
    class Raising(Base):
        def initTask(self) -> None:  # noqa: N802
            raise LookupError("own")

    task = Raising(service_of(Raising).from_args([]))
    with pytest.raises(LookupError, match="own"):
        task.initTask()
    assert not hasattr(task, "done")


def test_worker_ends_although_stop_and_join_raise() -> None:
    def fails(self: VTask) -> None:
        raise LookupError("own")

    class Worker(EventTask):
        stop = join = fails

        def execute(self, context: ExecuteContext | None = None) -> None:
            """Do nothing."""

    with failing(Worker, match="Worker failed while stopping: LookupError: own") as task:
        (thread,) = task.threads
        task.service.shutdown()
    assert not thread.is_alive()


class Called:
    """Can be called, and is no function."""

    def __call__(self, *args: Any) -> None:
        pass


@pytest.mark.parametrize(
    "override", [staticmethod(lambda: None), Called()], ids=["static", "callable"]
)
def test_override_of_any_form_is_completed(override: Any) -> None:
    with running_task(variant(OnLoop, start_in_loop=override, stop_in_loop=override)) as task:
        pass
    assert task.done == ["base start", "base stop"]


def test_static_start_starts_the_worker() -> None:
    class Echoes(Echo):
        @staticmethod
        def start() -> None:
            """Call no method of the base."""

    with running_task(Echoes) as task:
        assert task.submit(1).result(SOON) == 1


class OnLoop(LoopBoundTask):
    """Has work of its own in the loop."""

    LOOP = AsyncioLoopTask

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.done: list[str] = []

    @base_work
    async def start_in_loop(self) -> None:
        self.done.append("base start")

    @base_work
    def stop_in_loop(self) -> Any:
        self.done.append("base stop")


class Plain(OnLoop):
    def start_in_loop(self) -> None:  # type: ignore[override]
        self.done.append("own start")

    async def stop_in_loop(self) -> None:
        self.done.append("own stop")


class Awaiting(OnLoop):
    async def start_in_loop(self) -> None:
        await super().start_in_loop()
        self.done.append("own start")

    async def stop_in_loop(self) -> None:
        self.done.append("own stop")
        super().stop_in_loop()


@pytest.mark.parametrize("task", [Plain, Awaiting])
def test_plain_and_async_overrides_are_completed(task: type[OnLoop]) -> None:
    with running_task(task) as found:
        pass
    starts = ["base start", "own start"] if task is Awaiting else ["own start", "base start"]
    assert found.done == [*starts, "own stop", "base stop"]


def test_arguments_reach_the_work_of_the_base() -> None:
    class Heard(VTask):
        LOOPLESS = True
        heard: Any = None

        @base_work
        def on_options_changed(self, names: frozenset[str]) -> None:
            self.heard = names

    with running_task(variant(Heard, on_options_changed=lambda self, names: None)) as task:
        task.on_options_changed(frozenset({"a"}))
        assert task.heard == frozenset({"a"})


def test_worker_ends_although_stop_is_overridden() -> None:
    def nothing(self: VTask) -> None:
        """Call no method of the base."""

    class Worker(VTask):
        start = stop = join = nothing

        def _runloop(self) -> None:
            self.stop_event.wait()

    with running_task(Worker) as task:
        (thread,) = task.threads
    assert not thread.is_alive()
    assert {"start", "stop", "join"} <= set(marked_methods(VTask))
    assert not {"start", "stop", "join"} & set(marked_methods(Worker))
