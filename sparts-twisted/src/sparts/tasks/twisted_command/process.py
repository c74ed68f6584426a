"""A child process in a reactor: its output, its input, its end, which is reported exactly once.

Twisted's own are forked, and it learns of their end by SIGCHLD, which only the main thread can
handle. Here `subprocess.Popen` starts them, and a pidfd reports their end.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from sparts.tasks.children import Child
from sparts.tasks.readiness import READ, WRITE
from twisted.internet import error
from twisted.internet.interfaces import IProcessTransport, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from twisted.python.log import Logger as Prefixed
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.outputs import Sink

_logger = logging.getLogger(__name__)
_KINDS = {READ: "Reader", WRITE: "Writer"}


class ReactorLoop:
    """A reactor as the loop of children."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._descriptors: dict[tuple[str, Any], _Descriptor] = {}

    def add_callback(self, fd: Any, event: int, callback: Callable[[Any], object]) -> None:
        """See `sparts.tasks.children.ChildLoop`, as for all of these."""
        kind = _KINDS[event]
        if (kind, fd) not in self._descriptors:
            descriptor = self._descriptors[kind, fd] = _Descriptor(kind, fd, callback)
            getattr(self._reactor, f"add{kind}")(descriptor)

    def remove_callback(self, fd: Any, event: int) -> None:
        """Call it no more."""
        kind = _KINDS[event]
        descriptor = self._descriptors.pop((kind, fd))
        getattr(self._reactor, f"remove{kind}")(descriptor)
        descriptor.number = -1

    def call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call it in so many seconds."""
        self._reactor.callLater(seconds, callback)


@implementer(IReadDescriptor, IWriteDescriptor)
class _Descriptor(Prefixed):
    """What a reactor waits for."""

    def __init__(self, kind: str, fd: Any, callback: Callable[[Any], object]) -> None:
        self._kind, self._fd, self._callback = kind, fd, callback
        self.number: int = fd if isinstance(fd, int) else fd.fileno()

    def fileno(self) -> int:
        return self.number

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        self._callback(self._fd)

    doWrite = doRead  # noqa: N815 - Twisted's name

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        # A hang-up without anything to read, or nobody to write to. Else the reactor ends.
        if reason.check(error.ConnectionDone) or self._kind == "Writer":
            self._callback(self._fd)


@implementer(IProcessTransport)
class CommandTransport:
    """A child process, as callbacks get it; use it in the reactor's thread.

    Args:
        reactor: where it is watched, from `watch` on.
        arguments: what to run.
        sinks: what takes its output and its errors.
        settings: further arguments of `subprocess.Popen`.
        opens_stdin: whether its standard input is a pipe to write to.
        linger: seconds that its output is read after its end, if others keep it open.
        ended: called once, with the exit status, after all output.

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        reactor: Any,
        arguments: list[str | bytes],
        sinks: list[Sink],
        settings: dict[str, Any],
        opens_stdin: bool,
        linger: float,
        ended: Callable[[int], object],
    ) -> None:
        self._popen: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - what to run is the caller's to say
            arguments,
            stdin=subprocess.PIPE if opens_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            **settings,
        )
        self.child: Child = Child(
            ReactorLoop(reactor), self._popen, sinks, ended,
            linger=linger, logger=_logger, writes=opens_stdin,
        )  # fmt: skip

    def watch_in(self, reactor: Any) -> None:
        """Go on in another reactor, when the first one has failed."""
        self.child.loop = ReactorLoop(reactor)
        self.child.watch()

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
        self.child.write(data)

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
        self.child.close_input()

    def closeStdout(self) -> None:  # noqa: N802 - Twisted's name
        """Read its output no more."""
        self.child.close_output(self._popen.stdout)

    def closeStderr(self) -> None:  # noqa: N802 - Twisted's name
        """Read its errors no more."""
        self.child.close_output(self._popen.stderr)

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
        self.child.signal(signal.Signals(name) if isinstance(name, int) else signal.Signals[name])


def reason_of(returncode: int) -> Failure:
    """Return how a process ended in Twisted's words: ``ProcessDone`` or ``ProcessTerminated``."""
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
