"""A coroutine as a task: it serves TCP, and is restarted if it fails."""
import asyncio

from sparts.option_types import port
from sparts.options import option
from sparts.tasks.asyncio import AsyncioTask
from sparts.vservice import VService


class Echo(AsyncioTask):
    OPT_PREFIX = "echo"
    RESTART = "on-failure"

    port = option(type=port, default=7777, help="where to listen; 0: the system chooses")

    async def run(self) -> None:
        server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        host, port = server.sockets[0].getsockname()
        self.logger.info("Echo Server Started on %s:%d", host, port)
        try:
            await asyncio.Event().wait()  # until the stop cancels it
        finally:
            server.close()  # the loop cancels the connections; waiting for clients could take long

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()


class MyService(VService):
    TASKS = [Echo]


if __name__ == "__main__":
    MyService.initFromCLI()
