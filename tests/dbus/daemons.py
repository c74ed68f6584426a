"""A D-Bus daemon of a test's own, in its temporary folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sparts.states import ServiceStatus
from sparts.testing.waiting import wait_status
from sparts.vservice import VService

from tests.processes import ServiceProcess, captured

CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{kind}</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  {services}
  <policy context="default">
    {policy}
  </policy>
  {more}
</busconfig>
"""
OPEN = """
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
"""
RESTRICTIVE = """
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <deny send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"
          send_member="UpdateActivationEnvironment"/>
"""
"""What the system bus of every distribution says by default."""
READ_ALL = "+dac_read_search"


def as_user(uid: int, *, reading_all: bool = False) -> list[str]:
    """Return what has a command run as a user without rights; nothing if that is this user.

    Args:
        uid: the user.
        reading_all: whether it may read every file: Python may lie in a closed folder.
    """
    if uid == os.geteuid():
        return []
    rights = [f"--inh-caps={READ_ALL}", f"--ambient-caps={READ_ALL}"] if reading_all else []
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *rights]


class Daemon:
    """A running daemon; a context manager that leaves no process behind.

    Args:
        folder: where its socket and its configuration are.
        policy: the rules for everybody.
        more: more of the configuration, such as limits or includes.
        kind: ``session`` or ``system``.
        services: where it looks for services to activate.
        options: more of its command line.
        prefix: what runs the command line, such as ``unshare`` and its options.
    """

    def __init__(
        self,
        folder: Path,
        policy: str = OPEN,
        more: str = "",
        kind: str = "session",
        services: Path | None = None,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "bus"
        self.address = f"unix:path={self.socket}"
        self.argv = ("--dbus-address", self.address)
        """What lets a service use it."""
        self._config = folder / "bus.conf"
        self._command = [*prefix, "dbus-daemon", f"--config-file={self._config}", *options]
        found = f"<servicedir>{services}</servicedir>" if services else ""
        self._config.write_text(
            CONFIG.format(kind=kind, socket=self.socket, policy=policy, more=more, services=found),
            encoding="utf-8",
        )
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and return when it listens."""
        self.socket.unlink(missing_ok=True)
        command = [*self._command, "--nofork", "--print-address"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "dbus-daemon did not start"

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def kill_under(self, *services: VService) -> None:
        """End it at once, and return when these services have noticed."""
        self.kill()
        for service in services:
            wait_status(service, ServiceStatus.WARNING)

    def start_for(self, *services: VService) -> None:
        """Start it, and return when these services are on it again."""
        self.start()
        for service in services:
            wait_status(service, ServiceStatus.ALIVE)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it do nothing meanwhile."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """End it at once, and start another at the same address."""
        self.kill()
        self.start()

    def run(self, command: Sequence[str], check: bool = True) -> str:
        """Run a client of this bus to its end, and return its output; both streams."""
        done = captured(
            command,
            env={
                **os.environ,
                "DBUS_SESSION_BUS_ADDRESS": self.address,
                "DBUS_SYSTEM_BUS_ADDRESS": self.address,
            },
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        if check:
            assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def reload(self) -> None:
        """Have it read its configuration again, and return when it has."""
        self.gdbus("org.freedesktop.DBus", "/", "org.freedesktop.DBus.ReloadConfig")

    def wait_for_name(self, name: str) -> None:
        """Return when somebody owns a name."""
        self.run(["gdbus", "wait", "--address", self.address, "--timeout", "30", name])

    def gdbus(self, name: str, path: str, method: str, *args: str, check: bool = True) -> str:
        """Call a method with gdbus, and return what it prints."""
        where = ["--address", self.address, "--dest", name, "--object-path", path]
        return self.run(["gdbus", "call", *where, "--method", method, *args], check)

    def introspect(self, name: str, path: str) -> str:
        """Return the introspection data of an object, as gdbus prints it."""
        where = ["--address", self.address, "--dest", name, "--object-path", path]
        return self.run(["gdbus", "introspect", "--xml", *where])

    def busctl(self, *words: str, check: bool = True) -> str:
        """Run busctl, and return what it prints."""
        return self.run(["busctl", f"--address={self.address}", *words], check)

    def dbus_send(self, name: str, path: str, method: str, *args: str, check: bool = True) -> str:
        """Call a method with dbus-send, and return what it prints."""
        command = ["dbus-send", f"--bus={self.address}", "--print-reply=literal", f"--dest={name}"]
        return self.run([*command, path, method, *args], check)

    def __enter__(self) -> Self:
        """Give the running daemon."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.kill()


class Monitor(ServiceProcess):
    """What `dbus-monitor` prints of signals on a bus; a context manager.

    Args:
        bus: the bus.
        rule: which signals, as a match rule.
    """

    def __init__(self, bus: Daemon, rule: str) -> None:
        super().__init__(["dbus-monitor", "--address", bus.address, rule], cwd=Path.cwd())
        self.read_up_to("NameLost")  # it is a monitor now
        self.read_up_to("string")

    def read_up_to(self, text: str) -> str:
        """Read until a line that holds a string, and return what was read."""
        before = self.place
        self.read_until(re.escape(text))
        return "\n".join(self.lines[before : self.place])
