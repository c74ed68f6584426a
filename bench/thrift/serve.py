"""One server of the echo service, as a process: `python -m bench.thrift.serve NAME FOLDER`.

FOLDER holds what the thrift compiler made of echo.thrift. The process writes its port and serves
until it is killed.
"""

from __future__ import annotations

import importlib
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOCAL = "127.0.0.1"


class Echo:
    """Gives back what it gets."""

    def small(self, text: str) -> str:
        """Give it back."""
        return text

    def large(self, blob: Any) -> Any:
        """Give it back."""
        return blob


def say(port: int) -> None:
    """Tell the benchmark where to connect to."""
    print(port, flush=True)


def free_port() -> int:
    """Give a port that is free now, for servers that cannot take any."""
    with socket.socket() as sock:
        sock.bind((LOCAL, 0))
        port: int = sock.getsockname()[1]
        return port


def serve_sparts(module: Any, inline: bool) -> None:
    """Serve by NBServerTask."""
    from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
    from sparts.vservice import VService

    class EchoHandler(Echo, ThriftHandlerTask):
        """Gives back what it gets."""

        MODULE = module
        INLINE = inline

    class Server(NBServerTask):
        """Says where it listens."""

        def start(self) -> None:
            """Start, and say it."""
            super().start()
            say(self.bound_port)

    class EchoService(VService):
        """Nothing but thrift."""

        TASKS = [EchoHandler, Server]

    sys.argv[1:] = ["--thrift-host", LOCAL]
    EchoService.initFromCLI()


def serve_apache(module: Any, kind: str) -> None:
    """Serve by one of Apache's servers, with its C code."""
    from thrift.protocol.TBinaryProtocol import TBinaryProtocolAcceleratedFactory
    from thrift.server.TNonblockingServer import TNonblockingServer
    from thrift.server.TServer import TThreadedServer, TThreadPoolServer
    from thrift.transport.TSocket import TServerSocket
    from thrift.transport.TTransport import TFramedTransportFactory

    port = free_port()
    listener = TServerSocket(LOCAL, port)
    processor = module.Processor(Echo())
    protocol = TBinaryProtocolAcceleratedFactory(fallback=False)
    if kind == "TNonblockingServer":
        server = TNonblockingServer(processor, listener, protocol, threads=4)
        server.prepare()
    else:
        made = {"TThreadedServer": TThreadedServer, "TThreadPoolServer": TThreadPoolServer}[kind]
        server = made(processor, listener, TFramedTransportFactory(), protocol)
        if kind == "TThreadPoolServer":
            server.setNumThreads(64)  # each is one connection's
        listener.listen()
        listener.listen = lambda: None
    say(port)
    server.serve()


def serve_thriftpy2(kind: str) -> None:
    """Serve by one of thriftpy2's servers, with its Cython code."""
    import thriftpy2

    module: Any = thriftpy2.load(str(HERE / "echo.thrift"), "echo_thrift")
    port = free_port()
    if kind == "TThreadedServer":
        from thriftpy2 import protocol, rpc
        from thriftpy2.transport import TCyFramedTransportFactory

        make_server: Any = rpc.make_server
        make_protocol: Any = protocol.TCyBinaryProtocolFactory
        server = make_server(
            module.Echo,
            Echo(),
            LOCAL,
            port,
            proto_factory=make_protocol(),
            trans_factory=TCyFramedTransportFactory(),
            client_timeout=None,
        )
        server.trans.listen()
        server.trans.listen = lambda: None
    else:
        from thriftpy2.contrib.aio import rpc as aio_rpc
        from thriftpy2.contrib.aio.transport.framed import TAsyncFramedTransportFactory

        members = {name: _as_coroutine(getattr(Echo, name)) for name in ("small", "large")}
        make_aio_server: Any = aio_rpc.make_server
        server = make_aio_server(
            module.Echo,
            type("AsyncEcho", (), members)(),
            LOCAL,
            port,
            trans_factory=TAsyncFramedTransportFactory(),
            client_timeout=None,
        )
        server.init_server()
    say(port)
    server.serve()


def _as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    async def run(self: Any, value: Any) -> Any:
        return function(self, value)

    return run


def main(name: str, folder: str) -> None:
    """Serve by the server of a name, as bench_thrift.py has them."""
    sys.path.insert(0, folder)
    make, _, kind = name.partition(" ")
    if make == "thriftpy2":
        serve_thriftpy2(kind)
        return
    module = importlib.import_module("echo.Echo")
    if make == "sparts":
        serve_sparts(module, "inline" in kind)
    else:
        serve_apache(module, kind)


if __name__ == "__main__":
    main(*sys.argv[1:])
