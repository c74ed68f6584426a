"""Child processes on any loop: output, input, signals, and the end, which is reported once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

from sparts.calls import Call, around_future
from sparts.errors import ProcessFailed
from sparts.system import watch_child
from sparts.tasks.readiness import READ, WRITE

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from sparts.tasks.outputs import Sink

_F = TypeVar("_F", bound="Future[Any]")
_CHUNK = 65536
_MOST_AT_EXIT = 256  # chunks that are read at once when a process has ended


def check_input(stdin: object, input: bytes | str | None) -> None:
    """Raise `ValueError` if both a standard input and what is read from it are given."""
    if input is not None and stdin not in (None, subprocess.PIPE):
        raise ValueError("Give stdin or input, not both: the input would not be read.")


def result_of(
    command: Any, returncode: int, stdout: bytes | str | None, stderr: bytes | str | None
) -> subprocess.CompletedProcess[Any]:
    """Return what a process that has ended gives its future; `ProcessFailed`: a status not 0."""
    if returncode:
        raise ProcessFailed(command, returncode, stdout, stderr)
    return subprocess.CompletedProcess(command, returncode, stdout, stderr)


class ChildLoop(Protocol):
    """What a `Child` needs of the loop that watches it."""

    def add_callback(self, fd: Any, event: int, callback: Callable[[Any], object], /) -> None:
        """Call ``callback(fd)`` in the loop's thread while there is something to read (`READ`), or
        room to write (`WRITE`)."""

    def remove_callback(self, fd: Any, event: int, /) -> object:
        """Call it no more; may raise `KeyError` if it is not registered."""

    def call_later(self, seconds: float, callback: Callable[[], object], /) -> object:
        """Call a function in so many seconds; called in the loop's thread."""


