"""popen_communicate and ProcessStreamHandler: output, exit and end of child processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import TaskStoppedError
from sparts.tasks.select import ProcessFailed, ProcessResult, ProcessStreamHandler, SelectTask
from sparts.testing.running import running, running_task, service_of
from sparts.vtask import RestartPolicy

from tests.children import children
from tests.core.failing import failing
from tests.core.queue_tasks import variant
from tests.core.scripts import service as script
from tests.processes import await_end

pytestmark = pytest.mark.usefixtures("own_children")
SOON = 30
"""Seconds that something which happens at once may take on a busy machine."""


@pytest.fixture
def task() -> Iterator[SelectTask]:
    with running_task(SelectTask) as task:
        yield task
    assert children() == []


def python(code: str) -> list[str]:
    """Give the command that runs a piece of Python."""
    return [sys.executable, "-c", code]


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that only its parent has yet to see counts, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Handled:
    """A process whose output, errors and exit a handler puts into queues."""

    def __init__(
        self, task: SelectTask, command: str, stdin: int | None = None, **settings: Any
    ) -> None:
        self.output: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.errors: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.popen = subprocess.Popen(
            command, shell=True, stdin=stdin, stdout=-1, stderr=-1, process_group=0
        )
        callbacks = (self.output.put, self.errors.put, self.statuses.put)
        ProcessStreamHandler(self.popen, task, *callbacks, **settings)

    def said(self) -> str:
        """What has come of its output."""
        return "".join(self.output.get() for _ in range(self.output.qsize()))


def test_result_has_output_errors_and_status(task: SelectTask) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr)"
    done = task.popen_communicate(python(code)).result(SOON)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 0)


def test_text_comes_as_popen_would_give_it(task: SelectTask) -> None:
    code = "import sys; sys.stdout.buffer.write('ä\\r\\nb'.encode('latin-1'))"
    done = task.popen_communicate(python(code), encoding="latin-1").result(SOON)
    assert (done.stdout, done.stderr) == ("ä\nb", "")


def test_invalid_text_output_is_replaced_by_default(task: SelectTask) -> None:
    code = "import sys; sys.stdout.buffer.write(b'\\xffgr\\xc3\\xbcn')"
    assert task.popen_communicate(python(code)).result(SOON).stdout == "\ufffdgr\xfcn"
    assert task.popen_communicate(python(code), text=False).result(SOON).stdout == (
        b"\xffgr\xc3\xbcn"
    )
    ignored = task.popen_communicate(python(code), errors="ignore").result(SOON)
    assert ignored.stdout == "gr\xfcn"
    for settings in ({"text": True}, {"encoding": "utf-8"}):
        failed = task.popen_communicate(python(code), **settings)
        assert isinstance(failed.exception(SOON), UnicodeDecodeError)


@pytest.mark.parametrize(
    "settings", [{"encoding": "no-such"}, {"errors": "no-such"}, {"encoding": "hex"}]
)
def test_unknown_encoding_is_an_error_of_the_caller(task: SelectTask, settings: Any) -> None:
    with pytest.raises(LookupError):
        task.popen_communicate(["true"], **settings)
    assert not task.n_children()


def test_input_beside_another_standard_input_is_refused(task: SelectTask) -> None:
    with open(os.devnull) as file:
        for stdin in (file, file.fileno(), subprocess.DEVNULL):
            with pytest.raises(ValueError, match="stdin or input"):
                task.popen_communicate(["cat"], stdin=stdin, input="x")
    for settings in ({"stdin": subprocess.PIPE}, {"stdin": None}, {}):
        assert task.popen_communicate(["cat"], input="x", **settings).result(SOON).stdout == "x"


def test_input_of_no_bytes_starts_no_process(task: SelectTask) -> None:
    wrong: Any
    for wrong in (5, ["x"]):
        with pytest.raises(TypeError, match="bytes-like"):
            task.popen_communicate(["cat"], input=wrong)
        assert children() == []


def test_other_status_is_process_failed(task: SelectTask) -> None:
    code = "import sys; print('out'); print('first\\nlast', file=sys.stderr); sys.exit(3)"
    with pytest.raises(ProcessFailed, match="ended with status 3: last") as caught:
        task.popen_communicate(python(code)).result(SOON)
    error = caught.value
    assert (error.returncode, error.stdout, error.stderr) == (3, "out\n", "first\nlast\n")
    assert error.command == python(code)
    assert (error.result.stdout, error.result.returncode, error.killed) == ("out\n", 3, False)
    assert isinstance(error.result, ProcessResult)


def test_process_that_a_signal_killed_has_failed(task: SelectTask) -> None:
    with pytest.raises(ProcessFailed, match="was killed by signal 9") as caught:
        task.popen_communicate("kill -9 $$", shell=True).result(SOON)
    assert (caught.value.returncode, caught.value.killed) == (-9, True)


def test_missing_program_is_an_error_of_the_caller(task: SelectTask) -> None:
    with pytest.raises(FileNotFoundError):
        task.popen_communicate(["/no/such/program"])


def test_large_outputs_come_whole_on_both_streams(task: SelectTask) -> None:
    code = "import sys; sys.stdout.write('o' * 20_000_000); sys.stderr.write('e' * 5_000_000)"
    done = task.popen_communicate(python(code)).result(SOON)
    assert done.stdout == "o" * 20_000_000
    assert done.stderr == "e" * 5_000_000


def test_large_input_goes_in_while_output_comes_out(task: SelectTask) -> None:
    data = os.urandom(3_000_000)
    done = task.popen_communicate(["cat"], input=data, text=False).result(SOON)
    assert done.stdout == data
    assert task.popen_communicate(["cat"], input="text", text=True).result(SOON).stdout == "text"


def test_process_without_reading_ends_all_the_same(task: SelectTask) -> None:
    done = task.popen_communicate(["true"], input=b"x" * 3_000_000).result(SOON)
    assert done.returncode == 0


@pytest.mark.parametrize("settings", [{}, {"stdin": subprocess.PIPE}])
def test_process_without_input_reads_the_end(task: SelectTask, settings: Any) -> None:
    assert task.popen_communicate(["cat"], **settings).result(SOON).stdout == ""


def test_process_with_closed_streams_is_awaited(task: SelectTask) -> None:
    code = (
        "import os, sys; print('out', flush=True); os.close(1); os.close(2); input(); sys.exit(4)"
    )
    read, write = os.pipe()
    future = task.popen_communicate(python(code), stdin=read)
    os.close(read)
    [child] = task._children
    while child._outputs:
        os.sched_yield()
    assert task.call(lambda: 5).result(SOON) == 5  # the loop does not wait for the process
    assert not future.done()
    os.write(write, b"\n")
    os.close(write)
    with pytest.raises(ProcessFailed) as caught:
        future.result(SOON)
    assert (caught.value.returncode, caught.value.stdout) == (4, "out\n")


@pytest.mark.parametrize("command", ["sleep 1000 & echo $! >&2", "yes & echo $! >&2"])
def test_exit_is_reported_although_grandchild_keeps_pipe_open(command: str) -> None:
    with running_task(variant(SelectTask, LINGER=0.01)) as task:
        done = task.popen_communicate(command, shell=True).result(SOON)
        if "sleep" in command:  # a flood ends when nobody reads it any more
            assert not gone(int(done.stderr))
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(done.stderr), signal.SIGKILL)
    assert children() == []


def test_flood_of_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_task(variant(SelectTask, LINGER=0.01)) as task:
        handled = Handled(task, "sleep 1000 & echo $!; read line", subprocess.PIPE)
        grandchild = int(handled.output.get(timeout=SOON))
        assert handled.popen.stdin is not None
        assert handled.popen.stdout is not None
        flooded, read = handled.popen.stdout.fileno(), os.read
        monkeypatch.setattr(
            os, "read", lambda fd, size: b"x" if fd == flooded else read(fd, size)
        )  # fmt: skip
        handled.popen.stdin.close()
        handled.statuses.get(timeout=SOON)
        monkeypatch.undo()
        os.kill(grandchild, signal.SIGKILL)


def test_no_zombie_stays_while_others_keep_pipe_open() -> None:
    with running_task(variant(SelectTask, LINGER=1000.0)) as task:
        future = task.popen_communicate("sleep 1000 & echo $! >&2; exec 2>&-", shell=True)
        [child] = task._children
        while child.popen.returncode is None:
            os.sched_yield()
        assert children() == []
        assert not future.done()
        task.call(os.killpg, child.popen.pid, signal.SIGKILL).result(SOON)
        grandchild = int(future.result(SOON).stderr)
        await_end(grandchild)


def test_many_processes_at_once_leave_no_zombie(task: SelectTask) -> None:
    futures = [task.popen_communicate(["echo", str(number)]) for number in range(50)]
    assert [int(future.result(SOON).stdout) for future in futures] == list(range(50))
    assert task.n_children() == 0
    assert children() == []


def test_coroutine_awaits_a_process(task: SelectTask) -> None:
    async def main() -> Any:
        return await task.popen_communicate(["echo", "hello"])

    assert asyncio.run(main()).stdout == "hello\n"


def test_raising_callback_of_future_is_logged(task: SelectTask) -> None:
    class Odd(BaseException):
        pass

    def fail(_: object) -> None:
        raise Odd

    future = task.popen_communicate(["cat"], stdin=subprocess.PIPE)
    future.add_done_callback(fail)
    assert future.result(SOON).returncode == 0
    assert task.popen_communicate(["echo", "after"]).result(SOON).stdout == "after\n"


def test_cancelling_the_future_ends_the_process(task: SelectTask) -> None:
    future = task.popen_communicate(["sleep", "1000"])
    [pid] = [child.popen.pid for child in task._children]
    assert future.cancel()
    await_end(pid)
    with pytest.raises(CancelledError):
        future.result()


# -- at the stop -----------------------------------------------------------------------------------


def test_processes_get_sigterm_at_the_stop() -> None:
    with running_task(SelectTask) as task:
        future = task.popen_communicate(["sleep", "1000"])
    with pytest.raises(ProcessFailed, match="was killed by signal 15"):
        future.result(0)
    assert children() == []


def test_process_may_end_itself_in_order_at_stop() -> None:
    code = "trap 'echo bye; exit 0' TERM; echo ready >&2; while :; do sleep 0.01; done"
    with running_task(SelectTask) as task:
        handled = Handled(task, code)
        assert handled.errors.get(timeout=SOON) == "ready\n"
    assert (handled.said(), handled.statuses.get()) == ("bye\n", 0)
    assert children() == []


def test_process_that_ignores_sigterm_is_killed() -> None:
    code = "trap '' TERM; (trap '' TERM; sleep 1000) & echo $! >&2; sleep 1000; sleep 1000"
    with running_task(variant(SelectTask, KILL_AFTER=0.01)) as task:
        handled = Handled(task, code)
        grandchild = int(handled.errors.get(timeout=SOON))
    assert handled.statuses.get() == -9
    await_end(grandchild)
    assert children() == []


def test_grandchild_that_ignores_sigterm_is_killed() -> None:
    code = "(trap '' TERM; echo $$ >&2; exec sleep 1000) & echo $! >&2; exec sleep 1000"
    with running_task(SelectTask) as task:
        handled = Handled(task, code)
        lines = ""
        while lines.count("\n") < 2:
            lines += handled.errors.get(timeout=SOON)
    for pid in set(map(int, lines.split())):
        await_end(pid)


def test_processes_get_less_time_in_short_stops() -> None:
    with running_task(variant(SelectTask, STOP_TIMEOUT=2.0, KILL_AFTER=1000.0)) as task:
        handled = Handled(task, "trap '' TERM; echo ready >&2; sleep 1000; sleep 1000")
        assert handled.errors.get(timeout=SOON) == "ready\n"
    assert handled.popen.returncode == -9


def test_process_is_killed_when_the_loop_has_failed() -> None:
    def broken(fd: object) -> None:
        raise ValueError("broken callback")

    read, write = os.pipe()
    with failing(SelectTask, match="broken callback") as task:
        future = task.popen_communicate(["sleep", "1000"])
        task.register_read(read, broken)
        os.write(write, b"x")
    os.close(read)
    os.close(write)
    assert isinstance(future.exception(SOON), ProcessFailed)
    assert children() == []


def test_processes_do_not_outlive_a_second_signal(tmp_path: Path) -> None:
    body = """
