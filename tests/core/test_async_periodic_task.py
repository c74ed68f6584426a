"""AsyncPeriodicTask, where it differs; tests of EventTask and PeriodicTask try both kinds."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from sparts.errors import LoopStoppedError
from sparts.states import TaskState
from sparts.tasks.async_periodic import AsyncPeriodicTask, ExecuteContext
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.testing.running import running_task
from sparts.testing.waiting import WAIT
from sparts.vtask import RestartPolicy

from tests.core import periodic_tasks
from tests.core.periodic_tasks import AsyncTicking
from tests.core.queue_tasks import all_cancelled, given, variant

SOON = RestartPolicy("on-failure", first_wait=0.001)
ticking = partial(periodic_tasks.ticking, AsyncTicking)


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


def test_endless_run_is_cancelled_in_time() -> None:
    with running_task(ticking(), "--stop-timeout", "3s") as task:  # cancelled 0.3 s before
        task.ran.get(timeout=WAIT)
        task.work.put(forever)
        future = task.execute_async()
        task.ran.get(timeout=WAIT)
    assert all_cancelled(future)
    assert task.state is TaskState.STOPPED


def test_stop_waits_for_no_restart_of_a_run() -> None:
    policy = SOON._replace(first_wait=10000.0, max_wait=10000.0)
    with running_task(ticking(RESTART=policy), "--stop-timeout", "1h") as task:
        task.ran.get(timeout=WAIT)
        task.work.put(lambda: given(ValueError("no way")))
        assert isinstance(task.execute_async().exception(WAIT), ValueError)
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        assert task.state is TaskState.DEGRADED


def test_failed_loop_cancels_runs_and_schedule_goes_on() -> None:
    with running_task(ticking(LOOP=variant(AsyncioLoopTask, RESTART=SOON))) as task:
        task.ran.get(timeout=WAIT)
        task.work.put(forever)
        future = task.execute_async()
        task.ran.get(timeout=WAIT)
        pending = task.loop_task.call(forever)
        loop_task: Any = task.loop_task
        loop_task.call(loop_task.loop.stop)
        assert isinstance(pending.exception(WAIT), LoopStoppedError)
        assert all_cancelled(future)
        task.ran.get(timeout=WAIT)
        assert task.next_run() == 10
        assert not task.supervisor.n_failures()


def test_next_run_is_not_cancelled_with_the_last() -> None:
    class Cancelling(AsyncPeriodicTask):
        INTERVAL = 3600.0
        RUN_AT_START = False

        async def execute(self, context: ExecuteContext | None = None) -> int:
            worker: Any = asyncio.current_task()
            before = int(worker.cancelling())
            worker.cancel()
            return before

    with running_task(Cancelling) as task:
        assert [task.execute_async().result(WAIT) for _ in range(3)] == [0, 0, 0]
        assert not task.supervisor.n_failures()


def test_run_that_cancels_itself_is_one_that_failed() -> None:
    class Cancelling(AsyncPeriodicTask):
        INTERVAL = 3600.0
        RUN_AT_START = False
        ON_ERROR = "log"
        cancels = True

        async def execute(self, context: ExecuteContext | None = None) -> str:
            worker = asyncio.current_task()
            if self.cancels and worker is not None:
                worker.cancel()
                await asyncio.sleep(0)
            return "done"

    with running_task(Cancelling) as task:
        assert isinstance(task.execute_async().exception(WAIT), asyncio.CancelledError)
        task.cancels = False
        assert task.execute_async().result(WAIT) == "done"
