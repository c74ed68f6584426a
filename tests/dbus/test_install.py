"""`sparts dbus-install`, and a bus that starts a service by what it wrote."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.dbus.daemons import OPEN, RESTRICTIVE, Daemon
from tests.processes import run_to_end

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

class Without(VService):
    TASKS = ["PeriodicTask"]
"""
NAME = "org.example.Radio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_service.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path


def install(folder: Path, *words: str, home: Path | None = None) -> tuple[int, str]:
    command = [sys.executable, "-m", "sparts", "dbus-install", *words]
    if home is not None:
        command = ["env", f"XDG_DATA_HOME={home}", *command]
    return run_to_end(command, cwd=folder)


def test_a_dry_run_shows_the_files_and_writes_nothing(folder: Path) -> None:
    status, said = install(
        folder, "my_service:MyService", "--system", "--user", "radio", "--dry-run",
        "--root", str(folder / "root"), "--", "--level", "INFO",
    )  # fmt: skip
    assert status == 0, said
    for text in (
        f"--- {folder}/root/usr/share/dbus-1/system-services/{NAME}.service",
        f"Name={NAME}\n",
        "sparts run my_service:MyService --dbus-system-bus --level INFO\n",
        "User=radio\n",
        f"--- {folder}/root/usr/share/dbus-1/system.d/{NAME}.conf",
        '<policy user="radio">',
        f'<allow own="{NAME}"/>',
        f"--- {folder}/root/usr/share/polkit-1/actions/org.sparts.service.policy",
        '<action id="org.sparts.service.control">',
    ):
        assert text in said
    assert not (folder / "root").exists()


def test_the_name_is_the_one_that_the_options_give(folder: Path) -> None:
    status, said = install(
        folder, "my_service:MyService", "--dry-run", "--", "--dbus-bus-name", "org.example.Other"
    )
    assert status == 0
    assert "Name=org.example.Other\n" in said
    assert "<policy" not in said
    _, said = install(folder, "DBusServiceTask", "--dry-run", "--systemd-service", "x.service")
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
def test_wrong_use_is_an_error_that_says_what_is_wrong(
    folder: Path, words: list[str], said: str
) -> None:
    status, output = install(folder, *words)
    assert status == 2
    assert said in output
    assert "Traceback" not in output


@pytest.mark.needs("dbus", "libglib2.0-bin")
def test_a_session_bus_starts_the_service_when_it_is_called(folder: Path) -> None:
    script = folder / "run.sh"
    script.write_text(f"#!/bin/sh\ncd {folder}\nexec {sys.executable} -m sparts run "
                      "my_service:MyService\n", encoding="utf-8")  # fmt: skip
    script.chmod(0o755)
    home = folder / "data"
    status, said = install(folder, "my_service:MyService", "--exec", str(script), home=home)
    assert status == 0, said
    services = home / "dbus-1" / "services"
    assert f"wrote {services}/{NAME}.service" in said
    with Daemon(folder / "bus", OPEN, services=services) as bus:
        said = bus.gdbus(NAME, "/org/example/Radio", f"{NAME}.Tune", "99.5")
        assert said == "('99.5 MHz',)"
        ask = "org.freedesktop.DBus.GetConnectionUnixProcessID"
        pid = int(bus.dbus_send("org.freedesktop.DBus", "/", ask, f"string:{NAME}").split()[-1])
        assert f"{sys.executable}\0-m\0sparts" in Path(f"/proc/{pid}/cmdline").read_text()
        os.kill(pid, 15)


@pytest.mark.needs("dbus", "libglib2.0-bin", "systemd")
def test_a_restrictive_system_bus_lets_what_the_policy_lets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparts.testing.running import make_service, running, service_of

    status, said = install(
        folder, "my_service:MyService", "--system", "--root", str(folder / "root")
    )
    assert status == 0, said
    policies = folder / "root" / "usr/share/dbus-1/system.d"
    from tests.dbus.services import Greeter

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
    import configparser
    import xml.etree.ElementTree as ET

    share = folder / "root" / "usr" / "share"
    parser = configparser.ConfigParser()
    parser.read(share / "dbus-1" / "system-services" / f"{NAME}.service")
    assert parser["D-BUS Service"]["name"] == NAME
    assert Path(parser["D-BUS Service"]["exec"].split()[0]).is_absolute()
    for path in ("dbus-1/system.d/org.example.Radio.conf",
                 "polkit-1/actions/org.sparts.service.policy"):  # fmt: skip
        ET.parse(share / path)  # noqa: S314 - our own
    assert not list(share.rglob("*.new"))


def test_the_command_is_listed_and_imports_nothing_of_dbus_for_that() -> None:
    status, said = run_to_end([sys.executable, "-X", "importtime", "-m", "sparts", "--help"],
                              cwd=Path("/"))  # fmt: skip
    assert status == 0
    assert "dbus-install" in said
    assert "dbus_fast" not in said
