"""`sparts dbus-install`, and a bus that starts a service by what it wrote."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from sparts.tasks.dbus import DBusServiceTask
from sparts.testing.running import make_service, running, service_of

from scripts.build_distributions import ROOT
from tests.dbus.daemons import OPEN, RESTRICTIVE, Daemon
from tests.dbus.services import Greeter
from tests.ecosystem.documentation import find_blocks, read_unit
from tests.processes import await_end, clean_environment, run_to_end

if TYPE_CHECKING:
    from dbus_fast import Message
    from sparts.tasks.dbus.bus import Bus

SCRIPT = """\
from sparts.tasks.dbus import DBusServiceTask, dbus_method
from sparts.vservice import VService

class Radio(DBusServiceTask):
    BUS_NAME = "org.example.Radio"

    @dbus_method
    def Tune(self, megahertz: float) -> str:
        return f"{megahertz} MHz"

class MyService(VService):
    TASKS = [Radio]

class Listener(DBusServiceTask):
    OPT_PREFIX = "my_ear"
    BUS_NAME = "org.example.my_Ear"

class Listening(VService):
    TASKS = [Listener]

class Without(VService):
    TASKS = ["PeriodicTask"]
"""
NAME = "org.example.Radio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_service.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path


def install(folder: Path, *words: str, expected: int = 0) -> str:
    """Install where the data of the user is in a folder; return what the command says."""
    command = [sys.executable, "-m", "sparts", "dbus-install", *words]
    status, told = run_to_end(["env", f"XDG_DATA_HOME={folder / 'data'}", *command], cwd=folder)
    assert status == expected, told
    return told


def test_dry_run_shows_files_and_writes_nothing(folder: Path) -> None:
    said = install(
        folder, "my_service:MyService", "--system", "--user", "radio", "--dry-run",
        "--root", str(folder / "root"), "--", "--level", "INFO",
    )  # fmt: skip
    for text in (
        f"--- {folder}/root/usr/share/dbus-1/system-services/{NAME}.service",
        f"Name={NAME}\n",
        "sparts run my_service:MyService --dbus-system-bus --level INFO\n",
        "User=radio\n",
        f"--- {folder}/root/usr/share/dbus-1/system.d/{NAME}.conf",
        '<policy user="radio">',
        f'<allow own="{NAME}"/>',
        f"--- {folder}/root/usr/share/polkit-1/actions/{NAME}.policy",
        f'<action id="{NAME}.control">',
        '<annotate key="org.freedesktop.policykit.owner">unix-user:radio</annotate>',
    ):
        assert text in said
    assert not (folder / "root").exists()


def test_name_is_one_that_options_give(folder: Path) -> None:
    said = install(
        folder, "my_service:MyService", "--dry-run", "--", "--dbus-bus-name", "org.example.Other"
    )
    assert "Name=org.example.Other\n" in said
    assert "<policy" not in said
    said = install(folder, "DBusServiceTask", "--dry-run", "--systemd-service", "x.service")
    assert "Name=org.sparts.Sparts\n" in said
    assert "SystemdService=x.service\n" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["my_service:Without"], "Without has no DBusServiceTask"),
        (["my_service:Nothing"], "no 'Nothing' there"),
        (["my_service:MyService", "--exec", "run-it"], "'run-it' is not an absolute path"),
        (["my_service:MyService", "--root", "/dev/null"], "could not be written: Not a directory"),
        (["my_service:MyService", "--level", "INFO"], "options of the service come after --"),
        (["my_service:MyService", "--", "--dbus-bus-name", "x"], "'x' is no name on a bus"),
    ],
)
def test_wrong_use_is_an_error_with_reason(folder: Path, words: list[str], said: str) -> None:
    output = install(folder, *words, expected=2)
    assert said in output
    assert "Traceback" not in output


def test_files_go_by_names_of_task(folder: Path) -> None:
    said = install(folder, "my_service:Listening", "--system", "--dry-run")
    assert "sparts run my_service:Listening --my-ear-system-bus\n" in said
    assert "/actions/org.example.my_Ear.policy\n" in said
    assert '<action id="org.example.my-Ear.control">' in said


def process_of(name: str, bus: Daemon) -> int:
    """Ask for the process that owns a name."""
    ask = "org.freedesktop.DBus.GetConnectionUnixProcessID"
    return int(bus.dbus_send("org.freedesktop.DBus", "/", ask, f"string:{name}").split()[-1])


def tune(bus: Daemon) -> str:
    return bus.gdbus(NAME, "/org/example/Radio", f"{NAME}.Tune", "99.5")


def end(pid: int) -> None:
    """End a process of which we are not the parent, and wait for that."""
    os.kill(pid, signal.SIGTERM)
    await_end(pid)


@pytest.mark.needs("dbus", "libglib2.0-bin")
@pytest.mark.parametrize("exec_", [None, f"{sys.executable} -m sparts run my_service:MyService"])
def test_session_bus_starts_service_when_it_is_called(
    folder: Path, exec_: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "data"
    words = ["--exec", exec_] if exec_ else []
    said = install(folder, "my_service:MyService", *words)
    services = home / "dbus-1" / "services"
    assert f"wrote {services}/{NAME}.service" in said
    monkeypatch.setenv("PYTHONPATH", str(folder))  # as if my_service were installed
    with Daemon(folder / "bus", OPEN, services=services) as bus:
        assert tune(bus) == "('99.5 MHz',)"
        pid = process_of(NAME, bus)
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
        if exec_:
            assert command[:-1] == exec_.split()
        assert command[-3:] == ["run", "my_service:MyService", ""]
        end(pid)
        assert tune(bus) == "('99.5 MHz',)"
        assert process_of(NAME, bus) != pid
        end(process_of(NAME, bus))


@pytest.mark.needs("dbus", "libglib2.0-bin", "util-linux")
@pytest.mark.needs_root
@pytest.mark.needs_namespace("mount")
def test_helper_of_system_bus_starts_command_as_user(public_folder: Path) -> None:
    """It reads the folder of the system, so it gets another for that; and Python may lie where that
    user may not read, so the command only tells who it is.
    """
    (public_folder / "my_service.py").write_text(SCRIPT, encoding="utf-8")
    told = public_folder / "told"
    told.touch()
    told.chmod(0o666)
    said = install(
        public_folder, "my_service:MyService", "--system", "--user", "nobody", "--root",
        str(public_folder / "root"), "--exec", f"/bin/sh -c 'id -un >{told}; exit 77'",
    )  # fmt: skip
    share = public_folder / "root" / "usr/share/dbus-1"
    more = f"""
        <user>messagebus</user>
        <servicehelper>/usr/lib/dbus-1.0/dbus-daemon-launch-helper</servicehelper>
        <includedir>{share}/system.d</includedir>
    """
    there = f"mount --bind {share}/system-services /usr/share/dbus-1/system-services"
    with Daemon(
        public_folder / "bus", RESTRICTIVE, more, "system", services=share / "system-services",
        prefix=["unshare", "--mount", "sh", "-ec", f'{there}; exec "$@"', "sh"],
    ) as bus:  # fmt: skip
        said = bus.gdbus(NAME, "/org/example/Radio", f"{NAME}.Tune", "99.5", check=False)
        assert "return code 77" in said
    assert told.read_text(encoding="utf-8") == "nobody\n"


class Systemd(DBusServiceTask):
    """Stands in for systemd, which runs nowhere but as a machine's process 1: starts the units that
    the bus asks for, as they say.
    """

    BUS_NAME = "org.freedesktop.systemd1"
    UNITS: ClassVar[Path]
    """The folder of the units."""

    def initTask(self) -> None:  # noqa: N802
        """Nothing has been asked for yet."""
        super().initTask()
        self.started: list[tuple[str, subprocess.Popen[bytes]]] = []

    def on_message(self, bus: Bus, message: Message) -> bool:
        """Start a unit if that is what the bus asks for."""
        if (message.interface, message.member) == (
            "org.freedesktop.systemd1.Activator", "ActivationRequest",
        ):  # fmt: skip
            (unit,) = message.body
            section = read_unit(without_repeats(self.UNITS / unit))["Service"]
            process = subprocess.Popen(
                shlex.split(section["ExecStart"]),
                cwd=section["WorkingDirectory"],
                env=clean_environment(DBUS_SYSTEM_BUS_ADDRESS=self.bus_address()),
                stdin=subprocess.DEVNULL,
            )
            self.started.append((unit, process))
        return super().on_message(bus, message)


def without_repeats(unit: Path) -> str:
    """Return a unit without the lines whose keys have been there already."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    keys = [line.partition("=")[0] if "=" in line else str(n) for n, line in enumerate(lines)]
    return "\n".join(line for n, line in enumerate(lines) if keys.index(keys[n]) == n)


