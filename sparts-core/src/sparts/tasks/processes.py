"""Child processes on the loop of a SelectTask: what calls back, and what gives a future."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Any, Protocol

from sparts.errors import LoopStoppedError
from sparts.tasks.children import Child, ChildLoop, check_input, result_of
from sparts.tasks.forms import told
from sparts.tasks.outputs import Decoded, Raw, TextMode
from sparts.tasks.submission import Submission

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from sparts.tasks.outputs import Sink


class ChildTask(ChildLoop, Protocol):
    """What is needed here of a `sparts.tasks.select.SelectTask`."""

    LINGER: float
    KILL_AFTER: float

    @property
    def logger(self) -> logging.Logger: ...  # noqa: D102

    def adopt(self, child: Child, /) -> None: ...  # noqa: D102
    def release(self, child: Child, /) -> None: ...  # noqa: D102
    def call(self, fn: Callable[..., Any], /, *args: Any) -> Any: ...  # noqa: D102


class _AdoptedChild(Child):
    """A child that its task watches from now on, until its end."""

    def __init__(
        self,
        task: ChildTask,
        popen: subprocess.Popen[Any],
        sinks: Sequence[Sink],
        ended: Callable[[int], object] | None,
        input: bytes | None,
    ) -> None:
        self.task = task
        self._sinks, self._on_exit = sinks, ended
        super().__init__(
            task, popen, sinks, self._report,
            linger=task.LINGER, logger=task.logger, writes=input is not None,
        )  # fmt: skip
        if self._input is not None:
            self._unwritten += input or b""
            self._input_ends = True
        try:
            task.adopt(self)
            try:
                self.watch()
            except ProcessLookupError:
                task.call(self.has_exited)
        except BaseException:
            self.kill_at_once()
            raise

    def _report(self, status: int) -> None:
        self.task.release(self)
        for sink in self._sinks:
            if isinstance(sink, Decoded) and sink.error is not None:
                self.task.logger.warning(
                    "The rest of the output of process %d was dropped: %s",
                    self.popen.pid, sink.error,
                )  # fmt: skip
        if self._on_exit is not None:
            self._on_exit(status)


class ProcessStreamHandler(_AdoptedChild):
    """Watches a process: calls back with what it writes, and when it has ended.

    The callbacks are called in the loop's thread. At the task's stop the process is ended, with
    its process group if it leads one.

    Args:
        popen: a process that was just started; its pipes are the handler's from now on.
        task: the `SelectTask` whose loop to use. It must not be stopping: `TaskStoppedError`, and
            the process has been killed.
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
        task: ChildTask,
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
        mode.check()
        # What nobody asked for is read, too: else the process would wait.
        sinks: list[Sink] = [Raw(give or (lambda data: None)) for give in (on_stdout, on_stderr)]
        if mode.encoding is not None:
            sinks = [Decoded(sink, mode) for sink in sinks]
        super().__init__(task, popen, sinks, on_exit, input)


def communicate(
    task: ChildTask, args: tuple[Any, ...], kwargs: dict[str, Any], input: bytes | str | None
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
    kept: list[list[bytes]] = [[], []]

    def ended(returncode: int) -> None:
        if not future.set_running_or_notify_cancel():
            return
        streams = zip((popen.stdout, popen.stderr), kept, strict=True)
        try:
            outputs = [None if stream is None else mode.decode(b"".join(pieces))
                       for stream, pieces in streams]  # fmt: skip
            result = result_of(popen.args, returncode, *outputs)
        except Exception as error:
            told(task, future.set_exception, error)
        else:
            told(task, future.set_result, result)

    child = _AdoptedChild(task, popen, [Raw(each.append) for each in kept], ended, data)

    def cancelled(future: Future[Any]) -> None:
        if future.cancelled():
            with contextlib.suppress(LoopStoppedError):
                task.call(child.end, task.KILL_AFTER)

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
