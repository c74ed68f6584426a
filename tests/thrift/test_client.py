"""ThriftClient: its connections, its deadlines, what it tries again, and what its errors say."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import UsageError
from sparts.thrift.client import AsyncThriftClient, ThriftClient
from thrift.protocol.TProtocol import TProtocolException
from thrift.transport.TTransport import TTransportException

from tests.certificates import Authority, trusting
from tests.processes import run_to_end
from tests.thrift.interop.peers import IDL
from tests.thrift.scripted import Peer, Script, hold

pytestmark = [
    pytest.mark.needs("thrift-compiler"),
    pytest.mark.usefixtures("no_descriptor_left"),
]
CLIENTS = [ThriftClient, AsyncThriftClient]
NOBODY = 1
"""A port that nobody serves."""


class Waited:
    """An asynchronous client whose calls are made by a loop of its own, and waited for."""

    def __init__(self, client: Any, loop: asyncio.Runner | None = None) -> None:
        self._client = client
        self._runner = loop or asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "within":
            return lambda seconds: Waited(found(seconds), self._runner)
        return lambda *arguments: self._runner.run(_awaited(found, *arguments))

    def __enter__(self) -> Waited:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._runner.close()


async def _awaited(call: Callable[..., Any], *arguments: Any) -> Any:
    return await call(*arguments)


@pytest.fixture(autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the class of the clients of `client_of`; the first of `CLIENTS` by default."""
    monkeypatch.setattr(f"{__name__}.client_class", getattr(request, "param", ThriftClient))


client_class: Any = ThriftClient
both = pytest.mark.parametrize("kind", CLIENTS, indirect=True, ids=["threads", "coroutines"])
"""Runs a test with a client of each kind."""


def client_of(peer: Peer | int, types: Any, **options: Any) -> Any:
    port = peer if isinstance(peer, int) else peer.port
    client = client_class.for_hostport("127.0.0.1", port, types, service="Interop", **options)
    return client if client_class is ThriftClient else Waited(client)


def drop(connection: socket.socket) -> None:
    """Close the connection before anything is read."""


def saying(answer: bytes, then: Script = drop) -> Script:
    """Give a script that reads the beginning of a call, and answers it."""

    def say(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answer)
        then(connection)

    return say


# -- connecting --------------------------------------------------------------------------------


@both
def test_making_a_client_connects_to_nothing(types: Any) -> None:
    with client_of(NOBODY, types) as client:
        with pytest.raises(
            TTransportException, match=rf"^Cannot connect to 127\.0\.0\.1:{NOBODY}: Connection refu"
        ) as caught:
            client.join("a", "b")
        assert caught.value.type == TTransportException.NOT_OPEN
        assert str(caught.value).endswith("Is it running?")


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"unix": "/nowhere"}, "Cannot connect to /nowhere: No such file or dir"),
        ({"host": "no.invalid", "port": 9090}, r"Cannot connect to no\.invalid:9090: "),
    ],
)
def test_place_that_is_not_there_is_named(where: dict[str, Any], why: str, types: Any) -> None:
    with (
        ThriftClient(module=types, service="Interop", **where) as client,
        pytest.raises(TTransportException, match=why),
    ):
        client.nothing()


@both
def test_connecting_takes_no_longer_than_it_may(types: Any) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        for _ in range(8):  # nobody accepts: the queue is full
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        client = stack.enter_context(client_of(port, types, connect_timeout=0.2))
        with pytest.raises(TTransportException, match=f"to 127.0.0.1:{port} within 0.2 s"):
            client.nothing()


# -- connections -------------------------------------------------------------------------------


@both
def test_a_connection_is_kept_for_the_next_call(types: Any) -> None:
    with Peer(types) as peer, client_of(peer, types) as client:
        assert [client.served() for _ in range(5)] == [1, 2, 3, 4, 5]
        assert len(peer.connections) == 1


def test_threads_share_the_connections(types: Any) -> None:
    with Peer(types) as peer, client_of(peer, types, pool_size=3) as client:

        def work(number: int) -> None:
            for step in range(20):
                assert client.join(str(number), second=str(step)) == f"{number}|{step}"

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert len(peer.connections) <= 3


