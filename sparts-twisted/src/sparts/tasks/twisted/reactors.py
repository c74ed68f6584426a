"""Twisted's reactors as a task runs them: made again for each of its lives, and closed after it."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from typing import TYPE_CHECKING, Any

from sparts.errors import LoopStoppedError
from sparts.system import watch_child
from zope.interface import implementer

from twisted.internet import error
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.pollreactor import PollReactor
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.process import reapProcessHandlers
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.tcp import _reservedFD
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.log import Logger as Prefixed

if TYPE_CHECKING:
    from collections.abc import Callable

_log = Logger(namespace="twisted.internet.base")


class OwnedReactor(PosixReactorBase):
    """What the reactors of a task have in common.

    * ``stop()`` is a wish: it calls ``on_stop``. `end` stops.
    * `close` gives back what the reactor holds; a thread that calls later meets
      `LoopStoppedError`.
    * What ``spawnProcess`` starts is reaped without SIGCHLD, which only the main thread can handle.
    """

    def __init__(self, *args: Any) -> None:
        self.on_stop: Callable[[], object] = lambda: None
        self._waking = threading.Lock()  # held so that nobody writes to a waker that closes
        self._closed = False
        self._watchers: list[Callable[[], object]] = []
        super().__init__(*args)

    def stop(self) -> None:
        """Ask for the end of the service; called by code that thinks the reactor is its own."""
        if self._stopped:
            raise error.ReactorNotRunning("Can't stop reactor that isn't running.")
        self.on_stop()

    def end(self) -> None:
        """Stop, after the system event triggers of the shutdown; only in the reactor's thread."""
        if not self._stopped:
            super().stop()

    def close(self) -> None:
        """Let go of connections, threads, timers and descriptors; when it has stopped or failed."""
        self.disconnectAll()
        if self.threadpool is not None:
            self._stopThreadPool()
        calls: Any = self.getDelayedCalls()
        for call in calls:
            call.cancel()
        with self._waking:
            self._closed = True
        for reader in list(self._internalReaders):
            self._removeInternalReader(reader)
            reader.connectionLost(Failure(error.ConnectionDone()))
        self.waker: None = None
        poller: Any = getattr(self, "_poller", None)
        if hasattr(poller, "close"):
            poller.close()
        if _reservedFD.available():  # what Twisted keeps to accept with when there are no more
            _reservedFD.__enter__()
        vars(self).update(dict.fromkeys(("callLater", "addReader", "addWriter"), self._refuse))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise LoopStoppedError("This reactor has ended. A restarted service has another one.")

    # -- other threads -----------------------------------------------------------------------------

    def wakeUp(self) -> None:  # noqa: N802 - Twisted's name
        """Wake the reactor; from any thread. LoopStoppedError: it has ended."""
        with self._waking:
            if self._closed:
                self._refuse()
            super().wakeUp()

    # -- turns -------------------------------------------------------------------------------------

    def when(self, condition: Callable[[], object]) -> Deferred[None]:
        """Return a deferred that fires once a condition holds; only in the reactor's thread.

        It is asked now, and again whenever something has happened in the reactor. This costs
        nothing while nobody waits so. What the condition raises is the deferred's failure.
        """
        deferred: Deferred[None] = Deferred(lambda _: self._unwatch(ask))

        def ask() -> None:
            try:
                if not condition():
                    return
            except Exception:
                self._unwatch(ask)
                deferred.errback()
            else:
                self._unwatch(ask)
                deferred.callback(None)

        self._watchers.append(ask)
        vars(self)["runUntilCurrent"] = self._run_and_tell
        ask()
        return deferred

    def _unwatch(self, watcher: Callable[[], object]) -> None:
        self._watchers.remove(watcher)
        if not self._watchers:
            del vars(self)["runUntilCurrent"]

    def _run_and_tell(self) -> None:
        super().runUntilCurrent()
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for watcher in list(self._watchers):
            if watcher in self._watchers:
                watcher()

    # -- processes ---------------------------------------------------------------------------------

    def spawnProcess(self, *args: Any, **keywords: Any) -> Any:  # noqa: N802 - Twisted's name
        """Start a process; see ``IReactorProcess.spawnProcess``."""
        process: Any = super().spawnProcess(*args, **keywords)  # type: ignore[no-untyped-call]
        if _is_alive(process):
            PidReader(self, process.pid, lambda: _reap(process))
        return process


