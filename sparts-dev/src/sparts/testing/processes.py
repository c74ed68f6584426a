"""Services as processes of their own: ready by event, log lines, signals, exit status.

Nothing is looked at in steps. A thread waits for output, for the notification ``READY=1`` (as
systemd does) and for the end of the process, and wakes the threads that wait for one of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sparts.entry_points.scanning import search_path
from sparts.tasks.children import Child
from sparts.tasks.readiness import READ, Readiness
from sparts.testing import leftovers
from sparts.testing.waiting import WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class _Lines:
    """Gives the lines of an output, without their ends."""

    def __init__(self, give: Callable[[bytes], object]) -> None:
        self._give, self._rest = give, b""

    def feed(self, data: bytes) -> None:
        """See `sparts.tasks.outputs.Sink`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._give(line.removesuffix(b"\r"))

    def end(self) -> None:
        """See `sparts.tasks.outputs.Sink`."""
        if self._rest:
            self._give(self._rest)


class ServiceProcess:
    """A service that runs as a process; as a context manager, it leaves no process behind.

    Every method that waits raises an AssertionError with the whole output if what it waits for does
    not come: at once when the process has ended, else after ``timeout`` seconds.

    Args:
        command: the words of the command line.
        cwd: the folder that it runs in.
        env: variables that it has in addition to those of this process.
        inherit: False: it has the variables of ``env`` alone. Then nothing shows when it is ready.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        inherit: bool = True,
    ) -> None:
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._notified: list[str] = []
        self._status: int | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="sparts-")
        name = os.path.join(self._folder.name, "notify")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.setblocking(False)
        self._notify.bind(name)
        os.chmod(self._folder.name, 0o711)  # noqa: S103 - a service may become another user
        os.chmod(name, 0o666)  # noqa: S103 - of a test
        inherited = {**os.environ, "PYTHONUNBUFFERED": "1", "NOTIFY_SOCKET": name}
        inherited.pop("JOURNAL_STREAM", None)
        try:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - that is what it is for
                list(command),
                cwd=cwd,
                env={**(inherited if inherit else {}), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except BaseException:
            self._notify.close()
            self._folder.cleanup()
            raise
        self._loop = Readiness("sparts.testing")
        lines = _Lines(self._take_line)
        self._child = Child(
            self._loop, self.process, [lines, lines], self._take_end,
            linger=0.0, logger=logging.getLogger(__name__),
        )  # fmt: skip
        self._loop.add_callback(self._notify, READ, self._take_notifications)
        self._child.watch()
        ours_now = (self._notify, self._loop, self._child, self.process.stdout)
        self._descriptors = {each.fileno() for each in ours_now if each is not None}
        leftovers.exempt_descriptors.update(self._descriptors)
        self._reader = threading.Thread(target=self._read, name="sparts.testing", daemon=True)
        leftovers.exempt_threads.add(self._reader)
        self._reader.start()

    # -- to read -----------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self.process.pid

    @property
    def lines(self) -> list[str]:
        """The lines of standard output and error so far, without their ends."""
        with self._changed:
            return list(self._lines)

    @property
    def output(self) -> str:
        """All output so far."""
        return "\n".join(self.lines)

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._status is not None

    # -- to wait for -------------------------------------------------------------------------------

    def wait_ready(self, timeout: float = WAIT) -> None:
        """Wait until the service says that it is ready."""
        self._wait(lambda: "READY=1" in self._notified, "the service to be ready", timeout)

    def wait_for_notification(self, text: str, timeout: float = WAIT) -> None:
        """Wait until the service has sent systemd (whose place this takes) a line: STOPPING=1."""
        self._wait(lambda: text in self._notified, f"the notification {text!r}", timeout)

    def wait_for_line(self, pattern: str, count: int = 1, timeout: float = WAIT) -> re.Match[str]:
        """Wait until ``count`` lines, from the first on, hold a regular expression; return the last
        of these matches.
        """
        found: list[re.Match[str]] = []
        unseen = 0

        def come() -> bool:
            nonlocal unseen
            lines, unseen = self._lines[unseen:], len(self._lines)
            found.extend(filter(None, (re.search(pattern, line) for line in lines)))
            return len(found) >= count

        what = f"the line {pattern!r}" + (f", {count} times" if count > 1 else "")
        self._wait(come, what, timeout)
        return found[count - 1]

    def wait_for_port(self, task: str = r"\w+", timeout: float = WAIT) -> int:
        """Wait until a server task says where it listens; return the port."""
        return int(self.wait_for_line(rf"{task} Server Started on \S+:(\d+)( \[|$)", 1, timeout)[1])

    def wait(self, timeout: float = WAIT) -> int:
        """Wait for the end of the process; return its exit status (negative: a signal's number)."""
        self._wait(lambda: self.ended, "the end of the process", timeout)
        assert self._status is not None  # noqa: S101 - that was waited for
        return self._status

    # -- to do -------------------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        """Send a signal; AssertionError if the process has ended."""
        if self.ended:
            raise AssertionError(f"It ended with {self._status} before it got {number.name}.")
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = WAIT) -> int:
        """Send a signal, wait for the end of the process, and return its exit status."""
        self.send(number)
        return self.wait(timeout)

    def close(self) -> None:
        """Kill the process if it still runs, and let go of everything."""
        self.process.kill()
        self._reader.join()
        leftovers.exempt_descriptors.difference_update(self._descriptors)
        self._loop.close()
        self._notify.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- the thread that reads ---------------------------------------------------------------------

    def _read(self) -> None:
        """Take in output and notifications until the process has ended."""
        while self._status is None:
            self._loop.turn()

    def _take_line(self, line: bytes) -> None:
        with self._changed:
            self._lines.append(line.decode(errors="replace"))
            self._changed.notify_all()

    def _take_notifications(self, _: object) -> None:
        with self._changed, contextlib.suppress(BlockingIOError):
            while True:
                self._notified += self._notify.recv(65536).decode(errors="replace").splitlines()
                self._changed.notify_all()

    def _take_end(self, status: int) -> None:
        self._take_notifications(None)
        with self._changed:
            self._status = status
            self._changed.notify_all()

    def _wait(self, come: Callable[[], bool], what: str, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: come() or self.ended, timeout)
            if come():
                return
        why = f"Waited {timeout:g} s for {what}; it still runs."
        if self.ended:
            why = f"It ended with {self._status}, and did not come: {what}."
        raise AssertionError(f"{why} Its output:\n{self.output}")


