"""The examples on D-Bus, run as their readers would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.dbus.daemons import Daemon
from tests.processes import ServiceProcess, clean_environment

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME, PATH = "org.example.Radio", "/org/example/Radio"


def example(name: str, bus: Daemon, tmp_path: Path, *argv: str) -> ServiceProcess:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *argv]
    return ServiceProcess(
        command, cwd=tmp_path, env=clean_environment(DBUS_SESSION_BUS_ADDRESS=bus.address)
    )


@pytest.mark.needs("dbus", "libglib2.0-bin", "systemd")
def test_the_radio_is_used_as_its_example_says(session_bus: Daemon, tmp_path: Path) -> None:
    bus = session_bus
    with example("dbus_service", bus, tmp_path) as radio:
        radio.read_until_started()
        assert bus.busctl("call", NAME, PATH, NAME, "Tune", "d", "99.5") == 's "One"'
        bus.busctl("set-property", NAME, PATH, NAME, "Volume", "d", "0.8")
        assert bus.busctl("get-property", NAME, PATH, NAME, "Volume") == "d 0.8"
        said = bus.busctl("set-property", NAME, PATH, NAME, "Volume", "d", "1.8", check=False)
        assert "a volume is from 0 to 1" in said
        said = bus.gdbus(NAME, PATH, f"{NAME}.Tune", "90.0", check=False)
        assert "org.example.Radio.Error.Noise: only noise at 90.0 MHz" in said
        assert "Tune in to a station" in bus.introspect(NAME, PATH)
        assert bus.busctl(
            "get-property", NAME, f"{PATH}/stations/1", f"{NAME}.Station", "Name"
        ) == 's "Two"'  # fmt: skip
        assert radio.stop() == 0


@pytest.mark.needs("dbus")
def test_listener_hears_radio_come_speak_and_go(session_bus: Daemon, tmp_path: Path) -> None:
    with example("dbus_client", session_bus, tmp_path) as listener:
        listener.read_until_started()
        for _ in range(2):
            with example("dbus_service", session_bus, tmp_path) as radio:
                listener.read_until("Now on air: One")
                listener.read_until("The volume is 0.5")
                radio.read_until_started()
                assert radio.stop() == 0
            listener.read_until("There is no radio")
        assert listener.stop() == 0


@pytest.mark.needs_module("gi")
def test_file_is_watched_by_gio_on_glibs_loop(session_bus: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one", encoding="utf-8")
    with example("glib_loop", session_bus, tmp_path, "--watch-path", "file") as service:
        service.read_until("Watching file")
        service.read_until_started()
        (tmp_path / "file").write_text("two", encoding="utf-8")
        service.read_until("file: changed")
        assert service.stop() == 0
