"""An idle queue task does not wake up between heartbeats."""

from __future__ import annotations

import time
from pathlib import Path

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, Echo, until, working


def test_idle_task_wakes_up_for_heartbeats_alone(rabbit: Rabbit, queue_name: str) -> None:
    with working(Echo, f"{rabbit.url}?heartbeat=60", queue_name) as task:
        assert task.submit("x").result(SOON) == "x"
        until(lambda: task.queue.qsize() == 0, "the acknowledgement")
        threads = {thread.native_id for thread in task.threads}
        threads.add(task.queue.link.thread_id)
        until(lambda: _rest(threads), "the threads to rest")
        before = _switches(threads)
        time.sleep(10.0)  # that nothing happens has no event
        assert _switches(threads) == before


def _rest(threads: set[int]) -> bool:
    """Whether these threads do nothing for a moment: they have acted on what came before."""
    before = _switches(threads)
    time.sleep(0.2)
    return _switches(threads) == before


def _switches(threads: set[int]) -> int:
    """How often these threads of ours have fallen asleep of their own."""
    found = 0
    for number in threads:
        for line in Path(f"/proc/self/task/{number}/status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                found += int(line.split()[1])
    return found
