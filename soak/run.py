"""Soak a service that does everything: `python -m soak.run [--seconds N] [--report]`.

One process with a task of every type that we ship, clients on every transport, and faults. Status
0: nothing was lost, nothing failed that should have worked, and memory, descriptors and threads
stayed flat. ``--report`` writes what was found into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sparts.testing.processes import ServiceProcess

from soak import report
from soak.clients import Away, Client, Http, http_clients, status_clients
from soak.faults import Thrower, bus_fault, core_faults, option_fault
from soak.measuring import Sampler
from soak.on_asgi import asgi_clients
from soak.on_dbus import dbus_clients
from soak.on_grpc import grpc_clients
from soak.on_rpc import ON_BUS, rpc_clients
from soak.on_thrift import thrift_clients, thrift_http_clients
from soak.on_twisted import twisted_clients
from soak.report import Soak
from tests.dbus.daemons import Daemon

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def soaked_service(folder: Path, bus: Daemon) -> Iterator[ServiceProcess]:
    """Run the service in a folder and on a bus of its own."""
    (folder / "watched").mkdir()
    (folder / "soak.toml").write_text("", encoding="utf-8")
    command = [sys.executable, "-X", "dev", "-m", "soak.service", "--level", "INFO"]
    command += ["--config", str(folder / "soak.toml"), "--folder-path", str(folder / "watched")]
    command += ["--status-port", "0"]
    for transport in ("http", "thrift", "grpc"):
        command += [f"--rpc-{transport}-port", "0"]
    with ServiceProcess(
        command, cwd=ROOT, env={"DBUS_SESSION_BUS_ADDRESS": bus.address}
    ) as process:
        process.wait_ready()
        yield process


def soak(seconds: float) -> Soak:
    """Soak for some seconds, and give what was found."""
    began = time.time()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        Daemon((folder := Path(name)) / "bus") as bus,
        soaked_service(folder, bus) as process,
    ):
        port, away = process.wait_for_port("Web"), Away()
        thrift_port = process.wait_for_port("Thrift")
        clients = [
            *http_clients(port, folder / "watched"),
            *status_clients(process.wait_for_port("Status")),
            *thrift_clients(thrift_port),
            *asgi_clients(process.wait_for_port("Asgi"), process.wait_for_port("Wsgi")),
            *grpc_clients(process.wait_for_port("Grpc")),
            *rpc_clients(
                {
                    "HTTP": f"http://127.0.0.1:{process.wait_for_port('RPCOnHTTP')}",
                    "thrift": f"thrift://127.0.0.1:{process.wait_for_port('RPCOnThrift')}",
                    "gRPC": f"grpc://127.0.0.1:{process.wait_for_port('RPCOnGrpc')}",
                    "D-Bus": f"dbus:{ON_BUS}?bus={bus.address}",
                },
                away,
            ),
            *twisted_clients(port, away),
            *thrift_http_clients(process.wait_for_port("ThriftOverHTTP")),
            *dbus_clients(bus.address, port, away),
        ]
        faults = [
            *core_faults(process, port, folder / "soak.toml", away),
            option_fault(thrift_port),
            bus_fault(bus, port, away),
        ]
        throwers = [Thrower(fault) for fault in faults]
        sampler = Sampler(process.pid)
        everybody: list[threading.Thread] = [*clients, *throwers, sampler]
        for thread in everybody:
            thread.start()
        end = time.monotonic() + seconds
        while not process.ended and (left := end - time.monotonic()) > 0:
            with contextlib.suppress(AssertionError):  # it did not end: that is what we want
                process.wait(min(left, 5.0))
        return _finish(process, port, clients, throwers, sampler, began)


def _finish(
    process: ServiceProcess,
    port: int,
    clients: list[Client],
    throwers: list[Thrower],
    sampler: Sampler,
    began: float,
) -> Soak:
    for thrower in throwers:
        thrower.end()
    for client in clients:
        client.end()
    for client in clients:
        client.close()
    sampler.end()
    seconds = time.time() - began
    ledger = {}
    if not process.ended:
        with Http(port) as web:
            ledger = web.json("GET", "/ledger")
    status = process.wait(0.1) if process.ended else process.stop()
    return Soak(seconds, began, clients, throwers, sampler.samples, ledger, status, process.lines)


def main() -> int:
    """Soak as the command line says; give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: 600)")
    parser.add_argument("--report", action="store_true", help="write docs/reliability.md's part")
    wanted = parser.parse_args()
    found = soak(wanted.seconds)
    print(report.text(found))
    if wanted.report:
        report.write(found)
    return 1 if found.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
