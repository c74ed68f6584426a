"""Who may change something of a service on a system bus: real users, and the real polkit."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks.dbus import DBusError, DBusObject, DBusServiceTask, caller, dbus_method
from sparts.tasks.dbus.types import UInt32
from sparts.testing.running import running, service_of

from tests.dbus.daemons import RESTRICTIVE, Daemon, as_user
from tests.ecosystem.documentation import find_blocks
from tests.processes import ServiceProcess, clean_environment, run_to_end

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin", "systemd", "util-linux")

SCRIPT = """\
from sparts.options import option
from sparts.vservice import VService

class Station(VService):
    TASKS = ["DBusServiceTask"]
    volume = option(type=int, default=3)

if __name__ == "__main__":
    Station.initFromCLI()
"""
NAME, PATH, INTERFACE = "org.sparts.Station", "/Station/sparts", "org.sparts.Service"
ACTION = "org.sparts.Station.control"
POLKIT = "org.freedesktop.PolicyKit1"
ROOT = 0
NOBODY, DAEMON, GAMES = (pwd.getpwnam(name).pw_uid for name in ("nobody", "daemon", "games"))
SELF = NOBODY if os.geteuid() == ROOT else os.geteuid()
"""Whom a service runs as that is not root's."""


@pytest.fixture
def bus(public_folder: Path) -> Iterator[Daemon]:
    """A system bus with the policies that `sparts dbus-install` writes and that polkit brings."""
    (public_folder / "station.py").write_text(SCRIPT, encoding="utf-8")
    policies = public_folder / "root/usr/share/dbus-1/system.d"
    policies.mkdir(parents=True)
    more = f"""
        <includedir>{policies}</includedir>
        <include ignore_missing="yes">/usr/share/dbus-1/system.d/{POLKIT}.conf</include>
        <policy user="{os.geteuid()}"><allow own="{POLKIT}"/></policy>
        <policy context="default"><allow send_destination="{POLKIT}"/></policy>
    """
    with Daemon(public_folder / "bus", RESTRICTIVE, more, kind="system") as daemon:
        yield daemon


@contextmanager
def station(
    bus: Daemon, folder: Path, *argv: str, uid: int = SELF, prefix: tuple[str, ...] | None = None
) -> Iterator[ServiceProcess]:
    """Install the service for a user, and run it as that user; or as a prefix of commands says."""
    status, said = run_to_end(
        [sys.executable, "-m", "sparts", "dbus-install", "station:Station", "--system",
         "--user", str(uid), "--root", str(folder / "root")], cwd=folder,
    )  # fmt: skip
    assert status == 0, said
    bus.reload()
    prefix = tuple(as_user(uid, reading_all=True)) if prefix is None else prefix
    command = [*prefix, sys.executable, str(folder / "station.py"), "--dbus-system-bus", *argv]
    env = clean_environment(DBUS_SYSTEM_BUS_ADDRESS=bus.address)
    with ServiceProcess(command, cwd=folder, env=env) as process:
        process.read_until_started()
        status_of = Path(f"/proc/{process.process.pid}/status").read_text(encoding="utf-8")
        assert f"Uid:\t{uid}\t{uid}\t" in status_of
        yield process
        assert process.stop(signal.SIGTERM) == 0, process.output


def command_to_set(volume: int, tool: str, bus: Daemon) -> list[str]:
    """Give a client's command that sets the volume."""
    return {
        "gdbus": ["gdbus", "call", "--address", bus.address, "--dest", NAME, "--object-path", PATH,
                  "--method", f"{INTERFACE}.setOption", "volume", f"<{volume}>"],
        "busctl": ["busctl", f"--address={bus.address}", "call", NAME, PATH, INTERFACE,
                   "setOption", "sv", "volume", "i", str(volume)],
        "dbus-send": ["dbus-send", f"--bus={bus.address}", "--print-reply", f"--dest={NAME}", PATH,
                      f"{INTERFACE}.setOption", "string:volume", f"variant:int32:{volume}"],
    }[tool]  # fmt: skip


def set_volume(bus: Daemon, uid: int, volume: int, tool: str = "gdbus") -> str:
    """Set the volume as a user, and return what the client says."""
    return bus.run([*as_user(uid), *command_to_set(volume, tool, bus)], check=False)


