"""Child processes on the loop of a SelectTask: their output, their input, their end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from sparts.errors import LoopStoppedError, ProcessFailed
from sparts.tasks.children import TextMode, check_input, leads_group, outcome_of, send_signal
from sparts.tasks.outputs import Decoded, Kept, Raw
from sparts.tasks.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sparts.tasks.outputs import Sink
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
        on_stdout: called with each piece of output, a string.
        on_stderr: the same for errors.
        on_exit: called once, with the exit status (negative: the signal that killed it), after all
            output; or, if something else keeps the pipes open, ``task.LINGER`` seconds after the
            end of the process.
        encoding: of the output. With ``text=False`` the pieces are bytes.
        errors: what is done about output of no such encoding, as of ``bytes.decode``. After such
            an error ("strict"), the rest of that output is dropped.
        text: whether the pieces are strings.
        input: what the process reads from its standard input; None leaves that to the caller.
    """

    def __init__(
        self,
        popen: subprocess.Popen[Any],
        task: SelectTask,
        on_stdout: Callable[[Any], object] | None = None,
        on_stderr: Callable[[Any], object] | None = None,
        on_exit: Callable[[int], object] | None = None,
        encoding: str | None = None,
        *,
        errors: str = "replace",
        text: bool = True,
        input: bytes | None = None,
    ) -> None:
        mode = TextMode(encoding or ("utf-8" if text else None), errors)
        sinks = [_sink_of(callback, mode) for callback in (on_stdout, on_stderr)]
        self._start(popen, task, sinks, on_exit, input)

    @classmethod
    def with_sinks(
        cls,
        popen: subprocess.Popen[Any],
        task: SelectTask,
        sinks: list[Sink],
        on_exit: Callable[[int], object],
        input: bytes | None,
    ) -> ProcessStreamHandler:
        """Make a handler that gives the output and the errors, as bytes, to two sinks."""
        handler = cls.__new__(cls)
        handler._start(popen, task, sinks, on_exit, input)
        return handler

    def _start(
        self,
        popen: subprocess.Popen[Any],
        task: SelectTask,
        sinks: list[Sink],
        on_exit: Callable[[int], object] | None,
        input: bytes | None,
    ) -> None:
        self.popen = popen
        self.task = task
        self._on_exit = on_exit
        self._exited = self._ending = False
        self._leads_group = leads_group(popen)
        self._outputs: dict[IO[Any], Sink] = {}
        self._input = memoryview(input) if input is not None and popen.stdin is not None else None
        for stream, sink in zip((popen.stdout, popen.stderr), sinks, strict=True):
            if stream is not None:
                self._outputs[stream] = sink
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
            self._outputs[stream].feed(data)
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
        if self._outputs:  # also if a callback raises
            linger = self.task.LINGER
            self.task.call_later(min(linger, 0.1) if self._ending else linger, self._finish)
        for stream in list(self._outputs):
            for _chunk in range(_MOST_AT_EXIT):
                if not self._readable(stream):
                    break
        if not self._outputs:
            self._finish()

    def _finish(self) -> None:
        """Close everything and report the end, once, whatever a callback raises."""
        with contextlib.ExitStack() as last:
            last.callback(self._report)
            last.callback(self.task.release, self)
            last.callback(self._close_input)
            for stream in reversed(self._outputs):
                last.callback(self._close, stream)
            self._forget_pidfd()

    def _report(self) -> None:
        status = self.popen.wait()
        on_exit, self._on_exit = self._on_exit, None
        if on_exit is not None:
            on_exit(status)

    def _close(self, stream: IO[Any]) -> None:
        sink = self._outputs.pop(stream, None)
        if sink is None:
            return
        with contextlib.suppress(KeyError):
            self.task.unregister_read(stream)
        stream.close()
        sink.end()
        if isinstance(sink, Decoded) and sink.error is not None:
            self.task.logger.warning(
                "The rest of the output of process %d was dropped: %s", self.popen.pid, sink.error
            )

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
        send_signal(self.popen, number, self._leads_group, self.task.logger)


def communicate(
    task: SelectTask, args: tuple[Any, ...], kwargs: dict[str, Any], input: bytes | str | None
) -> Submission:
    """Do what `SelectTask.popen_communicate` says."""
    mode = _mode_of(kwargs)
    check_input(kwargs.get("stdin"), input)
    data = b"" if input is None and kwargs.get("stdin") == subprocess.PIPE else mode.encode(input)
    kwargs.setdefault("stdin", subprocess.DEVNULL if data is None else subprocess.PIPE)
    if kwargs["stdin"] is None and data is not None:
        kwargs["stdin"] = subprocess.PIPE
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    if not kwargs.get("start_new_session"):
        kwargs.setdefault("process_group", 0)
    popen: subprocess.Popen[bytes] = subprocess.Popen(*args, **kwargs)  # noqa: S603 - that is what it is for
    future = Submission()
    kept = [Kept(), Kept()]

    def ended(returncode: int) -> None:
        if not future.set_running_or_notify_cancel():
            return
        streams = zip((popen.stdout, popen.stderr), kept, strict=True)
        try:
            outputs = [None if stream is None else mode.decode(sink.value())
                       for stream, sink in streams]  # fmt: skip
            outcome = outcome_of(popen.args, returncode, *outputs)
        except Exception as error:
            future.set_exception(error)
            return
        if isinstance(outcome, ProcessFailed):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    handler = ProcessStreamHandler.with_sinks(popen, task, [*kept], ended, data)

    def cancelled(future: Future[Any]) -> None:
        if future.cancelled():
            with contextlib.suppress(LoopStoppedError):
                task.call(handler.end, task.KILL_AFTER)

    future.add_done_callback(cancelled)
    return future


def _mode_of(kwargs: dict[str, Any]) -> TextMode:
    """Take what is asked of the output out of the arguments of Popen, which reads bytes then.

    Output is text unless ``text=False``; if nobody asked for that, also what is no text.
    """
    asked = [kwargs.pop(name, None) for name in ("text", "universal_newlines")]
    encoding, errors = kwargs.pop("encoding", None), kwargs.pop("errors", None)
    if encoding is None and errors is None and not any(asked):
        mode = TextMode(None) if False in asked else TextMode(errors="replace")
    else:
        mode = TextMode(encoding or "utf-8", errors or "strict")
    mode.check()
    return mode


def _sink_of(callback: Callable[[Any], object] | None, mode: TextMode) -> Sink:
    """Make what calls back with output; nothing that nobody asked for makes the process wait."""
    sink = Raw(callback or (lambda data: None))
    mode.check()
    return sink if mode.encoding is None else Decoded(sink, mode)
