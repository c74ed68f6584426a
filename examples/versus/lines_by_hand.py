"""lines_sparts.py by asyncio alone."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import Any

log = logging.getLogger("LineService")
STOP_TIMEOUT = 25.0


class Lines(asyncio.Protocol):
    """Answers each line in capital letters."""

    def __init__(self, server: "Shouting") -> None:
        self.server, self.rest = server, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.transport.write(line.upper() + b"\n")
            self.server.lines += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self.server.closed.set()


class Shouting:
    """Serves the protocol, and reports."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lines = 0
        self.connections: set[Lines] = set()
        self.closed = asyncio.Event()

    async def report(self) -> None:
        while True:
            log.info("%d lines", self.lines)
            await asyncio.sleep(self.options.report_interval)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        host, port = self.options.shouting_host, self.options.shouting_port
        server = await loop.create_server(lambda: Lines(self), host, port)
        for sock in server.sockets:
            log.info("Shouting Server Started on %s:%d", *sock.getsockname()[:2])
        report = asyncio.create_task(self.report())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([report, stopping], return_when=asyncio.FIRST_COMPLETED)
        failed = report.done()
        report.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await report
        server.close()
        for connection in self.connections:
            connection.transport.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                while self.connections:
                    self.closed.clear()
                    await self.closed.wait()
        except TimeoutError:
            return 70
        return int(failed)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Shouts.")
    for name, kind, default, text in (
        ("shouting-host", str, "127.0.0.1", "address to listen on"),
        ("shouting-port", int, "0", "port to listen on"),
        ("report-interval", float, "60", "seconds between two reports"),
        ("level", str, "DEBUG", "what to log"),
    ):
        variable = "LINESERVICE_" + name.upper().replace("-", "_")
        parser.add_argument(
            f"--{name}", type=kind, default=os.environ.get(variable, default), help=text
        )
    return parser.parse_args(argv)


if __name__ == "__main__":
    options = parse(sys.argv[1:])
    logging.basicConfig(level=options.level, format="%(levelname)s:%(name)s:%(message)s")
    sys.exit(asyncio.run(Shouting(options).run()))