@pytest.mark.needs("dbus", "libglib2.0-bin")
def test_system_bus_starts_the_unit_on_call(folder: Path) -> None:
    run = [sys.executable, "-m", "sparts", "run", "my_service:MyService", "--dbus-system-bus"]
    units = folder / "units"
    status, said = run_to_end(
        [*run, "--systemd-install", "--install-folder", str(units)], cwd=folder
    )
    assert status == 0, said
    said = install(
        folder, "my_service:MyService", "--system", "--user", str(os.geteuid()), "--root",
        str(folder / "root"), "--systemd-service", "MyService.service", "--exec", "/bin/false",
    )  # fmt: skip
    share = folder / "root" / "usr/share/dbus-1"
    more = f"""
        <includedir>{share}/system.d</includedir>
        <policy user="{os.geteuid()}"><allow own="org.freedesktop.systemd1"/></policy>
    """
    Systemd.UNITS = units
    with (
        Daemon(
            folder / "bus", RESTRICTIVE, more, "system", services=share / "system-services",
            options=["--systemd-activation"],
        ) as bus,
        running(service_of(Systemd), "--dbus-address", bus.address) as service,
    ):  # fmt: skip
        started = service.requireTask(Systemd).started
        assert started == []
        assert [tune(bus), tune(bus)] == ["('99.5 MHz',)"] * 2
        ((unit, process),) = started
        assert unit == "MyService.service"
        assert process_of(NAME, bus) == process.pid
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.needs("dbus", "libglib2.0-bin", "systemd")
def test_restrictive_system_bus_lets_what_policy_lets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = install(
        folder, "my_service:MyService", "--system", "--user", str(os.geteuid()), "--root",
        str(folder / "root"),
    )  # fmt: skip
    policies = folder / "root" / "usr/share/dbus-1/system.d"
    with Daemon(
        folder / "bus", RESTRICTIVE, f"<includedir>{policies}</includedir>", kind="system"
    ) as bus:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        with pytest.raises(Exception, match="does not let this user own"):
            make_service(service_of(Greeter), "--dbus-system-bus").startBG()
        argv = ("--dbus-system-bus", "--dbus-bus-name", NAME)
        with running(service_of(Greeter), *argv):
            path = "/org/example/Radio"
            said = bus.gdbus(NAME, path, "org.example.Greeter.Greet", "you")
            assert said == "('Hello, you',)"