class ProcessFactory:
    """Makes `ServiceProcess`es until `close`; for pytest it is the fixture ``service_process``.

    Args:
        cwd: the folder that they run in if nothing else is said.
    """

    def __init__(self, cwd: Path | str | None = None) -> None:
        self._cwd = cwd
        self._processes: list[ServiceProcess] = []

    def __call__(
        self,
        target: Any,
        *argv: str,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        wait_ready: bool = True,
        ready_timeout: float = WAIT,
    ) -> ServiceProcess:
        """Run a service as a process, and return it when it is ready.

        Args:
            target: the path of a script, a service class that its module has at its top,
                ``"module:Class"``, or a sequence: a whole command.
            argv: what follows on the command line.
            cwd: the folder that it runs in.
            env: variables that it has in addition to those of this process.
            wait_ready: False returns at once, such as for a start that is to fail.
            ready_timeout: seconds that it may take to be ready.
        """
        command = [*command_for(target), *argv]
        process = ServiceProcess(command, cwd=cwd or self._cwd, env=env)
        self._processes.append(process)
        if wait_ready:
            process.wait_ready(ready_timeout)
        return process

    def close(self) -> None:
        """End all processes, the last one first.

        Raises:
            AssertionError: one that still ran did not end with status 0 on SIGTERM.
        """
        problems: list[str] = []
        while self._processes:
            with self._processes.pop() as process:
                try:
                    status = 0 if process.ended else process.stop()
                    if status:
                        problems.append(f"SIGTERM ended it with {status}:\n{process.output}")
                except AssertionError as error:
                    problems.append(str(error))
        if problems:
            raise AssertionError("\n".join(problems))


def command_for(target: Any) -> list[str]:
    """Return the command that runs a service: see `ProcessFactory.__call__`.

    Raises:
        ValueError: a class that no other process can import.
    """
    if isinstance(target, type):
        if "<locals>" in target.__qualname__:
            raise ValueError(
                f"{target.__qualname__} is defined inside of a function, where another process "
                f"cannot find it: define it at the top of a module."
            )
        file = getattr(sys.modules.get(target.__module__), "__file__", None) or ""
        return _python(target.__module__, target.__qualname__, os.path.abspath(file))
    if isinstance(target, Path) or (isinstance(target, str) and target.endswith(".py")):
        return [sys.executable, str(Path(target).absolute())]
    if isinstance(target, str):
        module, colon, name = target.partition(":")
        if not colon:
            raise ValueError(f"{target!r} is neither the path of a script nor 'module:Class'.")
        return _python(module, name, "")
    return list(target)


def _python(module: str, name: str, file: str) -> list[str]:
    arguments = (search_path(), module, name, file)
    code = f"from sparts.testing.processes import run_class; run_class{arguments}"
    return [sys.executable, "-c", code]


def run_class(path: list[str], module: str, name: str, file: str) -> None:
    """Be a process: run a service class. Called in the new process, by the command for a class.

    Args:
        path: what is on ``sys.path`` where the command was made.
        module: the name of the class's module.
        name: the qualified name of the class.
        file: where the module is if it cannot be imported by its name.
    """
    sys.path += [entry for entry in path if entry not in sys.path]
    found: Any = None
    with contextlib.suppress(ImportError):
        found = importlib.import_module(module)
    if file and (found is None or os.path.abspath(found.__file__ or "") != file):
        spec = importlib.util.spec_from_file_location(module, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is not a module.")
        found = importlib.util.module_from_spec(spec)
        sys.modules[module] = found
        spec.loader.exec_module(found)
    if found is None:
        found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    found.initFromCLI()