def _is_alive(process: Any) -> bool:
    handlers: dict[Any, Any] = reapProcessHandlers
    return process.pid in handlers and handlers[process.pid] is process


def _reap(process: Any) -> None:
    if _is_alive(process):
        process.reapProcess()


@implementer(IReadDescriptor)
class PidReader(Prefixed):
    """Calls a function when a process has ended, in the reactor's thread; that has to reap it.

    Args:
        reactor: where to wait.
        pid: a child of this process that nobody has waited for.
        ended: what to call, once.
    """

    def __init__(self, reactor: Any, pid: int, ended: Callable[[], object]) -> None:
        self._reactor = reactor
        self._ended = ended
        self._fd = watch_child(pid)
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor, or -1."""
        return self._fd

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """Tell; called by the reactor."""
        self.close()
        self._ended()

    def close(self) -> None:
        """Wait no longer; may be called twice."""
        if self._fd >= 0:
            self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = -1

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Wait no longer; called when the reactor ends."""
        self.close()


class OwnedPollReactor(OwnedReactor, PollReactor):
    """Twisted's poll reactor."""


if TYPE_CHECKING:
    _SelectReactor = PosixReactorBase  # type checkers do not know the metaclass of the other
else:
    _SelectReactor = SelectReactor


class OwnedSelectReactor(OwnedReactor, _SelectReactor):
    """Twisted's select reactor."""


class OwnedAsyncioReactor(OwnedReactor, AsyncioSelectorReactor):
    """Twisted's reactor on an asyncio loop, which others may use too: it runs until `serve` ends.

    Args:
        loop: the asyncio loop; it does not run, or this is its thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._crashed: asyncio.Future[None] | None = None
        super().__init__(loop)

    async def serve(self) -> None:
        """Run until `end`, or a crash."""
        self._crashed = asyncio.get_running_loop().create_future()
        self.startRunning(installSignalHandlers=False)
        await self._crashed

    def crash(self) -> None:
        """Have `serve` return; called by Twisted as the last step of a stop, too."""
        super(AsyncioSelectorReactor, self).crash()
        if self._crashed is not None and not self._crashed.done():
            self._crashed.set_result(None)

    def close(self) -> None:
        """Give back what the reactor holds; its timer is the loop's."""
        super().close()
        if self._timerHandle is not None:
            self._timerHandle.cancel()

    def callFromThread(self, f: Any, *args: Any, **kwargs: Any) -> None:  # type: ignore[override] # noqa: N802
        """Call a function in the reactor's thread; see ``IReactorFromThreads``."""
        with self._waking:
            if self._closed or self._asyncioEventloop.is_closed():
                self._refuse()
            self._asyncioEventloop.call_soon_threadsafe(self._call, f, args, kwargs)

    def _call(self, f: Callable[..., Any], args: Any, kwargs: Any) -> None:
        if self._closed:
            return
        try:
            f(*args, **kwargs)
        except BaseException:  # as the other reactors do
            _log.failure("while calling from thread")
        self._tell_watchers()

    def _readOrWrite(self, selectable: Any, read: bool) -> None:  # noqa: N802 - Twisted's name
        super()._readOrWrite(selectable, read)  # type: ignore[no-untyped-call]
        if self._watchers:
            self._tell_watchers()


KINDS: dict[str, type[OwnedReactor]] = {"poll": OwnedPollReactor, "select": OwnedSelectReactor}
"""The reactors that bring a loop of their own, by the names of ``--twisted-reactor``."""

if hasattr(select, "epoll"):
    from twisted.internet.epollreactor import EPollReactor

    class OwnedEPollReactor(OwnedReactor, EPollReactor):
        """Twisted's epoll reactor."""

    KINDS = {"epoll": OwnedEPollReactor, **KINDS}