def test_call_waits_only_so_long_for_connections(types: Any) -> None:
    with (
        Peer(types, hold) as peer,
        client_of(peer, types, pool_size=1) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        hanging = pool.submit(client.hang)
        assert peer.connected.wait(30)
        with pytest.raises(TTransportException, match="has not answered nothing within 0.1 s"):
            client.within(0.1).nothing()
        client.close()
        assert hanging.exception() is not None


def test_dropped_connection_is_replaced_before_a_call(types: Any) -> None:
    with Peer(types) as peer, client_of(peer, types) as client:
        client.nothing()
        (old,) = peer.connections
        old.shutdown(socket.SHUT_RDWR)
        old.close()
        client.nothing()
        assert len(peer.connections) == 2


def test_connection_in_which_something_came_unasked_is_replaced(types: Any) -> None:
    sent = threading.Event()

    def noisy(connection: socket.socket) -> None:
        peer.serve_one(connection)
        connection.sendall(b"unasked")
        sent.set()
        hold(connection)

    with Peer(types, noisy) as peer, client_of(peer, types) as client:
        client.nothing()
        assert sent.wait(30)
        assert client.join("a", "b") == "a|b"
        assert len(peer.connections) == 2


def test_a_forked_child_uses_connections_of_its_own(types: Any, tmp_path: Path) -> None:
    script = f"""
import os, sys
from sparts.thrift.client import ThriftClient
from sparts.thrift.compiler import CompileContext
types = CompileContext().importThrift({str(IDL)!r})
client = ThriftClient.for_hostport("127.0.0.1", int(sys.argv[1]), types, service="Interop")
assert client.join("a", "b") == "a|b"
child = os.fork()
for step in range(50):
    assert client.join(str(child), str(step)) == f"{{child}}|{{step}}"
client.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    with Peer(types) as peer:
        command = [sys.executable, "-W", "error", "-c", script, str(peer.port)]
        status, output = run_to_end(command, cwd=tmp_path)
        assert status == 0, output
        assert len(peer.connections) == 2


# -- what is tried again -----------------------------------------------------------------------


@both
def test_call_whose_connection_breaks_is_not_made_twice(types: Any) -> None:
    with Peer(types, saying(b"")) as peer, client_of(peer, types) as client:
        with pytest.raises(
            TTransportException, match="closed the connection before it ans"
        ) as lost:
            client.nothing()
        assert lost.value.type == TTransportException.END_OF_FILE
        assert len(peer.connections) == 1
        client.nothing()


@both
@pytest.mark.parametrize("idempotent", [True, ["nothing", "join"], "nothing"])
def test_harmless_call_is_repeated(types: Any, idempotent: Any) -> None:
    with Peer(types, saying(b""), drop) as peer:
        with client_of(peer, types, idempotent=idempotent) as client:
            client.nothing()
        assert len(peer.connections) == 3


@both
def test_call_is_repeated_as_often_as_said(types: Any) -> None:
    with Peer(types, *[drop] * 5) as peer:
        with (
            client_of(peer, types, idempotent=True, retries=3) as client,
            pytest.raises(TTransportException, match="closed the connection"),
        ):
            client.nothing()
        assert len(peer.connections) == 4


@both
def test_what_an_exception_ends_is_not_made_again(types: Any) -> None:
    with Peer(types) as peer, client_of(peer, types, idempotent=True) as client:
        with pytest.raises(types.included.Declared):
            client.fail("declared")
        assert len(peer.frames) == 1
        client.nothing()
        assert len(peer.connections) == 1


# -- time --------------------------------------------------------------------------------------


@both
def test_late_answer_of_a_slow_call_is_dropped(types: Any) -> None:
    late = threading.Event()

    def slow(connection: socket.socket) -> None:
        call = peer.read(connection)
        late.wait(30)
        connection.sendall(peer.answer(call))

    with Peer(types, slow) as peer, client_of(peer, types, timeout=0.2) as client:
        where = f"127.0.0.1:{peer.port} has not answered join within 0.2 s"
        with pytest.raises(TTransportException, match=where) as caught:
            client.join("late", "answer")
        assert caught.value.type == TTransportException.TIMED_OUT
        late.set()
        assert client.within(30).join("a", "b") == "a|b"


@both
def test_deadline_is_for_the_whole_call(types: Any) -> None:
    stop = threading.Event()

    def trickle(connection: socket.socket) -> None:
        peer.read(connection)
        connection.sendall(struct.pack("!I", 100_000))
        while not stop.wait(0.02):
            connection.sendall(b"x")

    with Peer(types, trickle) as peer, client_of(peer, types, timeout=0.3) as client:
        with pytest.raises(TTransportException, match=r"within 0\.3 s"):
            client.join("a", "b")
        stop.set()


@both
def test_peer_without_reading_holds_no_call(types: Any) -> None:
    stop = threading.Event()

    def wait(connection: socket.socket) -> None:
        stop.wait(30)

    with Peer(types, wait) as peer, client_of(peer, types, timeout=0.3) as client:
        with pytest.raises(TTransportException, match=r"within 0\.3 s"):
            client.echoBinary(bytes(32_000_000))
        stop.set()


@both
def test_retries_end_with_the_time_of_the_call(types: Any) -> None:
    with (
        client_of(NOBODY, types, idempotent=True, retries=1000, timeout=0.3) as client,
        pytest.raises(TTransportException, match=r"Connection refused|within 0\.3 s"),
    ):
        client.nothing()


# -- what makes no sense -----------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "it speaks HTTP: give the client the path of its URL",
        ),
        (b"\x80\x01\x00\x02\x00\x00\x00\x07nothing", "answers without frames"),
        (
            struct.pack("!I", 2001),
            r"its answer has 2001 bytes, and 2000 are the limit \(max_frame=",
        ),
        (b"\xff\xff\xff\xff", "does not speak framed thrift: its answer begins with"),
        (b"\x00\x00", "closed the connection before it answered"),
        (struct.pack("!I", 20) + b"short", "closed the connection before it answered"),
    ],
)
def test_a_peer_that_speaks_something_else_is_told(answer: bytes, why: str, types: Any) -> None:
    with Peer(types, saying(answer)) as peer, client_of(peer, types, max_frame=2000) as client:
        with pytest.raises(TTransportException, match=rf"127\.0\.0\.1:{peer.port}:? .*{why}"):
            client.nothing()
        client.nothing()


@both
@pytest.mark.parametrize(
    "garbage", [b"", b"\x00", b"garbage" * 10, b"\x80\x01\x00\x02\x7f\xff\xff\xff"]
)
def test_answer_that_makes_no_sense_ends_its_connection(garbage: bytes, types: Any) -> None:
    script = saying(struct.pack("!I", len(garbage)) + garbage, hold)
    with Peer(types, script) as peer, client_of(peer, types) as client:
        with pytest.raises(TProtocolException, match="An answer to join makes no sense: "):
            client.join("a", "b")
        assert client.join("a", "b") == "a|b"
        assert len(peer.connections) == 2


@both
def test_an_answer_to_another_call_ends_its_connection(types: Any) -> None:
    def script(connection: socket.socket) -> None:
        call = bytearray(peer.read(connection))
        call[12:16] = b"\x7f\x00\x00\x01"  # the number, after the four letters of the name
        connection.sendall(peer.answer(bytes(call)))
        hold(connection)

    with Peer(types, script) as peer, client_of(peer, types) as client:
        with pytest.raises(TProtocolException, match="it has the number 2130706433, and the call"):
            client.join("a", "b")
        assert client.join("a", "b") == "a|b"


# -- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@both
def test_tls_and_its_connection_is_kept(types: Any, authority: Authority) -> None:
    tls = trusting(authority.certificate)
    with Peer(types, tls=authority.serving("127.0.0.1")) as peer:
        with client_of(peer, types, tls=tls) as client:
            big = bytes(3_000_000)
            assert client.echoBinary(big) == big
            assert [client.served() for _ in range(3)] == [1, 2, 3]
        assert len({id(c) for c in peer.connections if isinstance(c, ssl.SSLSocket)}) == 1


@both
def test_foreign_certificate_is_refused_or_expected(types: Any, authority: Authority) -> None:
    tls = trusting(authority.certificate)
    with Peer(types, tls=authority.serving("calculator.example")) as peer:
        with (
            client_of(peer, types, tls=tls) as client,
            pytest.raises(TTransportException, match="not trusted: IP address mismatch"),
        ):
            client.nothing()
        with client_of(peer, types, tls=tls, server_hostname="calculator.example") as client:
            client.nothing()


def say_hello(connection: socket.socket) -> None:
    connection.sendall(b"hello, this is no TLS\n")


@both
@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "its certificate is not trusted: "),
        (say_hello, "no TLS with it: "),
        (hold, r"Cannot connect to .* within 0\.2 s"),
    ],
)
def test_tls_that_cannot_be_spoken_is_told(
    script: Script | None, why: str, types: Any, authority: Authority
) -> None:
    tls = None if script else authority.serving("127.0.0.1")
    timeout = 0.2 if script is hold else 30.0
    with (
        Peer(types, *filter(None, [script]), tls=tls) as peer,
        client_of(peer, types, tls=True, connect_timeout=timeout) as client,
        pytest.raises(TTransportException, match=why),
    ):
        client.nothing()


# -- the end -----------------------------------------------------------------------------------


def test_closing_ends_the_calls_of_other_threads(types: Any) -> None:
    with Peer(types, hold) as peer, ThreadPoolExecutor(1) as pool:
        client = client_of(peer, types, timeout=None, idempotent=True)
        hanging = pool.submit(client.hang)
        assert peer.connected.wait(30)
        client.close()
        with pytest.raises(TTransportException, match="This client is closed"):
            hanging.result(30)
        with pytest.raises(TTransportException, match="This client is closed"):
            client.nothing()
        client.close()


# -- use ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLIENTS)
def test_methods_are_completed_and_tell_of_themselves(cls: type, types: Any) -> None:
    client: Any = cls.for_localhost(1, types, service="Interop")  # type: ignore[attr-defined]
    assert {"echoI64", "join", "call", "within", "close"} <= set(dir(client))
    assert str(inspect.signature(client.join)) == "(first, second)"
    assert client.join.__name__ == "join"
    assert client.join is client.join
    assert client.echoString.__doc__.startswith("Says the text again.")
    assert repr(client) == f"<{cls.__name__} of Interop at localhost:1>"
    with pytest.raises(AttributeError, match="Interop has no method 'jion'. Did you mean 'join'?"):
        client.jion  # noqa: B018
    with pytest.raises(AttributeError, match=r"no method 'zzzzzzzz'\. It has: echoBinary, "):
        client.zzzzzzzz  # noqa: B018
    assert not hasattr(client, "_nothing")


@pytest.mark.parametrize("compiler", ["thrift", "thriftpy2"])
def test_wrong_arguments_are_told_before_anything_is_sent(
    compiler: str, interop_by: Callable[[str], Any]
) -> None:
    with client_of(1, interop_by(compiler)) as client:
        with pytest.raises(TypeError, match=r"join\(first, second\): missing a required argument"):
            client.join("a")
        with pytest.raises(TypeError, match=r"join\(first, second\): too many positional argument"):
            client.join("a", "b", "c")
        with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'third'"):
            client.join("a", "b", third="c")


@both
def test_another_time_limit_shares_the_connections(types: Any) -> None:
    with Peer(types) as peer, client_of(peer, types) as client:
        client.nothing()
        other = client.within(5)
        assert other.join("a", "b") == "a|b"
        assert client.join is not other.join
        assert len(peer.connections) == 1
        with pytest.raises(UsageError, match="above 0"):
            client.within(0)


@pytest.mark.parametrize("cls", CLIENTS)
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"service": None}, "main has several services: Interop, Second. Name one of them"),
        ({"service": "Third"}, "main has no service 'Third'. It has: Interop, Second"),
        ({"module": os}, "os has no thrift service"),
        ({"protocol": "ascii"}, "No protocol is named 'ascii'. There are: binary, compact, json"),
        ({"port": 0}, "0 is no port to connect to"),
        ({"port": 70000}, "70000 is no port to connect to"),
        ({"host": ""}, "Give a client a host and a port, or the path of a Unix socket"),
        ({"unix": "/s"}, "Give a client a host and a port, or the path of a Unix socket"),
        ({"path": "service"}, "begins with '/'"),
        ({"timeout": 0}, "timeout is a number of seconds above 0, or None; not 0"),
        ({"connect_timeout": -1}, "connect_timeout is a number"),
        ({"idempotent": ["jion"]}, "idempotent: Interop has no method 'jion'"),
        ({"pool_size": 0}, "at least 1"),
    ],
)
def test_wrong_use_is_told(cls: type, changes: dict[str, Any], why: str, types: Any) -> None:
    right = {"host": "localhost", "port": 1, "module": types, "service": "Interop"}
    with pytest.raises(UsageError) as caught:
        cls(**(right | changes))
    assert why in str(caught.value)
