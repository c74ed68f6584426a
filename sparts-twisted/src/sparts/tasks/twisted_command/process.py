"""A child process in a reactor: its output, its input, its end, which is told exactly once.

Twisted's own are forked, and it learns of their end by SIGCHLD, which only the main thread can
handle. Here `subprocess.Popen` starts them, and a pidfd tells of their end.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from sparts.tasks.children import send_signal
from sparts.tasks.twisted.reactors import PidReader
from twisted.internet import error
from twisted.internet.interfaces import IProcessTransport, IReadDescriptor
from twisted.internet.process import ProcessWriter
from twisted.python.failure import Failure
from twisted.python.log import Logger as Prefixed
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.outputs import Sink

_logger = logging.getLogger(__name__)
_writer: Any = ProcessWriter
_CHUNK = 65536
_MOST_AT_EXIT = 256  # chunks that are read at once when a process has ended


@implementer(IReadDescriptor)
class _Output(Prefixed):
    """One of the pipes that a process writes to."""

    def __init__(self, fd: int, sink: Sink, closed: Callable[[], object]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._sink = sink
        self._closed = closed
        self._reactor: Any = None

    def fileno(self) -> int:
        return self._fd

    def watch(self, reactor: Any) -> None:
        self._reactor = reactor
        reactor.addReader(self)

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        self.read()

    def read(self) -> bool:
        """Read a piece; return whether there may be more just now."""
        if self._fd < 0:
            return False
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # the other end of a terminal is gone
            data = b""
        if data:
            self._sink.feed(data)
            return True
        self.close()
        return False

    def close(self) -> None:
        """Read no more; the sink learns of the end. May be called twice."""
        if self._fd >= 0:
            if self._reactor is not None:
                self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = -1
            try:
                self._sink.end()
            finally:
                self._closed()

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        if reason.check(error.ConnectionDone):  # a hang-up, without anything to read
            self.close()
        else:
            self._reactor = None  # which ends; another may take its place


@implementer(IProcessTransport)
class CommandTransport:
    """A child process, as callbacks get it; use it in the reactor's thread.

    Args:
        arguments: what to run.
        sinks: what takes its output and its errors.
        settings: further arguments of `subprocess.Popen`.
        opens_stdin: whether its standard input is a pipe to write to.
        linger: seconds that its output is read after its end, if others keep it open.
        ended: called once, with nothing, after all output; ``returncode`` is set then.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        arguments: list[str | bytes],
        sinks: list[Sink],
        settings: dict[str, Any],
        opens_stdin: bool,
        linger: float,
        ended: Callable[[], object],
    ) -> None:
        self._linger = linger
        self._ended = ended
        self._ending = self._exited = self._finished = False
        self._reactor: Any = None
        self._pid_reader: PidReader | None = None
        self._stdin: Any = None
        mine: list[int] = []  # the ends of pipes that are kept, and those that the child gets
        theirs: list[int] = []
        try:
            for _ in sinks:
                read, write = os.pipe()
                mine.append(read)
                theirs.append(write)
            if opens_stdin:
                read, write = os.pipe()
                mine.append(write)
                theirs.append(read)
            self._popen = subprocess.Popen(  # noqa: S603 - what to run is the caller's to say
                arguments,
                stdin=theirs[2] if opens_stdin else subprocess.DEVNULL,
                stdout=theirs[0],
                stderr=theirs[1],
                process_group=0,
                **settings,
            )
        except BaseException:
            for fd in mine:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._stdin_fd = mine[2] if opens_stdin else -1
        self._outputs = [
            _Output(fd, sink, self._output_closed) for fd, sink in zip(mine[:2], sinks, strict=True)
        ]

    # -- to use ------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The number of the process, which is also that of its group."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; negative: the signal that killed it; None: it runs."""
        return self._popen.returncode

    def write(self, data: bytes) -> None:
        """Write to its standard input, as soon as it reads. `ValueError`: that is no pipe, or has
        been closed.
        """
        if self._stdin is None:
            raise ValueError("Its standard input is closed: run it with stdin=PIPE, or input=...")
        self._stdin.write(data)

    def writeSequence(self, seq: list[bytes]) -> None:  # noqa: N802 - Twisted's name
        """Write several pieces; as `write`."""
        self.write(b"".join(seq))

    def writeToChild(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 - Twisted's
        """Write to its standard input, which is number 0; as `write`."""
        if childFD:
            raise KeyError(childFD)
        self.write(data)

    def closeStdin(self) -> None:  # noqa: N802 - Twisted's name
        """Close its standard input, after all that was written."""
        if self._stdin is not None:
            self._stdin.loseConnection()

    def closeStdout(self) -> None:  # noqa: N802 - Twisted's name
        """Read its output no more."""
        self._outputs[0].close()

    def closeStderr(self) -> None:  # noqa: N802 - Twisted's name
        """Read its errors no more."""
        self._outputs[1].close()

    def closeChildFD(self, descriptor: int) -> None:  # noqa: N802 - Twisted's name
        """Close its standard input (0), output (1) or errors (2)."""
        (self.closeStdin, self.closeStdout, self.closeStderr)[descriptor]()

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close all three."""
        for descriptor in range(3):
            self.closeChildFD(descriptor)

    def signalProcess(self, signalID: str | int) -> None:  # noqa: N802, N803 - Twisted's
        """Send a signal to its process group: ``"TERM"``, ``"KILL"``, ``"INT"``, or a number.

        ProcessExitedAlready: it has ended.
        """
        if self.returncode is not None:
            raise error.ProcessExitedAlready
        name = signalID if isinstance(signalID, int) else f"SIG{signalID.removeprefix('SIG')}"
        self._signal(signal.Signals(name) if isinstance(name, int) else signal.Signals[name])

    def end(self, grace: float) -> None:
        """Send SIGTERM to its process group now, and SIGKILL in ``grace`` seconds."""
        if self._ending or self._finished:
            return
        self._ending = True
        self._signal(signal.SIGTERM if grace > 0 else signal.SIGKILL)
        if grace > 0 and self.returncode is None:
            self._reactor.callLater(grace, self._signal, signal.SIGKILL)

    # -- for the task ------------------------------------------------------------------------------

    def watch(self, reactor: Any) -> None:
        """Watch it in a reactor, which is new or follows one that has failed."""
        self._reactor = reactor
        for output in self._outputs:
            if output.fileno() >= 0:
                output.watch(reactor)
        if self._stdin_fd >= 0:
            self._stdin = _writer(reactor, self, 0, self._stdin_fd)
        if not self._exited:
            self._pid_reader = PidReader(reactor, self.pid, self._has_exited)
        elif not self._finished:
            reactor.callLater(self._linger, self._finish)

    def kill_at_once(self) -> None:
        """Kill it and tell of its end, without a reactor; from any thread once that has ended."""
        self._signal(signal.SIGKILL)
        self._popen.wait()
        self._finish()

    # -- in the reactor's thread -------------------------------------------------------------------

    def _has_exited(self) -> None:
        if self._ending:
            self._signal(signal.SIGKILL)  # what is left of its group; its number is still taken
        self._popen.wait()
        self._exited = True
        for output in self._outputs:
            for _ in range(_MOST_AT_EXIT):
                if not output.read():
                    break
        if any(output.fileno() >= 0 for output in self._outputs):
            self._reactor.callLater(0.1 if self._ending else self._linger, self._finish)
        else:
            self._finish()

    def _output_closed(self) -> None:
        if self._exited and all(output.fileno() < 0 for output in self._outputs):
            self._finish()

    def childConnectionLost(self, _name: int, _reason: Failure | None) -> None:  # noqa: N802
        """Let go of its standard input; called by what writes to it."""
        self._stdin = None
        if self._stdin_fd >= 0:
            os.close(self._stdin_fd)
            self._stdin_fd = -1

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        if self._pid_reader is not None:
            self._pid_reader.close()
        for output in self._outputs:
            output.close()
        if self._stdin is not None:
            self._stdin.stopReading()
            self._stdin.stopWriting()
            self.childConnectionLost(0, None)
        elif self._stdin_fd >= 0:
            os.close(self._stdin_fd)
        self._ended()

    def _signal(self, number: signal.Signals) -> None:
        send_signal(self._popen, number, group=True, logger=_logger)


def reason_of(returncode: int) -> Failure:
    """Return how a process ended as Twisted tells it: ``ProcessDone`` or ``ProcessTerminated``."""
    if returncode == 0:
        return Failure(error.ProcessDone(0))
    if returncode < 0:
        return Failure(error.ProcessTerminated(None, -returncode, -returncode))
    return Failure(error.ProcessTerminated(returncode, None, returncode << 8))


def identity(user: str | int | None, group: str | int | None) -> dict[str, Any]:
    """Return what has Popen run something as another user, without our groups.

    Raises:
        ValueError: there is no such user.
    """
    given: dict[str, Any] = {} if group is None else {"group": group}
    if user is None:
        return given
    try:
        entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        raise ValueError(f"There is no user {user!r} here.") from None
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return {"group": entry.pw_gid, "extra_groups": groups, "user": entry.pw_uid, **given}
