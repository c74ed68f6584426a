"""Calls of a method over D-Bus a second: one and sixteen in flight, by a client in C.

The server is a process of its own: ours, on asyncio and on GLib's loop, against dbus-fast alone,
dasbus, Gio and dbus-python. All contenders have the same daemon, which takes its share of the time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.harness import Report, interleave
from tests.dbus.daemons import Daemon

SCRIPTS = Path(__file__).with_name("dbus")
CONTENDERS = {
    "sparts": ("on_sparts", "async"),
    "sparts, def": ("on_sparts", "def"),
    "sparts, GLib": ("on_sparts", "glib"),
    "dbus-fast": ("on_dbus_fast", "async"),
    "dbus-fast, def": ("on_dbus_fast", "def"),
    "dasbus": ("on_dasbus", ""),
    "Gio": ("on_gio", ""),
    "dbus-python": ("on_dbus_python", ""),
}
SECONDS = 0.5
LIBDBUS = (
    "dbus-python is libdbus, in C: a call takes 95,000 instructions of its server, and 144,000 of "
    "one on dbus-fast alone, 142,000 of ours (counted on CPython 3.11). With one call in flight, a "
    "coroutine begins one turn of asyncio's loop after its call has come."
)
"""Why dbus-python is faster than what stands on dbus-fast where calls come one by one."""


def compile_load(folder: Path) -> Path:
    """Compile the client."""
    target = folder / "load"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "dbus-1"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    command = ["cc", "-O2", str(SCRIPTS / "load.c"), "-o", str(target), *flags]
    subprocess.run(command, check=True)
    return target


def install_peers() -> None:
    """Install the peers that are built here, which the lock of the tests does not have."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable]
    done = subprocess.run([*command, "dasbus>=1.7", "dbus-python>=1.3"], check=False)
    if done.returncode:
        raise SystemExit("dbus-python is built here: apt-get install gcc pkg-config libdbus-1-dev "
                         "libglib2.0-dev. `make glib` installs PyGObject.")  # fmt: skip


def rate(load: Path, folder: Path, contender: tuple[str, str], in_flight: int) -> float:
    """Return the calls a second that a contender answers, on a bus of its own."""
    script, argument = contender
    with Daemon(folder) as bus:
        server = subprocess.Popen(
            [sys.executable, str(SCRIPTS / f"{script}.py"), argument],
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": bus.address},
            stderr=subprocess.DEVNULL,
        )
        try:
            bus.run(["gdbus", "wait", "--session", "--timeout", "30", "org.example.Bench"])
            found = bus.run([str(load), bus.address, str(in_flight), str(SECONDS)])
        finally:
            server.kill()
            server.wait()
    return float(found)


def measure(report: Report) -> None:
    """Compare the rates, with one call in flight and with sixteen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = compile_load(folder)
        for in_flight in (1, 16):
            contenders: dict[str, Callable[[], float]] = {
                name: partial(rate, load, folder, how, in_flight)
                for name, how in CONTENDERS.items()
            }
            rates = interleave(contenders, rounds=9, warmup=1)
            label = f"calls a second, {in_flight} in flight"
            judge(report, label, rates)


def judge(report: Report, label: str, rates: dict[str, list[float]]) -> None:
    """Judge our rates by those of the peers."""

    def against(ours: str, peer: str, at_least: float | None, what: str = "") -> None:
        distribution = "PyGObject" if peer == "Gio" else peer.partition(",")[0]
        report.ratio(
            f"{label}{what}", rates[ours], rates[peer], peer=distribution, at_least=at_least,
            unit="calls/s", why=LIBDBUS if peer == "dbus-python" else "",
        )  # fmt: skip

    against("sparts", "dbus-fast", 0.9)
    against("sparts", "dasbus", 1.0)
    against("sparts", "Gio", 1.0, " (Gio)")
    against("sparts", "dbus-python", 0.95)
    against("sparts, GLib", "dbus-python", None, ", ours on GLib's loop")
    against("sparts, def", "dbus-python", None, ", ours in threads (def)")
    against("sparts, def", "dbus-fast, def", None, ", def (theirs blocks its loop)")
    against("sparts", "dbus-fast, def", None, ", ours async, theirs def")


if __name__ == "__main__":
    install_peers()
    with Report("dbus", packages=["sparts-dbus", "PyGObject"]) as report:
        measure(report)
