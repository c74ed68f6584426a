"""The parent: it watches source files, holds the sockets, and starts the service again."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from importlib.util import cache_from_source
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import watchfiles
from sparts.dev.reload import RELOADED
from sparts.errors import UsageError, describe
from sparts.inbox import RELOAD, STACKS, STOP, await_ready
from sparts.net.inherited import inherited_sockets
from sparts.net.unix_sockets import SocketFile
from sparts.system import FIRST, signals_in_pipe, spawn, watch_child
from sparts.this_process import complain, guard_exit, run_in_new_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PATIENCE = 10.0
"""Seconds that a child may take to stop after a change, before it is killed."""
_SIGNALS = (*STOP, RELOAD, STACKS)
_CHANGED = 0  # in the pipe of signals
_MOST_SOCKETS = 253  # that one message can carry


def run(words: Sequence[str] = (), timeout: float = 0.0) -> int:
    """Run a service as a child, again after each change, until it ends in order or a signal comes.

    Args:
        words: the command of the child; by default, that of this process.
        timeout: seconds from the signal to stop to the end of this process; 0: no limit.

    Returns:
        the exit status.

    Raises:
        UsageError: this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("--reload needs the main thread, where signals arrive.")
    command = list(words) or [sys.executable, *sys.orig_argv[1:]]
    with ExitStack() as opened:
        parent = Parent(command, opened)
        ended = threading.Event()
        watcher = threading.Thread(target=parent.watch, args=(folders(), ended))
        watcher.start()
        opened.callback(watcher.join)
        opened.callback(ended.set)
        status = parent.run()
    if timeout:
        guard_exit(timeout - max(0.0, monotonic() - parent.stopped), run_in_new_thread)
    return status


def _say(text: str) -> None:
    """Show a line, but do not wait for somebody who reads what is shown."""
    if await_ready((), 0.0, [2]):
        complain(text)


def folders() -> list[str]:
    """Return the folders whose Python files count: the current one, and where modules are imported
    from, but for what is installed.
    """
    installed = tuple(os.path.realpath(each) for each in (sys.prefix, sys.base_prefix))
    script = os.path.dirname(os.path.abspath(sys.argv[0]))
    found: list[str] = []
    for path in map(os.path.realpath, (".", script, *sys.path)):
        inside = any(os.path.commonpath((path, each)) == each for each in (*installed, *found))
        if os.path.isdir(path) and path != os.sep and not inside:
            found.append(path)
    return found


def sources(counts: Callable[[Any, str], bool], change: Any, path: str) -> Iterator[str]:
    """Give the source files that a change concerns: of a new folder, all that are in it.

    What was written into a folder before it was watched has no event of its own.
    """
    if counts(change, path):
        yield path
    elif change.name == "added" and os.path.isdir(path):
        for folder, inner, names in os.walk(path):
            inner[:] = [each for each in inner if counts(change, f"{folder}/{each}/x.py")]
            found = (f"{folder}/{each}" for each in names)
            yield from (each for each in found if counts(change, each))


