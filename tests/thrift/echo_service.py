"""A service of the tests as a process: an echo over thrift."""

import sys

from sparts.vservice import VService

from tests.thrift.echo import EchoHandler, EchoServer, InlineHandler, InlineServer


class EchoService(VService):
    """Serves an EchoHandler, plain or inline."""

    if "--inline" in sys.argv:
        sys.argv.remove("--inline")
        TASKS = [InlineServer, InlineHandler]
    else:
        TASKS = [EchoServer, EchoHandler]


if __name__ == "__main__":
    EchoService.initFromCLI()
