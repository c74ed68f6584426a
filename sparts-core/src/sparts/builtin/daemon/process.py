"""A service as a process of its own: in the background, with a pid file, as another user.

`Process` is how a service runs whose options ask for any of that; `control` is ``--status`` and
``--kill``. The steps are those of daemon(7), but for two: the process stays in its folder, so
that paths of options go on meaning the same, and its starter waits until it is ready.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sparts.builtin import logs
from sparts.builtin.daemon.identity import find_identity
from sparts.builtin.daemon.pidfile import PidFile, default_path, find_holder
from sparts.errors import OptionError, SpartsError, UsageError, message_of
from sparts.shown import ours
from sparts.this_process import complain, lead_nowhere, write_out

if TYPE_CHECKING:
    from collections.abc import Generator

    from sparts.builtin import Daemon
    from sparts.vservice import VService


class Process:
    """What a service does to its process.

    Args:
        service: its first instance; nothing happens yet.
        asked: what its options ask for.
        whole: False: the parent of this process is the daemon, and holds the pid file.

    Raises:
        OptionError: there is no such user or group, or it may not be assumed.
    """

    def __init__(self, service: VService, asked: Daemon, whole: bool = True) -> None:
        self._identity = find_identity(asked.user, asked.group)
        self._asked, self._whole, self._name = asked, whole, service._instance.name
        self._daemon = bool(asked.daemon)
        self._starter = -1  # where the starter of a daemon reads how that went
        self._was_ready = False
        self._pid_file: PidFile | None = None
        if whole and (self._daemon or asked.source("pidfile").explicit):
            path = path_of(type(service), asked, service._instance.name)
            self._pid_file = PidFile(path, service._instance.name)

    def around(self) -> Generator[None, Any, Any]:
        """Do all that the options ask of the process, let the service run, and undo it.

        What is sent to the generator, and what it returns, is how the service ended: a
        `sparts.kernel.runner.ServiceThread`.

        Raises:
            SystemExit: in the process that started a daemon, with the status that follows.
            SpartsError: the process could not be prepared.
        """
        if self._daemon and self._whole and (left := self._detach()) is not None:
            raise SystemExit(left)
        status = 1
        try:
            self._prepare()
            runner = yield
            status = runner.status
            if self._daemon and self._whole and not self._was_ready and not runner.refused:
                error = runner.error
                why = message_of(error) if error else "it ended before it was ready"
                complain(f"{self._name} is not started: {why}")
            return runner
        except UsageError:
            status = 2
            raise
        finally:
            if self._pid_file is not None:
                self._pid_file.release()
            self._tell(str(status or 1))

    def _prepare(self) -> None:
        """Change folder and file mask, then take the pid file."""
        if folder := self._asked.chdir:
            try:
                os.chdir(folder)
            except OSError as error:
                raise OptionError(f"--chdir: {folder}: {error.strerror}.") from error
        if (mask := self._asked.umask) is not None:
            os.umask(mask)
        if self._pid_file is not None:
            self._pid_file.acquire()

    def drop_privileges(self, service: VService) -> None:
        """Become the user and the groups asked for; called when all sockets are bound.

        The log file and the files of Unix sockets become that user's first.
        """
        if self._identity is not None:
            self.give_files(service)
            self._identity.assume()
            self._identity = None

    def give_files(self, service: VService) -> None:
        """Make the log file and the files of Unix sockets those of the user asked for."""
        if self._identity is not None:
            uid, gid = self._identity.uid, self._identity.gid
            if (log := logs.logging_of(service)) is not None:
                log.handler.give(uid, gid)
            if (listeners := ours(service).hooks.kept.get("listeners")) is not None:
                listeners.give(uid)

    def ready(self, service: VService) -> None:
        """Leave the terminal to the starter of the service, which is ready now."""
        if not self._daemon:
            return
        log = logs.logging_of(service)
        first = self._starter >= 0 if self._whole else not self._was_ready
        if not (log is not None and log.handler.take_output()) and first:
            if self._whole:
                text = "Ready, pid %d. No --logfile: no log from here on"
                ours(service).logger.warning(text, os.getpid())
            lead_nowhere(1, 2)
        self._was_ready = True
        self._tell("ready")

    def _detach(self) -> int | None:
        """Go on in a new process: None there; in the old one the status, when that is known."""
        write_out()
        listens = os.environ.get("LISTEN_PID") == str(os.getpid())
        read, write = os.pipe()
        starter = _Starter()
        if child := os.fork():
            os.close(write)
            os.waitpid(child, 0)
            return starter.wait(read)
        starter.become_daemon()
        os.close(read)
        os.setsid()
        if os.fork():  # so that no terminal can become its own
            os._exit(0)
        self._starter = write
        os.register_at_fork(after_in_child=self._forget_starter)  # it waits for us alone
        os.write(write, b"%d\n" % os.getpid())
        if listens:
            os.environ["LISTEN_PID"] = str(os.getpid())
        lead_nowhere(0)
        return None

    def _tell(self, word: str) -> None:
        """Tell the starter of a daemon, once; when it is not ready, that one waits for our end."""
        if self._starter >= 0:
            with suppress(OSError):  # it did not wait
                os.write(self._starter, f"{word}\n".encode())
            if word == "ready":
                self._forget_starter()

    def _forget_starter(self) -> None:
        if self._starter >= 0:
            os.close(self._starter)
        self._starter = -1


def path_of(service_class: type[VService], asked: Daemon, name: str) -> str:
    """Return the absolute path of the pid file of a service, before ``--chdir`` is followed.

    Raises:
        OptionError: it is not given, and there is no folder for it.
    """
    given = asked.pidfile or service_class.DEFAULT_PID
    return os.path.abspath(os.path.join(asked.chdir or "", given)) if given else default_path(name)


class _Starter:
    """The starter of a daemon: it waits for it, and passes ^C on to it."""

    def __init__(self) -> None:
        self._pid = 0  # of the daemon, which lives until its end of the pipe is closed
        self._interrupted = False
        self._ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._ours:
            signal.signal(signal.SIGINT, self._interrupt)

    def become_daemon(self) -> None:
        """Undo it, in the new process."""
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        self._pass_on()

    def _pass_on(self) -> None:
        if self._interrupted and self._pid:
            self._interrupted = False
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def wait(self, pipe: int) -> int:
        """Wait until the daemon is ready or has ended, and return the status that follows."""
        heard = b""
        while not heard.endswith(b"ready\n"):
            heard += (more := os.read(pipe, 100))
            if not more:
                return int(heard.split()[-1]) if heard.count(b"\n") > 1 else 1
            self._pid = int(heard.split()[0])
            self._pass_on()
        return 0


def control(service_class: type[VService], asked: Daemon, name: str | None) -> int:
    """Do what ``--status`` or ``--kill`` ask for; return the exit status.

    Raises:
        SpartsError: the pid file is another's or cannot be read, or the process may not be
            signalled.
    """
    name = name or service_class.__name__
    path = path_of(service_class, asked, name)
    kill, timeout = asked.kill, asked.kill_timeout
    holder = find_holder(path, name)
    if holder is None:
        print(f"{name} is not running (nobody holds {path}).")
        return 0 if kill else 1
    try:
        if not kill:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
            print(f"{name} is running: pid {holder.pid}, since {since}.")
            return 0
        holder.terminate()
        if not holder.wait(timeout):
            print(f"{name} still runs {timeout:g} s after SIGTERM: pid {holder.pid}.")
            return 1
        print(f"{name} has stopped: pid {holder.pid}.")
        return 0
    except PermissionError as error:
        raise SpartsError(f"--kill: no permission to signal pid {holder.pid}.") from error
    finally:
        holder.close()
