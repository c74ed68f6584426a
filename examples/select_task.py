"""Runs other programs without a thread for each, and answers on a pair of sockets meanwhile."""

import socket
import subprocess

from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.tasks.select import ProcessFailed, ProcessStreamHandler, SelectTask
from sparts.vservice import VService


class Programs(PeriodicTask):
    """Runs some programs every hour; all of them are watched by the one thread of SelectTask."""

    DEPS = [SelectTask]
    INTERVAL = "1h"

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Run a program for its result, one that fails, and one whose output comes in pieces."""
        loop = self.service.requireTask(SelectTask)
        done = loop.popen_communicate(["sort"], input="pear\napple\n").result()
        self.logger.info("sorted: %s", done.stdout.split())
        try:
            loop.popen_communicate(["ls", "/no/such/directory"]).result()
        except ProcessFailed as error:
            self.logger.info("ls ended with status %d", error.returncode)
        ProcessStreamHandler(
            subprocess.Popen(["seq", "3"], stdout=subprocess.PIPE),  # noqa: S607
            loop,
            on_stdout=lambda data: self.logger.info("seq says %s", data.split()),
            on_exit=lambda status: self.logger.info("seq ended with status %d", status),
        )


class Echo(PeriodicTask):
    """Has a callback called when a socket can be read."""

    DEPS = [SelectTask]
    INTERVAL = "1h"

    def initTask(self) -> None:  # noqa: N802
        """Open the sockets, and register one of them."""
        super().initTask()
        self.ours, self.theirs = socket.socketpair()
        self.service.requireTask(SelectTask).register_read(self.ours, self.readable)

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Write to the other one."""
        self.theirs.send(b"hello")

    def readable(self, connection: socket.socket) -> None:
        """Read; called in the thread of the loop."""
        self.logger.info("read %s", connection.recv(100).decode())

    def stop(self) -> None:
        """Take the socket from the loop before it is closed."""
        super().stop()
        self.service.requireTask(SelectTask).unregister_read(self.ours)
        self.ours.close()
        self.theirs.close()


class SelectService(VService):
    """Runs programs."""

    TASKS = [Programs, Echo]


if __name__ == "__main__":
    SelectService.initFromCLI()
