"""Every server of ours shares its connections evenly among the copies of ``--processes``."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
from sparts.testing.processes import ServiceProcess
from sparts.testing.waiting import WAIT

from tests.core.copies import children_of

pytestmark = pytest.mark.skipif(
    os.environ.get("SPARTS_OTHER_PYTHON") == "1", reason="it ran on another"
)

CONNECTIONS = 64
SERVERS = {
    "asyncio": """
        import asyncio
        from sparts.tasks.asyncio_server import AsyncioServerTask as Base
        class Silent(asyncio.Protocol):
            pass
        class Server(Base):
            def make_protocol(self):
                return Silent()
        """,
    "tornado": """
        from sparts.tasks.tornado import TornadoHTTPTask as Base
        class Server(Base):
            pass
        """,
    "asgi": """
        from sparts.tasks.asgi import AsgiTask as Base
        async def app(scope, receive, send):
            pass
        class Server(Base):
            APP = staticmethod(app)
        """,
    "thrift": """
        from sparts.tasks.fb303 import FB303HandlerTask
        from sparts.tasks.thrift import NBServerTask as Base
        class Server(Base):
            DEPS = [FB303HandlerTask]
        """,
    "twisted": """
        from sparts.tasks.twisted import TwistedServerTask as Base
        from twisted.internet.protocol import Factory, Protocol
        class Server(Base):
            def make_factory(self):
                return Factory.forProtocol(Protocol)
        """,
    "grpc": """
        import grpc
        from sparts.tasks.grpc import GrpcTask as Base
        class Server(Base):
            SERVICERS = ()
        """,
}
END = """
from sparts.vservice import VService
Server.OPT_PREFIX = "server"
class S(VService):
    TASKS = [Server]
S.initFromCLI()
"""


def inodes(port: int) -> set[str]:
    """The sockets of connections to a port on this machine, at its end."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}


def held_by(pid: int, sockets: set[str]) -> int:
    """How many of these sockets a process has open."""
    links = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.add(f"{path.readlink()}")
    return len({f"socket:[{inode}]" for inode in sockets} & links)


@pytest.mark.parametrize("server", SERVERS)
def test_connections_are_shared_evenly(server: str, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(dedent(SERVERS[server]) + END)
    argv = ("--processes", "2", "--server-port", "0", "--server-host", "127.0.0.1")
    with ServiceProcess([sys.executable, "service.py", *argv], cwd=tmp_path) as service:
        service.wait_ready()
        port = service.wait_for_port("Server")
        copies = children_of(service.pid)
        # A copy that this machine leaves no time in a burst is not waited for: then another is.
        bursts = (burst(port, copies) for _ in range(15))
        assert any(max(counts) <= 1.5 * CONNECTIONS / len(copies) for counts in bursts)
        assert service.stop() == 0, service.output


def burst(port: int, copies: list[int]) -> list[int]:
    """Connect many times at once; return how many connections each copy took."""
    connections = [socket.socket() for _ in range(CONNECTIONS)]
    for connection in connections:
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
    counts = [0]
    until = time.monotonic() + WAIT
    while sum(counts) < CONNECTIONS and time.monotonic() < until:
        time.sleep(0.02)
        counts = [held_by(pid, inodes(port)) for pid in copies]
    for connection in connections:
        connection.close()
    assert sum(counts) == CONNECTIONS
    while any(held_by(pid, inodes(port)) for pid in copies) and time.monotonic() < until:
        time.sleep(0.02)
    return counts
