"""Faults that show after many starts: rows of docs/reliability.md, each a test of the same name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.processes import run_to_end

GROWTH = """
import gc, logging, os, queue, sys, threading, tracemalloc
from sparts.testing.running import make_service, running
from sparts.vservice import VService
from sparts.vtask import VTask

class Waits(VTask):
    def _runloop(self):
        self.stop_event.wait()

class Service(VService):
    TASKS = [Waits, "AsyncioLoopTask"]

def start_and_stop(count):
    for _ in range(count):
        with running(Service):
            pass

made = queue.SimpleQueue()

class Restarted(Service):
    def initService(self):
        made.put(self)

def restart(count):
    thread = make_service(Restarted).startBG()
    for _ in range(count):
        instance = made.get()
        instance.wait_ready()
        instance.restart()
    made.get().shutdown()
    thread.join()

# The interpreter's own that comes and goes: the names of attributes in its cache of types, and the
# tables of its sets of weak references, which double at times.
forget_names = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache
not_ours = [tracemalloc.Filter(False, "*/" + name) for name in ("_weakrefset.py", "tracemalloc.py")]

def measure():
    forget_names()
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces(not_ours)
    lines = snapshot.statistics("lineno")
    left = threading.active_count(), len(os.listdir("/proc/self/fd"))
    suspects = [str(line) for line in lines if 200 <= line.count < 400]
    return left, sum(line.size for line in lines), suspects

logging.disable()
tracemalloc.start()
{cycle}(100)
measure()  # once to warm up, as it fills caches of its own
before, size, _ = measure()
{cycle}(200)
after, new_size, suspects = measure()
print("threads and descriptors", "stay" if after == before else (before, after))
grown = new_size - size
print("memory", "stays" if grown < 200 * 8 else f"grew by {grown} bytes: {suspects}")
"""


@pytest.mark.parametrize("cycle", ["start_and_stop", "restart"])
def test_two_hundred_starts_leave_nothing_behind(cycle: str, tmp_path: Path) -> None:
    script = GROWTH.replace("{cycle}", cycle)  # in a process in which nothing else happens
    status, output = run_to_end([sys.executable, "-c", script], cwd=tmp_path)
    assert (status, output) == (0, "threads and descriptors stay\nmemory stays")