def volume_of(bus: Daemon, uid: int = SELF) -> int:
    """Ask for the volume as a user."""
    command = ["busctl", f"--address={bus.address}", "call", NAME, PATH, INTERFACE, "getOption",
               "s", "volume"]  # fmt: skip
    return int(bus.run([*as_user(uid), *command]).removeprefix("v x "))


def denied(uid: int, runs_as: int) -> str:
    """Give the whole error for a user who may not, of a service that runs as another."""
    return (
        f"org.freedesktop.DBus.Error.AccessDenied: setOption is not allowed to user {uid}: it "
        f"takes root, user {runs_as}, the action {ACTION} by polkit, or a service that was started "
        "with --dbus-control."
    )


def spaced(said: str) -> str:
    """Give what a client says of a refusal in small letters, as words."""
    return said.replace("AccessDenied", "access denied").lower()


# -- by the user id --------------------------------------------------------------------------------


def test_own_user_may_change_on_the_system_bus(bus: Daemon, public_folder: Path) -> None:
    with station(bus, public_folder) as process:
        for volume, tool in enumerate(("gdbus", "busctl", "dbus-send"), 5):
            said = set_volume(bus, SELF, volume, tool)
            assert volume_of(bus) == volume, said
            process.read_until(rf"setOption was asked for by :1\.\d+, user {SELF}$")


BECOMING = ("setpriv", "--securebits=+no_setuid_fixup")
"""With the right to read on, since Python may lie in a closed folder."""


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("runs_as", "argv", "prefix", "may_not", "may"),
    [
        (NOBODY, (), None, DAEMON, ROOT),
        (NOBODY, ("--user", "nobody"), BECOMING, DAEMON, NOBODY),
        (ROOT, (), None, NOBODY, ROOT),
    ],
    ids=["root beside the own user", "the user it became", "root alone"],
)
def test_root_and_own_user_alone_may_change(
    bus: Daemon, public_folder: Path, runs_as: int, argv: Any, prefix: Any, may_not: int, may: int
) -> None:
    with station(bus, public_folder, *argv, uid=runs_as, prefix=prefix):
        for tool in ("busctl", "dbus-send"):  # busctl has words of its own for it
            assert "access denied" in spaced(set_volume(bus, may_not, 5, tool))
        assert denied(may_not, runs_as) in set_volume(bus, may_not, 5)
        assert volume_of(bus, may_not) == 3
        set_volume(bus, may, 6)
        assert volume_of(bus, may_not) == 6


@pytest.mark.needs_root
def test_option_lets_everybody_change_on_system_bus(bus: Daemon, public_folder: Path) -> None:
    with station(bus, public_folder, "--dbus-control", uid=NOBODY):
        set_volume(bus, DAEMON, 6)
        assert volume_of(bus, DAEMON) == 6


# -- by polkit -------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "dbus-system.md"
POLKITD = """\
mount --bind "$1" /usr/share/polkit-1/actions
mount --bind "$2" /etc/polkit-1/rules.d
mount -t tmpfs none /usr/share/polkit-1/rules.d
exec /usr/lib/polkit-1/polkitd
"""


@contextmanager
def polkit(bus: Daemon, folder: Path) -> Iterator[None]:
    """Run the real polkitd, which sees the actions that were installed, and alone the rule that the
    documentation shows, such that it lets `daemon` control the station.
    """
    blocks = find_blocks(PAGE, PAGE.read_text(encoding="utf-8"))
    (rule,) = (block.code for block in blocks if "polkit.addRule" in block.code)
    assert rule.count("alice") == rule.count("org.example.Radio") == 1
    rule = rule.replace("alice", "daemon").replace("org.example.Radio", NAME)
    rules = folder / "rules.d"
    rules.mkdir()
    (rules / "station.rules").write_text(rule, encoding="utf-8")
    actions = folder / "root/usr/share/polkit-1/actions"
    actions.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", POLKITD, "sh", str(actions), str(rules)],
        env=clean_environment(DBUS_SYSTEM_BUS_ADDRESS=bus.address),
        stdin=subprocess.DEVNULL,
    )
    try:
        bus.wait_for_name(POLKIT)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.needs_root
