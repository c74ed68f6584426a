"""Copies of a service behind one port: replaced one after the other, and no request is lost."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
from pathlib import Path

from scripts.build_distributions import ROOT
from tests.processes import ServiceProcess

EXAMPLE = ROOT / "examples" / "rolling.py"
WEB = """
import asyncio, os, sys
import tornado.web
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService

class Pid(tornado.web.RequestHandler):
    async def get(self):
        await asyncio.sleep(0.005)
        self.write(f"{os.getpid()} end")

class Web(TornadoHTTPTask):
    OPT_PREFIX = "http"
    def getApplicationConfig(self):
        return [("/", Pid)]

class Service(VService):
    TASKS = [Web]
    def preprocessOptions(self):
        if os.path.exists("broken"):
            sys.exit(2)

Service.initFromCLI()
"""


class Load:
    """Clients that ask, a connection for each request, until they are told to stop."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.pids: set[int] = set()
        self.failed: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port)) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    with connection.makefile("rb") as stream:
                        answer = stream.read().decode()
                self.pids.add(int(re.findall(r"(\d+) end$", answer)[0]))
            except Exception as error:
                self.failed.append(repr(error))

    def end(self) -> None:
        """Stop, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_rolling_restart_loses_no_request(tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(WEB)
    command = [sys.executable, str(EXAMPLE), "2", "0", sys.executable, "web.py"]
    with ServiceProcess(command, cwd=tmp_path) as supervisor:
        port = int(supervisor.read_until(r"^port: (\d+)")[1])
        pids = {int(supervisor.read_until(r"^ready: (\d+)")[1]) for _ in range(2)}
        load = Load(port)
        try:
            for _ in range(2):
                supervisor.process.send_signal(signal.SIGHUP)
                pids |= {int(supervisor.read_until(r"^ready: (\d+)")[1]) for _ in range(2)}
                supervisor.read_until("^all replaced")
            (tmp_path / "broken").touch()
            supervisor.process.send_signal(signal.SIGHUP)
            supervisor.read_until(r"^ended with \d before it was ready")  # the old ones go on
        finally:
            load.end()
        assert load.failed == []
        assert len(pids) == 6
        assert load.pids <= pids
        assert len(load.pids) > 2
        assert supervisor.stop(signal.SIGTERM) == 0, supervisor.output


def wait_in(listener: socket.socket, clients: int = 20) -> list[socket.socket]:
    return [socket.create_connection(listener.getsockname()) for _ in range(clients)]


def reset(connections: list[socket.socket]) -> int:
    """Send on each connection, tell how many are reset, and close them."""
    count = 0
    for connection in connections:
        with connection:
            connection.settimeout(0.01)
            try:
                connection.sendall(b"x")
                connection.recv(1)
            except TimeoutError:
                continue
            except OSError:
                count += 1
    return count


def test_what_waits_in_a_socket_that_closes_is_reset_unless_somebody_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as one:
        address = one.getsockname()
        other = socket.create_server(address, reuse_port=True)
        waiting = wait_in(one, 40)
        other.close()  # some waited there, and are not moved to `one`
        assert 0 < reset(waiting) < 40
    with socket.create_server(("127.0.0.1", 0)) as held:
        other = held.dup()
        waiting = wait_in(held)
        other.close()
        assert reset(waiting) == 0
