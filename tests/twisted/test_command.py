"""CommandTask: what commands write and how they end, told exactly once."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, ProcessFailed, TaskFailedError, TaskStoppedError
from sparts.tasks.twisted import TwistedReactorTask
from sparts.tasks.twisted_command import CommandTask
from sparts.testing.conformance import check_task
from sparts.testing.loops import WAIT
from sparts.testing.running import make_service, running_task, service_of
from sparts.testing.waiting import log_of
from sparts.vtask import RestartPolicy
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated

from tests.children import children
from tests.processes import captured
from tests.threads import in_threads

pytestmark = pytest.mark.usefixtures("own_children")
Pieces = queue.SimpleQueue[Any]


@contextmanager
def commands(*argv: str, **attributes: Any) -> Iterator[CommandTask]:
    """Run a service of a command task with these attributes, and give that."""
    task: Any = type("CommandTask", (CommandTask,), attributes) if attributes else CommandTask
    with running_task(task, *argv) as found:
        yield found


def script(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Told:
    """Callbacks that note what comes."""

    def __init__(self) -> None:
        self.out: list[Any] = []
        self.err: list[Any] = []
        self.ends: Pieces = queue.SimpleQueue()
        self.ready = threading.Event()

    def take(self, _: object, data: Any) -> None:
        self.out.append(data)
        self.ready.set()

    def callbacks(self) -> dict[str, Any]:
        note: Any = lambda _, data: self.err.append(data)  # noqa: E731
        return {"on_stdout": self.take, "on_stderr": note, "on_exit": self.ends.put}

    def end(self) -> Any:
        reason = self.ends.get(timeout=WAIT)
        return reason.value


# -- every end is reported, once -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_thousand_short_children_end_once_each(kind: str) -> None:
    ends: Pieces = queue.SimpleQueue()
    with commands("--twisted-reactor", kind) as task:
        before = descriptors()
        started = [task.run(["true"], on_exit=ends.put) for _ in range(1000)]
        for _ in started:
            assert ends.get(timeout=WAIT).check(ProcessDone)
        assert all(command.result(WAIT).returncode == 0 for command in started)
        assert (task.started(), task.finished(), task.n_running()) == (1000, 1000, 0)
        assert descriptors() == before
        assert children() == []
    assert ends.empty()


def test_finished_counts_before_on_exit() -> None:
    seen: list[tuple[float, bool]] = []
    with commands() as task:
        for number in range(1, 6):
            given: Pieces = queue.SimpleQueue()

            def note(_: object, given: Pieces = given) -> None:
                seen.append((task.finished(), given.get(timeout=WAIT).done()))

            command = task.run("true", on_exit=note)
            given.put(command)
            command.result(WAIT)
            assert seen[-1] == (number, False)


@pytest.mark.parametrize(
    ("command", "ends"),
    [
        (["true"], ProcessDone),
        (["false"], 1),
        (["sh", "-c", "exec >&- 2>&-; exit 3"], 3),  # closes its streams early
        (["sh", "-c", "exec >&- 2>&-; sleep 0.05; exit 4"], 4),
        (["sh", "-c", "kill -9 $$"], "SIGKILL"),
        (["sh", "-c", "sleep 100 & echo $!; exit 5"], 5),  # leaves a grandchild on the pipe
    ],
)
def test_how_it_ends_does_not_matter(command: list[str], ends: Any) -> None:
    with commands(LINGER=0.05) as task:
        told = Told()
        future = task.run(command, **told.callbacks())
        error = told.end()
        failed = future.exception(WAIT)
        assert told.ends.empty()
        assert (task.started(), task.finished()) == (1, 1)
        if told.out:
            os.kill(int(told.out[0]), signal.SIGKILL)
    if ends is ProcessDone:
        assert isinstance(error, ProcessDone)
        assert failed is None
        return
    assert isinstance(error, ProcessTerminated)
    assert isinstance(failed, ProcessFailed)
    if isinstance(ends, int):
        assert (error.exitCode, error.signal, failed.returncode) == (ends, None, ends)
    else:
        number = signal.Signals[ends]
        assert (error.exitCode, error.signal, failed.returncode) == (None, number, -number)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"command": ["/no/such/program"]}, FileNotFoundError),
        ({"command": ["true"], "cwd": "/no/such/folder"}, FileNotFoundError),
        ({"command": ["/etc/passwd"]}, PermissionError),
        ({"command": ["a\0b"]}, ValueError),
    ],
)
def test_what_cannot_be_started_is_told_too(settings: Any, error: Any) -> None:
    with commands() as task:
        before = descriptors()
        told = Told()
        future = task.run(**settings, **told.callbacks())
        assert isinstance(told.end(), error)
        assert isinstance(future.exception(WAIT), error)
        assert (task.started(), task.finished()) == (1, 1)
        assert descriptors() == before


def test_wrong_use_is_an_error_of_the_caller() -> None:
    with commands() as task:
        wrong: Any
        for wrong in ("", []):
            with pytest.raises(ValueError, match="no command"):
                task.run(wrong)
        with pytest.raises(ValueError, match="no user 'nobody-of-that-name'"):
            task.run("true", user="nobody-of-that-name")
        with pytest.raises(ValueError, match="stdin is"):
            task.run("true", stdin=7)
        with pytest.raises(ValueError, match="stdin or input"):
            task.run("cat", stdin=subprocess.DEVNULL, input=b"x")
        with pytest.raises(ValueError, match="5s"):
            task.run("true", kill_timeout="5s")  # type: ignore[arg-type]
        for wrong in ({"encoding": "no-such"}, {"encoding": "utf-8", "errors": "no-such"}):
            with pytest.raises(LookupError):
                task.run("true", print, **wrong)
        assert not task.started()


@pytest.mark.skipif(
    sys.version_info < (3, 11, 4),
    reason="subprocess.Popen of this Python itself leaves descriptors, where there are too few",
)
def test_no_descriptors_are_left_and_end_is_told() -> None:
    """In a process of its own, whose limit is low."""
    text = (
        "import os, resource\n"
        "from tests.twisted.test_command import *\n"
        "with commands() as task:\n"
        "    task.run('true').result(30)\n"
        "    limit = descriptors() + 3\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
        "    futures = [task.run('sleep 100') for _ in range(5)]\n"
        "    for future in futures: assert future.exception(30) is not None, future\n"
        "    assert task.started() == task.finished() == 6, task.finished()\n"
        "    assert children() == []\n"
    )
    done = captured([sys.executable, "-c", text])
    assert done.returncode == 0, done.stderr


# -- output ----------------------------------------------------------------------------------------

SPEAKS = script(
    "import sys; sys.stdout.write('one\\ntwo\\r\\n\\nlast'); sys.stderr.write('gr\\xfcn\\n')"
)


def run(task: CommandTask, command: Any, **settings: Any) -> Told:
    told = Told()
    task.run(command, **told.callbacks(), **settings)
    told.end()
    return told


def test_output_comes_by_line_as_bytes_or_text() -> None:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    with commands() as task:
        told = run(task, SPEAKS, env=environment)
        assert told.out == [b"one", b"two", b"", b"last"]
        assert told.err == ["gr\xfcn".encode()]
        told = run(task, SPEAKS, env=environment, encoding="utf-8")
        assert told.out == ["one", "two", "", "last"]
        assert told.err == ["gr\xfcn"]
        told = run(task, SPEAKS, env=environment, encoding="ascii")
        assert told.err == ["gr��n"]


def test_raw_output_comes_as_it_is_written() -> None:
    with commands() as task:
        told = run(task, ["printf", "a\\nb"], line_buffered=False)
        assert b"".join(told.out) == b"a\nb"
        told = run(task, ["printf", "a\\nb"], line_buffered=False, encoding="utf-8")
        assert "".join(told.out) == "a\nb"


def test_characters_and_lines_are_put_together_whatever_pieces() -> None:
    """Written byte by byte, in an encoding of two bytes and more a character."""
    slow = script(
        "import os, sys\n"
        "for byte in 'gr\\xfcn\\n\\U0001f600\\n'.encode(sys.argv[1]): os.write(1, bytes([byte]))"
    )
    with commands() as task:
        for encoding in ("utf-8", "utf-16-le"):
            for _ in range(3):
                told = run(task, [*slow, encoding], encoding=encoding)
                assert told.out == ["gr\xfcn", "\U0001f600"]


def test_line_that_is_too_long_comes_in_pieces() -> None:
    with commands(MAX_LINE=10) as task:
        told = run(task, ["printf", "0123456789abc\\n0123456789\\nx"])
        assert told.out == [b"0123456789", b"abc", b"0123456789", b"x"]


def test_output_without_callback_is_the_futures() -> None:
    with commands(MAX_OUTPUT=1000) as task, log_of(task.service) as log:
        done = task.run(["sh", "-c", "echo out; echo err >&2"], encoding="utf-8").result(WAIT)
        assert (done.stdout, done.stderr, done.args[0]) == ("out\n", "err\n", "sh")
        taken = Told()
        done = task.run("echo out", taken.callbacks()["on_stdout"]).result(WAIT)
        assert (done.stdout, done.stderr, taken.out) == (None, b"", [b"out"])
        much = task.run(["seq", "1000000"]).result(WAIT)
        assert len(much.stdout) == 1000
        assert much.stdout.endswith(b"\n999999\n1000000\n")
        log.wait_for_line("its first 6887896 bytes were not kept")
        failed = task.run(["sh", "-c", "echo no disk >&2; exit 1"]).exception(WAIT)
        assert str(failed) == "\"sh -c 'echo no disk >&2; exit 1'\" ended with status 1: no disk"


def test_all_output_comes_before_the_end() -> None:
    with commands() as task:
        for _ in range(10):
            told = run(task, ["seq", "20000"])
            assert len(told.out) == 20000


class Own(BaseException):
    """An exception that is no Exception."""


@pytest.mark.parametrize(
    "error", [ValueError, GeneratorExit, CancelledError, asyncio.CancelledError, Own]
)
def test_exception_in_callback_is_logged_and_ends_nothing(error: type[BaseException]) -> None:
    def broken(*_: object) -> None:
        raise error

    with commands() as task, log_of(task.service) as log:
        assert task.run("seq 1000", broken, broken, broken).result(WAIT).returncode == 0
        assert task.n_callback_errors() == 1001
        assert sum("Error in a callback" in line for line in log.items) == 1001
        assert task.run("echo two").result(WAIT).stdout == b"two\n"


BROKEN = ["sh", "-c", "printf 'gr\\374n\\n'; seq 100000; exit 3"]


@pytest.mark.parametrize("by_callback", [True, False])
def test_undecodable_output_ends_the_future(by_callback: bool) -> None:
    with commands() as task:
        told = Told()
        callbacks = told.callbacks()
        if not by_callback:
            del callbacks["on_stdout"]
        failed = task.run(BROKEN, **callbacks, encoding="utf-8", errors="strict").exception(WAIT)
        assert isinstance(failed, UnicodeDecodeError)
        assert told.end().exitCode == 3
        assert told.out == (["gr"] if by_callback else [])
        assert not task.n_running()


@pytest.mark.parametrize("on_stdout", [None, lambda transport, line: None])
def test_way_with_errors_that_raises_ends_the_future(on_stdout: Any) -> None:
    def fail(error: UnicodeError) -> tuple[str, int]:
        raise RuntimeError("no such table") from error

    codecs.register_error("test-command-fails", fail)
    with commands() as task:
        command = task.run(BROKEN, on_stdout, encoding="utf-8", errors="test-command-fails")
        assert isinstance(command.exception(WAIT), RuntimeError)
        assert not task.n_running()


def test_errors_count_for_output_that_is_kept_too() -> None:
    command = ["printf", "gr\\374n"]
    with commands() as task:
        for errors, wanted in (("replace", "gr\ufffdn"), ("ignore", "grn"),
                               ("surrogateescape", "gr\udcfcn")):  # fmt: skip
            for encoding in ("utf-8", None):  # which is then the default
                done = task.run(command, encoding=encoding, errors=errors).result(WAIT)
                assert done.stdout == wanted


def test_kept_text_is_cut_between_characters() -> None:
    with commands(MAX_OUTPUT=3) as task:
        done = task.run(["printf", "gr\xfc\xfc\xfcn"], encoding="utf-8", errors="strict")
        assert done.result(WAIT).stdout == "\xfc\xfcn"


def test_command_may_be_bytes_or_a_path() -> None:
    with commands() as task:
        failed = task.run([b"sh", b"-c", b"exit 3"]).exception(WAIT)
        assert str(failed) == "\"sh -c 'exit 3'\" ended with status 3"
        command = task.run([b"caf\xe9", "no-such"])
        assert isinstance(command.exception(WAIT), FileNotFoundError)
        assert "no-such" in repr(command)
        assert task.run(b"echo one").result(WAIT).stdout == b"one\n"
        assert task.run(Path("/bin/true")).result(WAIT).returncode == 0
        assert task.started() == task.finished()


def test_whatever_goes_wrong_at_end_ends_future(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no memory, or what it may be")

    monkeypatch.setattr("sparts.tasks.twisted_command.task.result_of", fail)
    with commands() as task:
        told = Told()
        with pytest.raises(RuntimeError, match="what it may be"):
            task.run("true", **told.callbacks()).result(WAIT)
        assert isinstance(told.end(), ProcessDone)


@pytest.mark.parametrize("by_transport", [False, True])
def test_group_of_command_takes_signals_from_any_thread(by_transport: bool) -> None:
    with commands() as task:
        command, told = start_ready(task, "trap 'exit 9' TERM; echo ready; sleep 1000 & wait")
        assert command.pid in children()
        assert list(task.outstanding.items()) == [(command, 10.0)]
        if by_transport:
            assert command.transport.pid == command.pid
            task.loop_task.call(command.transport.signalProcess, "TERM").result(WAIT)
        else:
            command.signalProcess("TERM")
        assert told.end().exitCode == 9
        assert command.exception(WAIT).returncode == 9
        assert task.outstanding == {}
        missing = task.run("/no/such/program")
        assert missing.pid is None
        for ended in (command, missing):
            with pytest.raises(ProcessExitedAlready):
                ended.signalProcess("TERM")


def test_command_of_reactor_has_its_pid() -> None:
    def start() -> tuple[Any, list[int]]:
        command = task.run("sleep 1000", kill_timeout=7)
        command.signalProcess("KILL")
        return command, [command.pid or 0]

    with commands() as task:
        command, pids = task.loop_task.call(start).result(WAIT)
        assert pids[0] > 0
        assert command.exception(WAIT).killed
    with pytest.raises(ProcessExitedAlready):
        command.signalProcess("TERM")


def test_system_exit_in_callback_ends_the_service() -> None:
    def leave(_: object) -> None:
        raise SystemExit(3)

    thread = make_service(service_of(CommandTask)).startBG()
    task = thread.service.requireTask(CommandTask)
    task.run("true", on_exit=leave).result(WAIT)
    thread.join(WAIT)
    assert thread.status == 3
    assert task.finished() == 1


# -- what it gets ----------------------------------------------------------------------------------


def test_standard_input_is_empty_or_given() -> None:
    with commands() as task:
        assert task.run("cat").result(WAIT).stdout == b""
        assert task.run("cat", input=b"some").result(WAIT).stdout == b"some"
        much = "gr\xfcn" * 200_000
        assert task.run("wc -c", input=much, encoding="utf-8").result(WAIT).stdout == "1000000\n"
        assert task.run("true", input=much).result(WAIT).returncode == 0  # does not read it
        with pytest.raises(TypeError, match="bytes-like"):
            task.run("cat", input=5)  # type: ignore[arg-type]

        def answer(transport: Any, line: str) -> None:
            answers.append(line)
            if line == "3":
                transport.closeStdin()
            else:
                transport.write(str(int(line) + 1).encode() + b"\n")

        answers: list[str] = []
        command = task.run(
            ["sh", "-c", "echo 1; while read line; do echo $line; done"],
            answer, stdin=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        command.result(WAIT)
        assert answers == ["1", "2", "3"]
        plain = task.run("sleep 100")
        transport: Any = task.loop_task.call(lambda: plain.transport).result(WAIT)
        with pytest.raises(ValueError, match="stdin=PIPE"):
            transport.write(b"x")
        plain.cancel()


def test_it_gets_an_environment_and_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED", "yes")
    with commands() as task:
        assert task.run("env", env={"ONLY": "this"}).result(WAIT).stdout == b"ONLY=this\n"
        assert b"INHERITED=yes" in task.run("env").result(WAIT).stdout
        done = task.run("pwd", cwd=tmp_path, encoding="utf-8").result(WAIT)
        assert done.stdout == f"{tmp_path.resolve()}\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run something as another user")
def test_it_runs_as_another_user_without_our_groups() -> None:
    with commands() as task:
        done = task.run("id", user="nobody", cwd="/", encoding="utf-8").result(WAIT)
        assert "uid=65534(nobody) gid=65534" in done.stdout
        assert "root" not in done.stdout
        done = task.run("id -g", user="nobody", group="daemon", cwd="/").result(WAIT)
        assert done.stdout == b"1\n"


def test_our_descriptors_and_signals_are_not_its() -> None:
    read, write = os.pipe()
    with commands() as task:
        done = task.run("ls /proc/self/fd", encoding="utf-8").result(WAIT)
        assert done.stdout.split() == ["0", "1", "2", "3"]  # the last is the listing's own
    os.close(read)
    os.close(write)


# -- the end of the service ------------------------------------------------------------------------

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 100; done"


def start_ready(task: CommandTask, text: str, **settings: Any) -> tuple[Any, Told]:
    told = Told()
    command = task.run(["sh", "-c", text], **told.callbacks(), **settings)
    assert told.ready.wait(WAIT)
    return command, told


def test_stop_ends_children_by_sigterm() -> None:
    with commands() as task:
        started = [start_ready(task, "trap 'exit 7' TERM; echo ready; sleep 100 & wait")
                   for _ in range(5)]  # fmt: skip
    for command, told in started:
        assert told.ends.get_nowait().value.exitCode == 7
        assert command.exception(0).returncode == 7
    assert task.started() == task.finished() == 5
    assert children() == []


def test_what_ignores_sigterm_gets_sigkill() -> None:
    with commands("--cmd-kill-timeout", "50ms") as task:
        text = "trap '' TERM; (trap '' TERM; sleep 1000) & echo $!; wait; sleep 1000"
        pids: Pieces = queue.SimpleQueue()
        command = task.run(["sh", "-c", text], lambda _, line: pids.put(int(line)))
        pid = pids.get(timeout=WAIT)
        other, _ = start_ready(task, STUBBORN, kill_timeout=0.0)
    for ended in (command, other):
        error: Any = ended.exception(0)
        assert error.returncode == -signal.SIGKILL
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_deadline_of_stop_comes_before_kill_timeout() -> None:
    with commands("--stop-timeout", "2s", "--cmd-kill-timeout", "1h") as task:
        command, _ = start_ready(task, STUBBORN)
    assert command.exception(0).returncode == -signal.SIGKILL


def test_after_the_stop_nothing_is_run() -> None:
    errors: list[BaseException] = []

    class Late(CommandTask):
        def stop_in_loop(self) -> Any:
            stopping = super().stop_in_loop()
            try:
                self.run("true")
            except TaskStoppedError as error:
                errors.append(error)
            return stopping

    with running_task(Late) as task:
        pass
    with pytest.raises(TaskStoppedError, match="Late runs no more commands"):
        task.run("true")
    assert len(errors) == 1
    assert not task.started()


def test_every_run_during_stop_is_refused_or_told() -> None:
    futures: list[Any] = []

    def run_on(task: CommandTask) -> None:
        with contextlib.suppress(TaskStoppedError):
            while True:
                futures.append(task.run("true"))
                futures[-1].exception(WAIT)

    with contextlib.ExitStack() as threads, commands() as task:
        threads.enter_context(in_threads(*[partial(run_on, task)] * 4))
        task.run("true").result(WAIT)
    for future in futures:
        assert isinstance(future.exception(WAIT), TaskStoppedError | ProcessFailed | None)
    assert task.started() == task.finished()
    assert children() == []


def test_cancelling_the_future_ends_the_command() -> None:
    with commands("--cmd-kill-timeout", "50ms") as task:
        for text in ("echo ready; sleep 1000", STUBBORN):
            command, told = start_ready(task, text)
            assert command.cancel()
            assert told.end().signal in (signal.SIGTERM, signal.SIGKILL)
            assert command.cancelled()
        assert task.started() == task.finished()


def test_command_that_was_cancelled_before_it_began() -> None:
    with commands() as task:
        busy = threading.Event()
        task.loop_task.call(busy.wait)
        command = task.run(["sleep", "1000"])
        assert command.cancel()
        busy.set()
        assert not wait([command], 10).not_done
        assert task.started() == 0


def test_commands_outlive_reactor_that_fails_and_is_restarted() -> None:
    class Restarted(TwistedReactorTask):
        RESTART = RestartPolicy("on-failure", first_wait=0.001)

    class Commands(CommandTask):
        LOOP = Restarted

    with running_task(Commands) as task:
        reactor_task: Any = task.loop_task
        text = "trap 'echo two; exit 4' TERM; echo one; sleep 1000 & wait"
        command, told = start_ready(task, text)
        pending = reactor_task.call(Deferred)
        reactor_task.call(reactor_task.reactor.crash)
        assert isinstance(pending.exception(WAIT), LoopStoppedError)
        assert reactor_task.call(int, "7").result(WAIT) == 7
        reactor_task.call(command.transport.signalProcess, "TERM").result(WAIT)
        assert told.end().exitCode == 4
        assert told.out == [b"one", b"two"]
        assert (task.started(), task.finished()) == (1, 1)
    assert children() == []


def test_commands_of_a_failed_reactor_are_killed() -> None:
    thread = make_service(service_of(CommandTask)).startBG()
    task = thread.service.requireTask(CommandTask)
    command, told = start_ready(task, "echo ready; sleep 1000")
    reactor_task: Any = task.loop_task
    reactor_task.call(reactor_task.reactor.crash)
    with pytest.raises(TaskFailedError, match="The reactor ended by itself"):
        thread.join(WAIT)
    assert told.ends.get_nowait().value.signal == signal.SIGKILL
    assert command.exception(0).returncode == -signal.SIGKILL
    assert children() == []


def test_a_command_task_does_what_every_task_must() -> None:
    check_task(CommandTask)
