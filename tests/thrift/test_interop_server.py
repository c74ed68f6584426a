"""NBServerTask with real peers: Apache's client and thriftpy2's, and thriftpy2's code."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import thriftpy2
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.vservice import VService
from thrift.Thrift import TApplicationException
from thriftpy2.protocol import (
    TBinaryProtocolFactory,
    TCompactProtocolFactory,
    TCyBinaryProtocolFactory,
)
from thriftpy2.rpc import make_client
from thriftpy2.thrift import TApplicationException as TheirApplicationException
from thriftpy2.transport import TCyFramedTransportFactory, TFramedTransportFactory

from tests.thrift.echo import (
    PROTOCOLS,
    AsyncHandler,
    EchoHandler,
    InlineHandler,
    apache_client,
    ask_text,
    connect,
    read_frame,
    request,
    ttypes,
)
from tests.thrift.generated import IDL
from tests.thrift.values import INTEGERS, TEXTS, everything

py2 = thriftpy2.load(str(IDL / "sparts_interop.thrift"), "sparts_interop_thrift")
THEIRS: dict[str, tuple[Any, Any]] = {
    "binary": (TCyBinaryProtocolFactory, TCyFramedTransportFactory),
    "plain binary": (TBinaryProtocolFactory, TFramedTransportFactory),
    "compact": (TCompactProtocolFactory, TFramedTransportFactory),
}


class ThriftPyHandler(EchoHandler):
    """The same handler, of a service that thriftpy2 made."""

    MODULE = py2
    SERVICE_NAME = "Echo"
    types = py2


@contextmanager
def their_client(service: VService, protocol: str) -> Iterator[Any]:
    """Give a client of thriftpy2's of the service's server."""
    host, port = service.requireTask(NBServerTask).bound_addrs[0]
    spoken, framed = (factory() for factory in THEIRS[protocol])
    client = make_client(
        py2.Echo, host, port, proto_factory=spoken, trans_factory=framed, timeout=30_000
    )
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler, ThriftPyHandler])
def test_every_type_goes_both_ways_with_apaches_client(
    handler: type[ThriftHandlerTask], protocol: str, serve: Any
) -> None:
    service = serve(handler)
    with apache_client(service, protocol) as asking:
        assert asking.everything(everything()) == everything()
        assert asking.everything(ttypes.Everything()) == ttypes.Everything()
        assert asking.ping() is None
        asking.tell("once")  # nobody answers; the next answer is that of the next call
        for text in TEXTS:
            assert asking.text(text) == text
            assert asking.raw(text.encode()) == text.encode()
        assert service.requireTask(handler).told == ["once"]
        for number in INTEGERS:
            assert asking.add(number, 0) == number
        union = ttypes.Shape(group=[ttypes.Shape(name="a"), ttypes.Shape(point=ttypes.Point(1, 2))])
        assert asking.shape(union) == union
        with pytest.raises(ttypes.Refused) as refused:
            asking.fail("refused")
        assert (refused.value.why, refused.value.code) == ("because", 403)
        with pytest.raises(ttypes.Gone):
            asking.fail("gone")
        with pytest.raises(TApplicationException, match="internal error"):
            asking.fail("otherwise")
        with pytest.raises(TApplicationException, match="internal error"):
            asking.add(2**63 - 1, 1)  # too large for what the IDL says


@pytest.mark.parametrize("protocol", THEIRS)
@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler, ThriftPyHandler])
def test_every_type_goes_both_ways_with_thriftpy2s_client(
    handler: type[ThriftHandlerTask], protocol: str, serve: Any
) -> None:
    service = serve(handler)
    with their_client(service, protocol) as asking:
        sent = everything(py2)
        got = asking.everything(sent)
        got.words, got.shorts = set(got.words), set(got.shorts)  # it reads sets as lists
        assert got == sent
        for text in TEXTS:
            assert asking.text(text) == text
        for number in INTEGERS:
            assert asking.add(number, 0) == number
        assert asking.ping() is None
        asking.tell("once")
        with pytest.raises(py2.Refused) as refused:
            asking.fail("refused")
        assert (refused.value.why, refused.value.code) == ("because", 403)
        with pytest.raises(TheirApplicationException, match="internal error"):
            asking.fail("otherwise")
        assert service.requireTask(handler.__name__).told == ["once"]


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler])
def test_a_thousand_clients_are_served_at_once(
    handler: type[ThriftHandlerTask], serve: Any
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3000
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    try:
        service = serve(handler)
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(service)) for _ in range(1000)]
            for round_ in range(2):
                _ask_all(clients, round_)
            assert service.requireTask(NBServerTask).n_connections() == 1000
            ask_text(clients[500], "still")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _ask_all(clients: list[socket.socket], round_: int) -> None:
    """Ask all at once, and read all answers after that."""
    for number, connection in enumerate(clients):
        text = f"{round_}:{number}"
        connection.sendall(request(lambda client, text=text: client.send_text(text)))
    for number, connection in enumerate(clients):
        assert f"{round_}:{number}".encode() in read_frame(connection)