class Child:
    """A child process on a loop; use it in the loop's thread.

    Signals go to its process group, if it leads one.

    Args:
        loop: where it is watched, from `watch` on. Set another before the next `watch`, when the
            first one has failed.
        popen: a process that was just started; its pipes for output are the child's from now on.
        sinks: what takes the output and the errors, as bytes, where these are pipes.
        ended: called once, with the exit status (negative: the signal that killed it), after all
            output, whatever a sink raises.
        linger: seconds that the output is read after the end, if others keep it open.
        logger: for signals that cannot be sent.
        writes: whether the standard input is the child's, too: see `write` and `close_input`.
    """

    def __init__(
        self,
        loop: ChildLoop,
        popen: subprocess.Popen[bytes],
        sinks: Sequence[Sink],
        ended: Callable[[int], object],
        *,
        linger: float,
        logger: logging.Logger,
        writes: bool = False,
    ) -> None:
        self.loop: ChildLoop = loop
        self.popen: subprocess.Popen[bytes] = popen
        self._ended, self._linger, self._logger = ended, linger, logger
        self._exited = self._ending = self._finished = False
        streams = zip((popen.stdout, popen.stderr), sinks, strict=True)
        self._outputs = {stream: sink for stream, sink in streams if stream is not None}
        self._input = popen.stdin if writes else None
        self._unwritten = bytearray()
        self._input_ends = False
        self._end_reader = -1
        try:
            self._leads_group = os.getpgid(popen.pid) == popen.pid
        except ProcessLookupError:
            self._leads_group = False

    def fileno(self) -> int:
        """Return the descriptor that reports its end; -1: nothing watches it."""
        return self._end_reader

    # -- to use ------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Begin, or go on with another loop.

        Raises:
            ProcessLookupError: somebody has asked for its status already; call `has_exited`.
            OSError: there are no descriptors left.
        """
        for stream in list(self._outputs):
            os.set_blocking(stream.fileno(), False)
            self.loop.add_callback(stream, READ, self._readable)
        self._write_more()
        if self._exited:
            self.loop.call_later(self._linger, self._finish)
            return
        if self.popen.returncode is not None:
            raise ProcessLookupError
        if self._end_reader < 0:
            self._end_reader = watch_child(self.popen.pid)
        self.loop.add_callback(self._end_reader, READ, self.has_exited)

    def write(self, data: bytes) -> None:
        """Write to its standard input, as soon as it reads; `ValueError`: that is closed."""
        if self._input is None or self._input_ends:
            raise ValueError("Its standard input is closed: run it with stdin=PIPE, or input=...")
        self._unwritten += data
        self._write_more()

    def close_input(self) -> None:
        """Close its standard input, after all that was written."""
        self._input_ends = True
        self._write_more()

    def close_output(self, stream: IO[bytes] | None) -> None:
        """Read one of its outputs no more."""
        sink = self._outputs.pop(stream, None) if stream is not None else None
        if stream is None or sink is None:
            return
        with contextlib.suppress(KeyError):
            self.loop.remove_callback(stream, READ)
        stream.close()
        try:
            sink.end()
        finally:
            if self._exited and not self._outputs:
                self._finish()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has been waited for."""
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
            self._logger.warning(
                "Process %d belongs to another user: cannot send %s", self.popen.pid, number.name
            )

    def end(self, grace: float) -> None:
        """Send SIGTERM, if that was not sent before, and SIGKILL in ``grace`` seconds."""
        if self._finished:
            return
        if grace <= 0:
            self.signal(signal.SIGKILL)
        elif not self._ending:
            self.signal(signal.SIGTERM)
        self._ending = True
        self.loop.call_later(grace, partial(self.signal, signal.SIGKILL))

    def kill(self) -> None:
        """Send SIGKILL; from any thread."""
        self.signal(signal.SIGKILL)

    def kill_at_once(self) -> None:
        """Kill it and wait for its end, without the loop."""
        self.kill()
        self._finish()

    # -- in the loop's thread ----------------------------------------------------------------------

    def has_exited(self, _: object = None) -> None:
        """Take the end of the process, which the loop has noticed."""
        if self._ending:
            self.kill()  # what is left of its group; its number is still taken
        self._unwatch()
        self.popen.wait()
        self._exited = True
        linger = min(self._linger, 0.1) if self._ending else self._linger
        if self._outputs and linger:  # also if a callback raises
            self.loop.call_later(linger, self._finish)
        for stream in list(self._outputs):
            for _chunk in range(_MOST_AT_EXIT):
                if not self._readable(stream):
                    break
        if not (self._outputs and linger):
            self._finish()

    def _readable(self, stream: IO[bytes]) -> bool:
        """Read a piece of output; return whether there may be more just now."""
        if stream not in self._outputs:
            return False
        try:
            data = os.read(stream.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # the other end of a terminal is gone
            data = b""
        if data:
            self._outputs[stream].feed(data)
            return True
        self.close_output(stream)
        return False

    def _write_more(self) -> None:
        """Have what is unwritten written, or the input closed, when there is room for that."""
        if self._input is not None and (self._unwritten or self._input_ends):
            os.set_blocking(self._input.fileno(), False)
            self.loop.add_callback(self._input, WRITE, self._writable)

    def _writable(self, stream: IO[bytes]) -> None:
        try:
            if self._unwritten:
                del self._unwritten[: os.write(stream.fileno(), self._unwritten[:_CHUNK])]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to read it all
            self._input_ends = True
            self._unwritten.clear()
        if not self._unwritten:
            with contextlib.suppress(KeyError):
                self.loop.remove_callback(stream, WRITE)
            if self._input_ends:
                self._close_input()

    def _close_input(self) -> None:
        stream, self._input = self._input, None
        if stream is not None:
            with contextlib.suppress(KeyError):
                self.loop.remove_callback(stream, WRITE)
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _finish(self) -> None:
        """Close everything and report the end, once, whatever a sink raises."""
        if self._finished:
            return
        self._finished = True
        with contextlib.ExitStack() as last:
            last.callback(lambda: self._ended(self.popen.wait()))
            last.callback(self._close_input)
            for stream in reversed(self._outputs):
                last.callback(self.close_output, stream)
            self._unwatch()

    def _unwatch(self) -> None:
        if self._end_reader >= 0:
            with contextlib.suppress(KeyError):
                self.loop.remove_callback(self._end_reader, READ)
            os.close(self._end_reader)
            self._end_reader = -1


def around_command(task: Any, command: Any, start: Callable[[], _F]) -> _F:
    """Start a command with what plugins wrap calls in around it; see `sparts.calls`.

    Raises:
        CallRefusedError: a plugin refuses it.
    """
    if not task._call_wrappers:
        return start()
    arguments = [command] if isinstance(command, str | bytes | os.PathLike) else list(command)
    name = os.path.basename(os.fsdecode(arguments[0])) if arguments else ""
    call = Call(task, "command", name, is_async=True, attributes={"arguments": arguments})
    return around_future(task, call, start)
