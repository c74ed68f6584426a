"""The date that somebody sets is noticed, without a look at it in between."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from sparts import date_watch
from sparts.clock import SYSTEM
from sparts.date_watch import watch_date
from sparts.testing.waiting import Recorder


def set_the_date() -> None:
    """Set the date to what it is."""
    try:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
    except PermissionError:
        pytest.skip("this user may not set the date")


def test_setting_the_date_calls_back_each_time() -> None:
    told: Recorder[None] = Recorder()
    end = SYSTEM.watch_date(lambda: told(None))
    try:
        for count in range(1, 4):
            set_the_date()
            told.wait(count)
    finally:
        end()


def test_watch_leaves_nothing_behind() -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        end = watch_date(int)
        assert threading.active_count() == threads + 1
        end()
        assert threading.active_count() == threads
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_watches_of_a_process_share_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = threading.active_count()
    told: list[Recorder[None]] = [Recorder(), Recorder()]
    first, second = (watch_date(partial(each, None)) for each in told)
    assert threading.active_count() == threads + 1
    with monkeypatch.context() as forked:
        forked.setattr(os, "getpid", lambda: -1)  # there, the thread is gone
        end = watch_date(int)
        assert threading.active_count() == threads + 2
    end()
    try:
        set_the_date()
        for each in told:
            each.wait()
        first()
        counts = []
        for _ in range(2):  # another test may just have set it, too
            before = len(told[1].items)
            set_the_date()
            told[1].wait(before + 1)
            counts.append(len(told[0].items))
        assert counts[0] == counts[1]
    finally:
        second()
    assert threading.active_count() == threads


def test_waiting_watch_is_not_woken() -> None:
    end = watch_date(int)
    (thread,) = [each for each in threading.enumerate() if each.name == "sparts-date"]
    status = Path(f"/proc/self/task/{thread.native_id}/status")
    while "S (sleeping)" not in status.read_text():
        os.sched_yield()
    assert thread.is_alive()
    end()


def test_without_kernels_timer_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> int:
        raise OSError("no timers here")

    monkeypatch.setattr(date_watch, "open_timer", missing)
    monkeypatch.setattr(date_watch, "_LOOK_EVERY", 0.01)
    told: Recorder[None] = Recorder()
    end = watch_date(lambda: told(None))
    told.wait()
    end()