class Parent:
    """The parent of a service that is started again and again.

    Args:
        command: what runs the service.
        opened: ends what is opened here.
    """

    def __init__(self, command: list[str], opened: ExitStack) -> None:
        self._command = command
        self._sockets: list[tuple[str, int]] = []
        for name, descriptors in inherited_sockets().items():
            self._sockets += [(name, each) for each in descriptors]
        self._files: list[SocketFile] = []
        self._pid = self._end = -1
        self._channel: socket.socket | None = None
        self._again = self._stopping = False
        self.stopped: float = inf
        """When the signal to stop came, by `time.monotonic`."""
        self._deadline = inf
        self._reader, self._waker = opened.enter_context(signals_in_pipe(_SIGNALS, _SIGNALS))
        opened.callback(self._close)

    def watch(self, paths: list[str], ended: threading.Event) -> None:
        """Report changes until the end; the body of a thread."""
        counts = watchfiles.PythonFilter(ignore_paths=[sys.prefix])
        try:
            for changes in watchfiles.watch(
                *paths,
                watch_filter=lambda *change: any(sources(counts, *change)),
                debounce=200,
                step=50,  # it looks that often, in ms, and again that long after a change
                stop_event=ended,
                raise_interrupt=False,
            ):
                found = {path for change in changes for path in sources(counts, *change)}
                for path in found:  # its byte code could look as new as the change
                    with suppress(OSError, NotImplementedError):
                        os.unlink(cache_from_source(path))
                names = sorted(map(os.path.relpath, found))
                _say(f"Changed: {', '.join(names[:3])}{' and more' if names[3:] else ''}")
                os.write(self._waker, bytes([_CHANGED]))
        except Exception as error:
            _say(f"--reload: the files cannot be watched: {describe(error)}")
            os.write(self._waker, bytes([signal.SIGTERM]))

    def run(self) -> int:
        """Run until the end; return the exit status."""
        self._start()
        while True:
            channel = self._channel.fileno() if self._channel is not None else -1
            waits_for = (each for each in (self._reader, self._end, channel) if each >= 0)
            ready = await_ready(waits_for, self._deadline - monotonic())
            if self._deadline <= monotonic():
                self._kill()
            if self._channel is not None and self._channel.fileno() in ready:
                self._take_sockets(self._channel)
            if self._reader in ready:
                for number in os.read(self._reader, 4096):
                    self._on(number)
            if self._end in ready and (status := self._ended()) is not None:
                return status
            if self._stopping and self._pid < 0:
                return 0

    def _on(self, number: int) -> None:
        """Act on a change or a signal."""
        if number == _CHANGED:
            if self._pid < 0:
                self._start()
            elif not self._again and not self._stopping:
                self._again, self._deadline = True, monotonic() + PATIENCE
                os.kill(self._pid, signal.SIGTERM)
            return
        if number in STOP and not self._stopping:
            self._stopping, self.stopped = True, monotonic()
        if self._pid >= 0:
            os.kill(self._pid, number)

    def _start(self) -> None:
        """Start the child, in a process group of its own: ^C reaches it once, from here."""
        self._again, self._deadline = False, inf
        ours, theirs = socket.socketpair()
        variables = {**os.environ, RELOADED: f"{FIRST + len(self._sockets)}:{os.getpid()}"}
        with theirs:
            self._pid = spawn(self._command, variables, self._sockets, [theirs.fileno()])
        self._channel, self._end = ours, watch_child(self._pid)

    def _take_sockets(self, channel: socket.socket) -> None:
        """Hold the sockets that the child listens on."""
        message, descriptors, *_ = socket.recv_fds(channel, 1 << 16, _MOST_SOCKETS)
        if not message:
            channel.close()
            self._channel = None
            return
        self._let_go()
        self._sockets = list(zip(json.loads(message), descriptors, strict=True))
        for _, descriptor in self._sockets:
            with socket.socket(fileno=os.dup(descriptor)) as sock, suppress(OSError):
                if sock.family == socket.AF_UNIX:
                    self._files.append(SocketFile(sock.getsockname()))

    def _let_go(self) -> None:
        for _, descriptor in self._sockets:
            os.close(descriptor)
        self._sockets, self._files = [], []

    def _ended(self) -> int | None:
        """Act on the end of the child, and of its children; return the status to end with."""
        self._kill()
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._end)
        self._pid = self._end = -1
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._stopping and status in (-signal.SIGTERM, -signal.SIGINT):  # not yet handled
            status = 0
        if self._stopping or not (self._again or status):
            return 1 if status < 0 else status
        if self._again or -status in (RELOAD, STACKS):  # which came before there was a handler
            self._start()
        else:
            _say(f"Ended with status {status}. Waiting for a change; ^C ends.")
        return None

    def _kill(self) -> None:
        """Kill the child and all that is left of its process group."""
        self._deadline = inf
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)

    def _close(self) -> None:
        if self._pid >= 0:  # only after an error
            self._kill()
            os.waitpid(self._pid, 0)
        for file in self._files:
            file.remove()
        self._let_go()