from sparts.tasks.select import SelectTask
class Patient(SelectTask):
    KILL_AFTER = 1000.0
    def initTask(self):
        super().initTask()
        self.popen_communicate("trap '' TERM; echo $$ >child; sleep 1000; sleep 1000", shell=True)
    def _end_children(self):
        super()._end_children()
        say("told")
"""
    os.mkfifo(tmp_path / "child")
    with script(tmp_path, body) as process:
        child = int((tmp_path / "child").read_text())
        process.read_until_started()
        process.process.send_signal(signal.SIGTERM)
        process.read_until("told")
        assert process.stop_again(signal.SIGTERM) == 70
    await_end(child)


# -- ProcessStreamHandler --------------------------------------------------------------------------


def test_handler_reports_output_and_exit_in_loop(task: SelectTask) -> None:
    seen: queue.SimpleQueue[tuple[str, Any, threading.Thread]] = queue.SimpleQueue()

    def note(kind: str) -> Any:
        return lambda value: seen.put((kind, value, threading.current_thread()))

    popen = subprocess.Popen("echo out; echo err >&2; exit 5", shell=True, stdout=-1, stderr=-1)
    ProcessStreamHandler(popen, task, note("out"), note("err"), note("exit"))
    events = [seen.get(timeout=SOON) for _ in range(3)]
    assert {event[:2] for event in events[:2]} == {("out", "out\n"), ("err", "err\n")}
    assert events[2][:2] == ("exit", 5)
    assert {event[2] for event in events} == {task.threads[0]}


def test_output_comes_as_it_is_written(task: SelectTask) -> None:
    output: queue.SimpleQueue[str] = queue.SimpleQueue()
    popen = subprocess.Popen(["cat"], stdin=-1, stdout=-1)
    ProcessStreamHandler(popen, task, on_stdout=output.put)
    assert popen.stdin is not None
    for word in ("one", "two"):
        os.write(popen.stdin.fileno(), word.encode())
        assert output.get(timeout=SOON) == word
    popen.stdin.close()
    deaf = subprocess.Popen(["head", "-c", "1000000", "/dev/zero"], stdout=-1)
    statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
    ProcessStreamHandler(deaf, task, on_exit=statuses.put)
    assert statuses.get(timeout=SOON) == 0


def test_process_awaited_elsewhere_is_reported(task: SelectTask) -> None:
    popen = subprocess.Popen("echo out; exit 3", shell=True, stdout=-1)
    popen.wait()
    output: list[str] = []
    statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
    ProcessStreamHandler(popen, task, output.append, on_exit=statuses.put)
    assert statuses.get(timeout=SOON) == 3
    assert output == ["out\n"]


def test_process_that_comes_too_late_is_killed(task: SelectTask) -> None:
    with running(service_of(SelectTask)) as service:
        late = service.requireTask(SelectTask)
    popen = subprocess.Popen(["sleep", "1000"], stdout=-1)
    with pytest.raises(TaskStoppedError):
        ProcessStreamHandler(popen, late)
    assert popen.returncode == -9
    assert task.running


def test_handler_gives_text_in_its_encoding_or_bytes(
    task: SelectTask, caplog: pytest.LogCaptureFixture
) -> None:
    """Characters that come in two pieces are put together."""
    code = "import os\nfor byte in 'gr\xfcn'.encode('{}'): os.write(1, bytes([byte]))"

    def said(written: str, **settings: Any) -> list[Any]:
        handled = Handled(task, shlex.join(python(code.format(written))), **settings)
        assert handled.statuses.get(timeout=SOON) == 0
        return [handled.output.get() for _ in range(handled.output.qsize())]

    assert "".join(said("utf-8")) == "gr\xfcn"
    assert "".join(said("latin-1", encoding="latin-1")) == "gr\xfcn"
    assert "".join(said("latin-1")) == "gr\ufffdn"
    assert "".join(said("latin-1", errors="strict")) == "gr"
    assert "was dropped: 'utf-8' codec can't decode byte 0xfc" in caplog.text
    assert b"".join(said("latin-1", text=False)) == b"gr\xfcn"


def test_raising_callback_keeps_no_process_alive() -> None:
    """Not even if something else keeps the pipe open."""

    class Restarted(SelectTask):
        RESTART = RestartPolicy("on-failure", first_wait=0.001)
        LINGER = 0.01

    def fail(data: str) -> None:
        pids.put(int(data))
        raise ValueError("no")

    pids: queue.SimpleQueue[int] = queue.SimpleQueue()
    statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
    with running_task(Restarted) as task:
        popen = subprocess.Popen("sleep 1000 & echo $!; exit 3", shell=True, stdout=-1)
        popen.wait()  # the output is read after the end
        ProcessStreamHandler(popen, task, fail, on_exit=statuses.put)
        assert statuses.get(timeout=SOON) == 3
        os.kill(pids.get(timeout=SOON), signal.SIGKILL)
        assert not task.n_children()
