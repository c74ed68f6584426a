"""The inbox: messages from threads and signals wake its reader, and none is lost."""

from __future__ import annotations

import functools
import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sparts.inbox import Inbox, Message
from sparts.kernel.lifecycle import Lifecycle
from sparts.testing.running import make_service
from sparts.vservice import VService

from tests.processes import run_to_end


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    made.open()
    yield made
    made.close()


def test_messages_keep_their_order_across_opening() -> None:
    inbox = Inbox()
    inbox.put(Message("first"))
    inbox.open()
    inbox.put(Message("second"))
    assert [inbox.get(), inbox.get()] == [Message("first"), Message("second")]
    assert inbox.get(timeout=0) is None


def test_more_messages_than_pipe_holds_are_all_read(inbox: Inbox) -> None:
    for number in range(70_000):
        inbox.put(Message("many", value=number))
    values = [message.value for _ in range(70_000) if (message := inbox.get()) is not None]
    assert values == list(range(70_000))


def test_closing_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    inbox = Inbox()
    inbox.open()
    inbox.open()
    inbox.close()
    inbox.close()
    inbox.put(Message("late"))
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(RuntimeError, match="not open"):
        inbox.get()


STORM = """
import os, signal, threading
from sparts.inbox import Inbox, Message
from sparts.inbox import SignalHandlers
inbox = Inbox()
inbox.open()
seen = threading.Semaphore(0)
def send():
    for _ in range(3000):
        os.kill(os.getpid(), signal.SIGUSR1)
        seen.acquire()  # the next one comes when the reader is about to wait again
thread = threading.Thread(target=send)
with SignalHandlers(lambda n: inbox.put_from_signal(Message("signal", None, n)), inbox.wakeup):
    thread.start()
    for _ in range(3000):
        assert inbox.get().value == signal.SIGUSR1
        seen.release()
    thread.join()
print("all")
"""


def test_signal_just_before_the_wait_is_noticed(tmp_path: Path) -> None:
    assert run_to_end([sys.executable, "-c", STORM], cwd=tmp_path) == (0, "all")


def test_handlers_and_wakeup_are_put_back(inbox: Inbox) -> None:
    from sparts.inbox import SignalHandlers

    before = signal.getsignal(signal.SIGTERM)
    with SignalHandlers(lambda number: None, inbox.wakeup):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("timeout", [None, 1e9, 1e300, math.inf])
def test_reader_may_wait_longer_than_the_system_can(timeout: float | None, inbox: Inbox) -> None:
    thread = threading.Thread(target=inbox.put, args=(Message("late"),))
    thread.start()
    assert inbox.get(timeout) == Message("late")
    thread.join()


def test_timers_and_messages_are_served_fairly() -> None:
    service = make_service(VService)
    lifecycle = Lifecycle(service._instance)
    inbox = service.health.inbox
    inbox.open()
    ran: list[str] = []

    def timer() -> None:
        ran.append("timer")
        lifecycle._timers.set("a", -1.0, timer)

    timer()
    for number in range(3):
        after = ("b", 0.0, functools.partial(ran.append, str(number)))
        inbox.put(Message("later", service, after))
    lifecycle._worker.start()
    for _ in range(3):
        lifecycle._supervise()
    lifecycle._worker.end()
    assert lifecycle._worker.join(10.0)
    inbox.close()
    assert ran.count("timer") == 4
    assert set(ran) == {"timer", "0", "1", "2"}