@pytest.mark.needs_namespace("mount")
@pytest.mark.needs("polkitd")
@pytest.mark.parametrize("uid", [ROOT, NOBODY])
def test_polkit_lets_only_whom_its_rules_let(bus: Daemon, public_folder: Path, uid: int) -> None:
    with station(bus, public_folder, uid=uid) as process, polkit(bus, public_folder):
        for tool in ("gdbus", "busctl"):
            assert "access denied" in spaced(set_volume(bus, GAMES, 5, tool))
        assert volume_of(bus, GAMES) == 3
        for volume, tool in enumerate(("gdbus", "busctl", "dbus-send"), 6):
            said = set_volume(bus, DAEMON, volume, tool)
            assert volume_of(bus, GAMES) == volume, said
    assert "polkit does not say" not in process.output


@pytest.mark.needs_root
@pytest.mark.needs_namespace("mount")
@pytest.mark.needs("polkitd")
def test_polkit_lets_nobody_do_what_no_file_declares(bus: Daemon, public_folder: Path) -> None:
    with station(bus, public_folder, uid=ROOT) as process:
        (public_folder / f"root/usr/share/polkit-1/actions/{NAME}.policy").unlink()
        with polkit(bus, public_folder):
            assert denied(DAEMON, ROOT) in set_volume(bus, DAEMON, 5)
            process.read_until(f"polkit does not say .*: Action {ACTION} is not registered")


class Authority(DBusObject):
    """Stands in for polkit where polkit itself cannot be brought to it."""

    INTERFACE = f"{POLKIT}.Authority"

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.began, self.release = threading.Event(), threading.Event()

    @dbus_method
    def CheckAuthorization(
        self,
        subject: tuple[str, dict[str, Any]],
        action_id: str,
        details: dict[str, str],
        flags: UInt32,
        cancellation_id: str,
    ) -> tuple[tuple[bool, bool, dict[str, str]]]:
        """Fail, when the test lets it."""
        self.asked.append((*subject, action_id, details, flags, cancellation_id, caller().sender))
        self.began.set()
        self.release.wait(30)
        raise DBusError(f"{POLKIT}.Error.Failed", "the authority is out of order")


class Polkit(DBusServiceTask):
    BUS_NAME = POLKIT

    def initTask(self) -> None:
        super().initTask()
        self.authority = Authority()
        self.export("/org/freedesktop/PolicyKit1/Authority", self.authority)


@contextmanager
def stand_in(bus: Daemon) -> Iterator[Authority]:
    """Run the stand-in for polkit."""
    with running(service_of(Polkit), "--dbus-address", bus.address) as service:
        authority: Authority = service.requireTask(Polkit).authority
        try:
            yield authority
        finally:
            authority.release.set()


@pytest.mark.needs_root
def test_polkit_asks_only_where_the_client_agrees(bus: Daemon, public_folder: Path) -> None:
    with station(bus, public_folder, uid=NOBODY), stand_in(bus) as authority:
        authority.release.set()
        for tool in ("gdbus", "busctl"):  # which asks for it by default
            assert "access denied" in spaced(set_volume(bus, DAEMON, 5, tool))
        subjects = [asked[:2] for asked in authority.asked]
        assert all(kind == "system-bus-name" for kind, _ in subjects)
        assert all(name["name"].startswith(":1.") for _, name in subjects)
        assert [asked[2:-1] for asked in authority.asked] == [
            (ACTION, {}, 0, ""), (ACTION, {}, 1, ""),
        ]  # fmt: skip
        owner = bus.gdbus("org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetNameOwner", NAME)
        assert {asked[-1] for asked in authority.asked} == {owner.strip("(),'")}


@pytest.mark.needs_root
def test_waiting_for_polkit_delays_nobody_else(bus: Daemon, public_folder: Path) -> None:
    with station(bus, public_folder, uid=NOBODY) as process, stand_in(bus) as authority:
        command = [*as_user(DAEMON), *command_to_set(5, "gdbus", bus)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as client:
            assert authority.began.wait(30)
            assert volume_of(bus, DAEMON) == 3
            set_volume(bus, NOBODY, 6)
            assert volume_of(bus, DAEMON) == 6
            authority.release.set()
            _, said = client.communicate(timeout=60)
        assert denied(DAEMON, NOBODY) in said
        assert volume_of(bus, DAEMON) == 6
        process.read_until("polkit does not say .*: the authority is out of order")
