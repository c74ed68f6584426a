"""A server of Apache's: apache_server.py GENERATED KIND PROTOCOL [multiplexed].

KIND is threaded, pool, nonblocking, unix or http. It prints its port (or path), and ends when its
standard input does.
"""

from __future__ import annotations

import sys
from typing import Any


def protocol_factory(name: str) -> Any:
    """Give Apache's factory of a protocol."""
    from thrift.protocol.TBinaryProtocol import TBinaryProtocolAcceleratedFactory
    from thrift.protocol.TCompactProtocol import TCompactProtocolAcceleratedFactory
    from thrift.protocol.TJSONProtocol import TJSONProtocolFactory

    return {
        "binary": TBinaryProtocolAcceleratedFactory,
        "compact": TCompactProtocolAcceleratedFactory,
        "json": TJSONProtocolFactory,
    }[name]()


def main(generated: str, kind: str, protocol: str, *more: str) -> None:
    """Serve until the process ends."""
    sys.path.insert(0, generated)
    from thrift.server import THttpServer, TNonblockingServer, TServer
    from thrift.TMultiplexedProcessor import TMultiplexedProcessor
    from thrift.transport.TSocket import TServerSocket
    from thrift.transport.TTransport import TFramedTransportFactory

    from interop.included import ttypes as included  # type: ignore[import-not-found]
    from interop.main import Interop, Second, ttypes  # type: ignore[import-not-found]
    from tests.thrift.interop import handler

    handler.end_with_parent()
    processor: Any = Interop.Processor(handler.Handler(ttypes, included))
    if "multiplexed" in more:
        both: Any = TMultiplexedProcessor()
        both.registerProcessor("Interop", processor)
        both.registerProcessor("Second", Second.Processor(handler.Second()))
        processor = both
    factory = protocol_factory(protocol)
    if kind == "http":
        server: Any = THttpServer.THttpServer(processor, ("127.0.0.1", 0), factory)
        print(server.httpd.server_address[1], flush=True)
        server.serve()

    class Socket(TServerSocket):  # type: ignore[misc]
        def listen(self) -> None:
            super().listen()
            name = self.handle.getsockname()
            print(name if isinstance(name, str) else name[1], flush=True)

    sock: Any = Socket("127.0.0.1", 0)
    if kind == "unix":
        sock = Socket(unix_socket=more[-1])
    framed = TFramedTransportFactory()
    if kind == "nonblocking":
        server = TNonblockingServer.TNonblockingServer(processor, sock, factory, factory)
    elif kind == "pool":
        server = TServer.TThreadPoolServer(processor, sock, framed, factory)
    else:
        server = TServer.TThreadedServer(processor, sock, framed, factory, daemon=True)
    server.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
