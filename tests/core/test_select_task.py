"""SelectTask: callbacks for file descriptors, registered from any thread."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, TaskFailedError, TaskStoppedError
from sparts.tasks.select import SelectTask
from sparts.testing.running import make_service, running, running_task, service_of
from sparts.vtask import RestartPolicy

from tests.threads import run_in_threads

SOON = 10
"""Seconds that something which happens at once may take on a busy machine."""


@contextlib.contextmanager
def pair(task: SelectTask | None = None) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give two sockets that are connected; afterwards, the task does not have the first."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other
        if task is not None:
            task.unregister_all(one)


@pytest.fixture
def task() -> Iterator[SelectTask]:
    with running(service_of(SelectTask)) as service:
        yield service.requireTask(SelectTask)


def test_callback_runs_in_loop_with_its_descriptor(task: SelectTask) -> None:
    called: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def readable(fd: socket.socket) -> None:
        called.put((fd, fd.recv(10), threading.current_thread()))

    with pair(task) as (one, other):
        task.register_read(one, readable)
        other.send(b"hello")
        assert called.get(timeout=SOON) == (one, b"hello", task.threads[0])


def test_all_callbacks_of_descriptor_are_unregistered_at_once(task: SelectTask) -> None:
    with pair(task) as (one, _):
        for register in (task.register_read, task.register_write, task.register_except):
            register(one, lambda fd: None)
        task.unregister_all(one)
        for unregister in (task.unregister_read, task.unregister_write, task.unregister_except):
            with pytest.raises(KeyError):
                unregister(one)


@pytest.mark.parametrize("event", ["read", "write", "except"])
def test_unregistering_returns_the_callback(task: SelectTask, event: str) -> None:
    called: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with pair(task) as (one, _):
        for others in ([], ["read", "write", "except"]):
            for other in {*others} - {event}:
                getattr(task, f"register_{other}")(one, str)
            getattr(task, f"register_{event}")(one, called.put)
            assert getattr(task, f"unregister_{event}")(one) == called.put


def test_number_of_a_descriptor_will_do(task: SelectTask) -> None:
    called: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with pair(task) as (one, other):
        task.register_read(one.fileno(), lambda fd: called.put(os.read(fd, 10)))
        other.send(b"hello")
        assert called.get(timeout=SOON) == b"hello"


def test_reading_and_writing_of_one_descriptor_are_apart(task: SelectTask) -> None:
    called: queue.SimpleQueue[str] = queue.SimpleQueue()

    def writable(fd: socket.socket) -> None:
        task.unregister_write(fd)
        called.put("write")

    with pair(task) as (one, other):
        task.register_read(one, lambda fd: called.put(fd.recv(10).decode()))
        task.register_write(one, writable)
        assert called.get(timeout=SOON) == "write"
        other.send(b"read")
        assert called.get(timeout=SOON) == "read"
        task.register_write(one, writable)
        assert called.get(timeout=SOON) == "write"


def test_urgent_data_is_an_exceptional_condition(task: SelectTask) -> None:
    called: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def urgent(fd: socket.socket) -> None:
        called.put(fd.recv(1, socket.MSG_OOB))

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        other = stack.enter_context(socket.create_connection(server.getsockname()))
        one = stack.enter_context(server.accept()[0])
        task.register_except(one, urgent)
        other.send(b"plain")
        other.send(b"!", socket.MSG_OOB)
        assert called.get(timeout=SOON) == b"!"
        task.unregister_except(one)
        with pytest.raises(KeyError, match="not registered with SelectTask"):
            task.unregister_except(one)


def test_registering_again_replaces_the_callback(task: SelectTask) -> None:
    called: queue.SimpleQueue[str] = queue.SimpleQueue()

    def new(fd: socket.socket) -> None:
        fd.recv(10)
        called.put("new")

    with pair(task) as (one, other):
        task.register_read(one, lambda fd: called.put("old"))
        task.register_read(one, new)
        other.send(b"x")
        assert called.get(timeout=SOON) == "new"
        assert called.empty()


def test_unregistering_what_is_not_registered_is_clear_error(task: SelectTask) -> None:
    with pair(task) as (one, _):
        with pytest.raises(KeyError, match="is not registered with SelectTask for reading"):
            task.unregister_read(one)
        task.register_read(one, print)
        with pytest.raises(KeyError, match="is not registered with SelectTask for writing"):
            task.unregister_write(one)


def test_callback_unregistered_in_the_turn_is_not_called(task: SelectTask) -> None:
    called: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with pair(task) as (a, b), pair(task) as (c, d):

        def readable(fd: socket.socket) -> None:
            fd.recv(10)
            for each in (a, c):
                task.unregister_read(each)
            called.put(fd)

        def both() -> None:  # in the loop, so that it sees both at once
            for one, other in ((a, b), (c, d)):
                other.send(b"x")
                task.register_read(one, readable)

        task.call(both).result(SOON)
        called.get(timeout=SOON)
        task.call(lambda: None).result(SOON)
        assert called.empty()


def receive(called: queue.SimpleQueue[bytes], fd: socket.socket) -> None:
    called.put(fd.recv(1))


def test_many_threads_register_and_unregister_at_once(task: SelectTask) -> None:
    def use() -> None:
        for _ in range(100):
            called: queue.SimpleQueue[bytes] = queue.SimpleQueue()
            with pair(task) as (one, other):
                task.register_read(one, functools.partial(receive, called))
                other.send(b"x")
                assert called.get(timeout=SOON) == b"x"

    run_in_threads(*[use] * 8)


def test_descriptor_can_be_registered_before_the_start() -> None:
    called: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with pair() as (one, other):

        class Early(SelectTask):
            def initTask(self) -> None:  # noqa: N802
                super().initTask()
                self.register_read(one, lambda fd: called.put(fd.recv(1)))

        other.send(b"x")
        with running(service_of(Early)) as service:
            assert called.get(timeout=SOON) == b"x"
            service.requireTask(Early).unregister_read(one)


def test_closed_descriptor_is_error_of_who_registers_it(task: SelectTask) -> None:
    one, other = socket.socketpair()
    one.close()
    other.close()
    with pytest.raises(ValueError, match="Invalid file descriptor"):
        task.register_read(one, print)


def test_calls_run_in_the_loop_from_any_thread(task: SelectTask) -> None:
    assert task.call(threading.current_thread).result(SOON) is task.threads[0]


def test_exception_of_a_callback_ends_the_service() -> None:
    def broken(fd: object) -> None:
        raise ValueError("broken callback")

    service = make_service(service_of(SelectTask))
    thread = service.startBG()
    with pair() as (one, other):
        service.requireTask(SelectTask).register_read(one, broken)
        other.send(b"x")
        with pytest.raises(TaskFailedError, match="broken callback"):
            thread.join()


def test_what_is_registered_outlasts_restart_of_loop() -> None:
    called: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    class Restarted(SelectTask):
        RESTART = RestartPolicy("on-failure", first_wait=0.0)

    def flaky(fd: socket.socket) -> None:
        data = fd.recv(10)
        if data == b"break":
            raise ValueError("broken callback")
        called.put(data)

    with running_task(Restarted) as task, pair(task) as (one, other):
        task.register_read(one, flaky)
        other.send(b"break")
        while task.supervisor.n_restarts() == 0:
            os.sched_yield()
        other.send(b"fine")
        assert called.get(timeout=SOON) == b"fine"
        assert task.call(lambda: 5).result(SOON) == 5


def test_nothing_stays_open_after_the_stop() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with running_task(SelectTask) as task, pair() as (one, _):
            task.register_except(one, print)
            task.unregister_except(one)
    assert os.listdir("/proc/self/fd") == before


def test_calls_and_processes_after_stop_are_clear_errors() -> None:
    with running_task(SelectTask) as task:
        pass
    with pytest.raises(LoopStoppedError):
        task.call(print)
    with pytest.raises(TaskStoppedError, match="SelectTask starts no more processes"):
        task.popen_communicate(["true"])
    with pytest.raises(LoopStoppedError, match="SelectTask has no loop"):
        task.register_read(0, print)
