"""A server of thriftpy2's: thriftpy2_server.py KIND PROTOCOL [multiplexed].

KIND is threaded or http. It prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main(kind: str, protocol: str, *more: str) -> None:
    """Serve until the process ends."""
    import thriftpy2.http
    import thriftpy2.protocol
    import thriftpy2.server
    import thriftpy2.thrift
    import thriftpy2.transport

    from tests.thrift.interop import handler

    handler.end_with_parent()
    types: Any = thriftpy2.load(str(Path(__file__).with_name("interop.thrift")))
    processor: Any = thriftpy2.thrift.TProcessor(
        types.Interop, handler.Handler(types, types.included)
    )
    if "multiplexed" in more:
        both = thriftpy2.thrift.TMultiplexedProcessor()
        both.register_processor("Interop", processor)
        second = thriftpy2.thrift.TProcessor(types.Second, handler.Second())
        both.register_processor("Second", second)
        processor = both
    protocols: Any = {
        "binary": thriftpy2.protocol.TBinaryProtocolFactory,
        "compact": thriftpy2.protocol.TCompactProtocolFactory,
        "json": thriftpy2.protocol.TApacheJSONProtocolFactory,
    }
    factory: Any = protocols[protocol]()

    base: Any = thriftpy2.transport.TServerSocket

    class Socket(base):  # type: ignore[misc]
        def listen(self) -> None:
            self.port = 0  # it takes none when it is made
            super().listen()
            print(self.sock.getsockname()[1], flush=True)

    sock: Any = Socket(host="127.0.0.1", port=1, client_timeout=None)
    if kind == "http":
        server: Any = thriftpy2.http.THttpServer(
            processor,
            ("127.0.0.1", 0),
            itrans_factory=thriftpy2.transport.TBufferedTransportFactory(),
            iprot_factory=factory,
        )
        print(server.httpd.server_address[1], flush=True)
    else:
        framed: Any = thriftpy2.transport.TFramedTransportFactory()
        server = thriftpy2.server.TThreadedServer(processor, sock, framed, factory, daemon=True)
    server.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
