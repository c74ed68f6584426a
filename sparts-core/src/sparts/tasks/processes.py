"""Child processes on the loop of a SelectTask: their output, their input, their end."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from sparts.errors import LoopStoppedError, ProcessFailed
from sparts.tasks.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sparts.tasks.select import SelectTask

_CHUNK = 65536
_MOST_AT_EXIT = 256  # chunks that are read at once when a process has ended


class ProcessStreamHandler:
    """Watches a process: calls back with what it writes, and when it has ended.

    The callbacks are called in the loop's thread. At the task's stop the process is ended, with
    its process group if it leads one.

    Args:
        popen: a process that was just started; its pipes are the handler's from now on.
        task: whose loop to use. It must not be stopping: `TaskStoppedError`, and the process has
            been killed.
        on_stdout: called with each piece of output, bytes.
        on_stderr: the same for errors.
        on_exit: called once, with the exit status (negative: the signal that killed it), after all
            output; or, if something else keeps the pipes open, ``task.LINGER`` seconds after the
            end of the process.
        input: what the process reads from its standard input; None leaves that to the caller.
    """

    def __init__(
        self,
        popen: subprocess.Popen[Any],
        task: SelectTask,
        on_stdout: Callable[[bytes], object] | None = None,
        on_stderr: Callable[[bytes], object] | None = None,
        on_exit: Callable[[int], object] | None = None,
        input: bytes | None = None,
    ) -> None:
        self.popen = popen
        self.task = task
        self._on_exit = on_exit
        self._exited = self._ending = False
        self._leads_group = _leads_group(popen)
        self._outputs: dict[IO[Any], Callable[[bytes], object]] = {}
        self._input = memoryview(input) if input is not None and popen.stdin is not None else None
        for stream, callback in ((popen.stdout, on_stdout), (popen.stderr, on_stderr)):
            if stream is not None:
                self._outputs[stream] = callback or _ignore
        self._pidfd: int | None = None
        try:
            task.adopt(self)
            self._watch()
        except BaseException:
            self.kill_at_once()
            raise

    def _watch(self) -> None:
        for stream in list(self._outputs):
            os.set_blocking(stream.fileno(), False)
            self.task.register_read(stream, self._readable)
        if self._input is not None and self.popen.stdin is not None:
            os.set_blocking(self.popen.stdin.fileno(), False)
            self.task.register_write(self.popen.stdin, self._writable)
        try:
            if self.popen.returncode is not None:
                raise ProcessLookupError
            self._pidfd = os.pidfd_open(self.popen.pid)
            self.task.register_read(self._pidfd, self._has_exited)
        except ProcessLookupError:  # somebody has asked for its status already
            self.task.call(self._has_exited, None)

    def end(self, grace: float) -> None:
        """Send SIGTERM now, and SIGKILL in ``grace`` seconds; only in the loop's thread."""
        self._ending = True
        self._signal(signal.SIGTERM)
        self.task.call_later(grace, partial(self._signal, signal.SIGKILL))

    def kill(self) -> None:
        """Send SIGKILL; from any thread."""
        self._signal(signal.SIGKILL)

    def kill_at_once(self) -> None:
        """Kill it and wait for its end, without the loop."""
        self.kill()
        self._finish()

    # -- in the loop's thread ----------------------------------------------------------------------

    def _readable(self, stream: IO[Any]) -> bool:
        """Read a piece of output; return whether there may be more just now."""
        try:
            data = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # the other end of a terminal is gone
            data = b""
        if data:
            self._outputs[stream](data)
            return True
        self._close(stream)
        if self._exited and not self._outputs:
            self._finish()
        return False

    def _writable(self, stream: IO[Any]) -> None:
        try:
            assert self._input is not None  # noqa: S101 - else it is not registered
            self._input = self._input[os.write(stream.fileno(), self._input[:_CHUNK]) :]
            if self._input:
                return
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass  # it does not want to read it all
        self._close_input()

    def _has_exited(self, _: object) -> None:
        if self._ending:
            self._signal(signal.SIGKILL)  # what is left of its group; its number is still taken
        self._forget_pidfd()
        self.popen.wait()
        self._exited = True
        for stream in list(self._outputs):
            for _chunk in range(_MOST_AT_EXIT):
                if not self._readable(stream):
                    break
        if self._outputs:
            linger = self.task.LINGER
            self.task.call_later(min(linger, 0.1) if self._ending else linger, self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        """Report the end, once."""
        on_exit, self._on_exit = self._on_exit, None
        self._forget_pidfd()
        for stream in list(self._outputs):
            self._close(stream)
        self._close_input()
        self.task.release(self)
        if on_exit is not None:
            on_exit(self.popen.wait())
        else:
            self.popen.wait()

    def _close(self, stream: IO[Any]) -> None:
        del self._outputs[stream]
        with contextlib.suppress(KeyError):
            self.task.unregister_read(stream)
        stream.close()

    def _close_input(self) -> None:
        if self._input is not None and self.popen.stdin is not None:
            self._input = None
            with contextlib.suppress(KeyError):
                self.task.unregister_write(self.popen.stdin)
            with contextlib.suppress(BrokenPipeError):
                self.popen.stdin.close()

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(KeyError):
                self.task.unregister_read(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _signal(self, number: signal.Signals) -> None:
        if self.popen.returncode is not None:
            return
        try:
            if self._leads_group:
                os.killpg(self.popen.pid, number)
            else:
                self.popen.send_signal(number)
        except ProcessLookupError:
            pass
        except PermissionError:
            self.task.logger.warning(
                "Process %d belongs to somebody else: %s has no effect", self.popen.pid, number.name
            )


def communicate(
    task: SelectTask, args: tuple[Any, ...], kwargs: dict[str, Any], input: bytes | str | None
) -> Submission:
    """Do what `SelectTask.popen_communicate` says."""
    kwargs.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    if not kwargs.get("start_new_session"):
        kwargs.setdefault("process_group", 0)
    popen: subprocess.Popen[Any] = subprocess.Popen(*args, **kwargs)  # noqa: S603 - that is what it is for
    future = Submission()
    outputs: list[list[bytes]] = [[], []]
    decoders = [_decoder(popen.stdout), _decoder(popen.stderr)]
    data = (
        input.encode(getattr(popen.stdin, "encoding", "utf-8")) if isinstance(input, str) else input
    )

    def ended(returncode: int) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            texts = [
                decode(b"".join(parts)) for decode, parts in zip(decoders, outputs, strict=True)
            ]
            if returncode:
                raise ProcessFailed(popen.args, returncode, *texts)
            future.set_result(subprocess.CompletedProcess(popen.args, returncode, *texts))
        except Exception as error:
            future.set_exception(error)

    handler = ProcessStreamHandler(
        popen, task, outputs[0].append, outputs[1].append, ended, input=data
    )

    def cancelled(future: Future[Any]) -> None:
        if future.cancelled():
            with contextlib.suppress(LoopStoppedError):
                task.call(handler.end, task.KILL_AFTER)

    future.add_done_callback(cancelled)
    return future


def _decoder(stream: IO[Any] | None) -> Callable[[bytes], Any]:
    """Return what makes of the bytes of a stream what its Popen was asked for."""
    if stream is None:
        return lambda data: None
    if not isinstance(stream, io.TextIOWrapper):
        return lambda data: data
    encoding, errors = stream.encoding, stream.errors or "strict"
    return lambda data: data.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def _leads_group(popen: subprocess.Popen[Any]) -> bool:
    try:
        return os.getpgid(popen.pid) == popen.pid
    except ProcessLookupError:
        return False


def _ignore(_: bytes) -> None:
    """Take no notice of output that nobody asked for, so that the process does not wait."""