def test_the_files_are_what_their_readers_take(folder: Path) -> None:
    install(folder, "my_service:MyService", "--system", "--root", str(folder / "root"))
    share = folder / "root" / "usr" / "share"
    parser = configparser.ConfigParser()
    parser.read(share / "dbus-1" / "system-services" / f"{NAME}.service")
    assert parser["D-BUS Service"]["name"] == NAME
    assert Path(parser["D-BUS Service"]["exec"].split()[0]).is_absolute()
    for path in ("dbus-1/system.d/org.example.Radio.conf",
                 "polkit-1/actions/org.example.Radio.policy"):  # fmt: skip
        ET.parse(share / path)  # noqa: S314 - our own
    assert not list(share.rglob("*.new"))


def test_the_page_shows_what_is_written(folder: Path) -> None:
    page = ROOT / "docs" / "how-to" / "dbus-system.md"
    said = install(
        folder, "my_service:MyService", "--system", "--user", "radio", "--dry-run",
        "--exec", "/opt/radio/bin/sparts run my_service:MyService --dbus-system-bus",
    )  # fmt: skip
    written = re.sub(r"(?s)<!--.*?-->\n", "", said)
    blocks = [block.code for block in find_blocks(page, page.read_text(encoding="utf-8"))]
    shown = [code for code in blocks if "polkit.addRule" not in code]
    assert len(shown) == 3
    for code in shown:
        assert code in written


def test_listing_a_command_imports_no_dbus() -> None:
    status, said = run_to_end([sys.executable, "-X", "importtime", "-m", "sparts", "--help"],
                              cwd=Path("/"))  # fmt: skip
    assert status == 0
    assert "dbus-install" in said
    assert "dbus_fast" not in said
