"""CommandTask: runs commands, and reports their output and their ends."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import CallbackCounter, counter, own
from sparts.errors import LoopStoppedError, TaskStoppedError
from sparts.option_types import duration
from sparts.options import Option, option
from sparts.tasks.children import around_command, check_input, result_of
from sparts.tasks.outputs import Decoded, Raw, TextMode
from sparts.tasks.twisted import TwistedTask
from sparts.tasks.twisted_command.outputs import Kept, Lines
from sparts.tasks.twisted_command.process import CommandTransport, identity, reason_of
from twisted.internet.error import ProcessExitedAlready
from twisted.python import threadable
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sparts.tasks.outputs import Sink
    from sparts.vservice import VService

    OnOutput = Callable[[CommandTransport, Any], object]
    OnExit = Callable[[Failure], object]


class Command(Future["subprocess.CompletedProcess[Any]"]):
    """A command that runs, and the future of its end.

    The result is a `subprocess.CompletedProcess`, with the output that no callback took.
    `ProcessFailed`: it ended otherwise than with status 0. `OSError`: it could not be started.
    `UnicodeDecodeError`: its output is no text of the encoding. Cancelling it ends the process, by
    SIGTERM and SIGKILL.

    Attributes:
        arguments: what runs.
        transport: the process, once it has been started; None before.
    """

    def __init__(self, task: CommandTask, arguments: list[str | bytes]) -> None:
        super().__init__()
        self.arguments = arguments
        self.transport: CommandTransport | None = None
        self._task = task
        self._started = threading.Event()
        self.add_done_callback(lambda _: self._started.set())

    @property
    def pid(self) -> int | None:
        """The number of the process, from any thread; waits until it has been started.

        None if it could not be.
        """
        self._started.wait()
        return None if self.transport is None else self.transport.pid

    def signalProcess(self, signalID: str | int) -> None:  # noqa: N802, N803 - Twisted's
        """Send a signal to its process group: ``"TERM"``, ``"KILL"``, ``"INT"``, or a number.

        From any thread; waits until the signal has been sent. ProcessExitedAlready: it has ended,
        or could not be started.
        """
        self._started.wait()
        if self.transport is None:
            raise ProcessExitedAlready
        if threadable.isInIOThread():
            self.transport.signalProcess(signalID)
            return
        try:
            self._task.loop_task.call(self.transport.signalProcess, signalID).result()
        except LoopStoppedError:
            raise ProcessExitedAlready from None

    def begun(self, transport: CommandTransport) -> None:
        """Note that the process has been started; called by the task."""
        self.transport = transport
        self._started.set()

    def end(self, outcome: Any) -> None:
        """End with a result or an exception, unless it was cancelled; called by the task."""
        if not self.set_running_or_notify_cancel():
            return
        if isinstance(outcome, BaseException):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)

    def __repr__(self) -> str:
        state = "ended" if self.done() else "waiting" if self.transport is None else "running"
        return f"<{type(self).__name__} {shlex.join(map(os.fsdecode, self.arguments))!r} {state}>"


@dataclass
class _Run:
    """What `CommandTask.run` was asked for."""

    command: Command
    takers: list[Sink]
    """What takes its output and its errors: `Kept` where no callback does."""
    sinks: list[Sink]
    """What makes text of them before, if it is wanted."""
    on_exit: OnExit | None
    settings: dict[str, Any]
    opens_stdin: bool
    input: bytes | None
    kill_timeout: float | None

    def __post_init__(self) -> None:
        if self.kill_timeout is not None:  # what is no number must not fail a stop
            self.kill_timeout = max(0.0, float(self.kill_timeout))


class CommandTask(TwistedTask):
    """Runs commands, each in a process group of its own, and calls back in the reactor's thread.

    At the stop, the process groups get SIGTERM, and SIGKILL if they do not end. The reactor runs
    until the end of each was reported. An exception in a callback is logged and counted, and ends
    nothing.
    """

    OPT_PREFIX: ClassVar[str | None] = "cmd"
    CALL_KIND: ClassVar[str] = "command"
    MAX_LINE: int = 65536
    """Bytes of the longest line that is given as a whole."""
    MAX_OUTPUT: int = 1 << 20
    """Bytes (of text, characters) of the output that no callback takes, and of such errors, that
    are kept: the last."""
    LINGER: float = 1.0
    """Seconds that the output of a process is read after its end, if others keep it open."""

    kill_timeout: Option[float] = option(
        type=duration,
        default=10.0,
        metavar="DURATION",
        help="time from SIGTERM to SIGKILL for a process, when the task stops",
        advanced=True,
    )

    started: counter = counter(help="Commands that were run.")
    finished: counter = counter(help="Commands whose end was reported.")
    n_running: CallbackCounter = CallbackCounter(
        lambda self: len(self._runs), help="Commands that run now."
    )
    n_callback_errors: counter = counter(help="Exceptions in callbacks.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        # In the reactor's thread: what runs, with the seconds from SIGTERM to SIGKILL.
        self._runs: dict[CommandTransport, tuple[_Run, float]] = {}

    @property
    def outstanding(self) -> dict[Command, float]:
        """The commands that run now, with the seconds from SIGTERM to SIGKILL; from any thread."""
        return {run.command: grace for run, grace in list(self._runs.values())}

    def run(
        self,
        command: str | bytes | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str]],
        on_stdout: OnOutput | None = None,
        on_stderr: OnOutput | None = None,
        on_exit: OnExit | None = None,
        line_buffered: bool = True,
        kill_timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        stdin: int | None = None,
        input: bytes | str | None = None,
        encoding: str | None = None,
        errors: str | None = None,
    ) -> Command:
        """Run a command; from any thread. The callbacks are called in the reactor's.

        Args:
            command: the program and its arguments; a string is split as a shell does it, but no
                shell runs (for that: ``["sh", "-c", text]``).
            on_stdout: called as ``on_stdout(transport, data)`` with the output.
            on_stderr: the same for errors.
            on_exit: called as ``on_exit(reason)`` after all output, with a Twisted ``Failure``:
                ``ProcessDone``; ``ProcessTerminated``, with ``exitCode`` or ``signal``; `OSError`
                if it could not be started.
            line_buffered: whether data comes by line, without its end, or as it is written.
            kill_timeout: seconds from SIGTERM to SIGKILL; None: the task's option.
            env: its whole environment; None: ours.
            cwd: its working directory.
            user: the user to run it as, with that user's groups; needs root.
            group: another group for it.
            stdin: ``subprocess.PIPE`` for a transport that can ``write``; None: nothing to read.
            input: what it reads from its standard input.
            encoding: of its output, which is text then; None: bytes, or UTF-8 with ``errors``.
            errors: as of ``bytes.decode``; None: "replace". With "strict" the rest of an output
                that is no text is dropped, and the future ends with the error.

        Raises:
            TaskStoppedError: the task is stopping, or has stopped.
            ValueError: there is nothing to run, or no such user; both input and another standard
                input are given; or ``kill_timeout`` is no number.
            LookupError: there is no such encoding.
            CallRefusedError: a plugin refuses it.
        """
        if self._supervisor.stop_event.is_set():
            raise self._too_late()
        future = Command(self, _arguments_of(command))
        text = TextMode(encoding or ("utf-8" if errors else None), errors or "replace")
        text.check()
        check_input(stdin, input)
        on_stdout, on_stderr, on_exit = map(_in_this_context, (on_stdout, on_stderr, on_exit))
        takers = [self._taker(future, on, line_buffered, text) for on in (on_stdout, on_stderr)]
        sinks: list[Sink] = [Decoded(taker, text) if text.encoding else taker for taker in takers]
        data, settings = text.encode(input), {"env": env, "cwd": cwd, **identity(user, group)}
        opens = data is not None or _is_pipe(stdin)
        run = _Run(future, takers, sinks, on_exit, settings, opens, data, kill_timeout)
        return around_command(self, future.arguments, partial(self._call, run))

    def _call(self, run: _Run) -> Command:
        """Start a command in the reactor's thread, which may end before."""
        if self.loop_task.open and threadable.isInIOThread():
            self._start(run)
            return run.command

        def ended(call: Future[None]) -> None:
            error = call.exception()
            if error is not None:
                stopped = isinstance(error, LoopStoppedError)
                run.command.end(self._too_late() if stopped else error)

        try:
            self.loop_task.call(self._start, run).add_done_callback(ended)
        except LoopStoppedError:
            raise self._too_late() from None
        return run.command

    def _too_late(self) -> TaskStoppedError:
        return TaskStoppedError(f"{self.name} runs no more commands: it is stopping.")

    # -- in the reactor's thread -------------------------------------------------------------------

    def _taker(self, future: Command, on: OnOutput | None, by_line: bool, text: TextMode) -> Sink:
        is_text = text.encoding is not None
        if on is None:
            return Kept(self.MAX_OUTPUT, is_text)

        def give(data: Any) -> None:
            self._call_back(on, future.transport, data)

        return Lines(give, self.MAX_LINE, is_text) if by_line else Raw(give)

    def _start(self, run: _Run) -> None:
        if run.command.cancelled():
            run.command.end(None)  # so that `concurrent.futures.wait` ends
            return
        if self._supervisor.stop_event.is_set():
            run.command.end(self._too_late())
            return
        self.started.increment()
        try:
            transport = CommandTransport(
                self.reactor, run.command.arguments, run.sinks, run.settings, run.opens_stdin,
                self.LINGER, partial(self._ended, run),
            )  # fmt: skip
        except Exception as error:  # a fault of the program, or of the user that it runs as
            self._tell(run, Failure(error), error)
            return
        run.command.begun(transport)
        grace: float = self.kill_timeout if run.kill_timeout is None else run.kill_timeout
        self._runs[transport] = run, grace
        run.command.add_done_callback(partial(self._cancelled, transport, grace))
        try:
            transport.child.watch()
        except OSError:  # there are no descriptors left
            self.logger.exception("%r cannot be watched, and is killed", run.command)
            transport.child.kill_at_once()
            return
        if run.input is not None:
            transport.write(run.input)
            transport.closeStdin()

    def _ended(self, run: _Run, status: int) -> None:
        """Report the end of a process; called once for each."""
        transport = run.command.transport
        assert transport is not None  # noqa: S101 - it has run
        del self._runs[transport]
        outcome: Any
        try:
            outcome = self._outcome(run, status)
        except Exception as error:  # whatever it is, the end is reported
            outcome = error
        self._tell(run, reason_of(status), outcome)

    def _outcome(self, run: _Run, status: int) -> Any:
        for sink in run.sinks:
            if isinstance(sink, Decoded) and sink.error is not None:
                return sink.error
        arguments = run.command.arguments
        command = shlex.join(map(os.fsdecode, arguments)) if status else arguments
        return result_of(command, status, *(self._kept(run, taker) for taker in run.takers))

    def _kept(self, run: _Run, taker: Sink) -> bytes | str | None:
        if not isinstance(taker, Kept):
            return None
        value: bytes | str = taker.value()
        if taker.dropped:
            what = "characters" if isinstance(value, str) else "bytes"
            self.logger.warning("%r wrote much: its first %d %s were not kept",
                                run.command, taker.dropped, what)  # fmt: skip
        return value

    def _tell(self, run: _Run, reason: Failure, outcome: Any) -> None:
        self.finished.increment()
        if run.on_exit is not None:
            self._call_back(run.on_exit, reason)
        run.command.end(outcome)

    def _call_back(self, callback: Callable[..., object], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except (SystemExit, KeyboardInterrupt) as error:
            self.loop_task.exit_asked(error)
        except BaseException:  # it must not reach the reactor, which would read no more
            own(self, CommandTask.n_callback_errors).increment()
            self.logger.exception("Error in a callback of a command")

    # -- the end -----------------------------------------------------------------------------------

    def start_in_loop(self) -> Any:
        """Watch what has run since before a restart of the reactor."""
        for transport in list(self._runs):
            transport.watch_in(self.reactor)
        return super().start_in_loop()

    def stop_in_loop(self) -> Any:
        """Send SIGTERM to all process groups, and later SIGKILL."""
        for transport, (_, grace) in list(self._runs.items()):
            self._end_process(transport, grace)
        return super().stop_in_loop()

    def _cancelled(self, transport: CommandTransport, grace: float, command: Future[Any]) -> None:
        if command.cancelled():
            self.loop_task.post_if_open(partial(self._end_process, transport, grace))

    def _end_process(self, transport: CommandTransport, grace: float) -> None:
        transport.child.end(min(grace, self.seconds_to_stop() / 2))

    def isDoneWithReactor(self) -> bool:  # noqa: N802
        """Return whether the end of every command was reported."""
        return not self._runs

    def join(self) -> None:
        """Wait for the end of all commands; kill those that a reactor which failed has left."""
        super().join()
        self._workers_left()

    def _workers_left(self) -> None:
        """Kill the commands, for whose end others may wait: no reactor will report it."""
        super()._workers_left()
        for transport in list(self._runs):
            transport.child.kill_at_once()


def _arguments_of(
    command: str | bytes | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str]],
) -> list[str | bytes]:
    parts: Sequence[str | bytes | os.PathLike[str]]
    if isinstance(command, str | bytes):
        parts = shlex.split(os.fsdecode(command))
    else:
        parts = [command] if isinstance(command, os.PathLike) else command
    if not parts:
        raise ValueError("There is no command to run.")
    return [os.fspath(part) for part in parts]


def _is_pipe(stdin: int | None) -> bool:
    if stdin not in (None, subprocess.PIPE, subprocess.DEVNULL):
        raise ValueError("stdin is subprocess.PIPE or None; for its input: input=...")
    return stdin == subprocess.PIPE


def _in_this_context(callback: Any) -> Any:
    """Return what calls back with the context variables of who calls this; None for None."""
    return None if callback is None else partial(copy_context().run, callback)
