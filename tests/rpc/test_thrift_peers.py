"""Others' clients call RPC over thrift: Apache's, which Debian's compiler makes, and thriftpy2's.

They know nothing but the IDL that ``sparts rpc idl --thrift`` prints.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, TypedDict

import pytest
import thriftpy2
from sparts.rpc import RPCTask, interface_of, rpc
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.rpc.kit import Kit
from sparts.testing.running import ServiceFactory, service_of
from sparts.thrift.rpc.idl import idl
from sparts.thrift.rpc.names import RESERVED
from sparts.vservice import VService
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport
from thriftpy2.protocol import TBinaryProtocolFactory, TMultiplexedProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.thrift import TApplicationException as TheirApplicationException
from thriftpy2.transport import TFramedTransportFactory

from tests.rpc.conftest import here


@pytest.fixture(scope="module")
def service(factory: ServiceFactory) -> VService:
    return factory(service_of(Kit, RPCThriftTask), *here("thrift"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("idl") / "rpc_kit.thrift"
    path.write_text(idl([interface_of(Kit)]))
    return path


@pytest.fixture(scope="module", params=["apache binary", "apache compact", "thriftpy2"])
def peer(request: pytest.FixtureRequest, service: VService, source: Path) -> Iterator[Any]:
    """Give a client and the module of the types of the IDL."""
    port = service.requireTask(RPCThriftTask).bound_port
    if request.param == "thriftpy2":
        types = thriftpy2.load(str(source), "rpc_kit_thrift")
        binary: Any = TBinaryProtocolFactory
        multiplexed = TMultiplexedProtocolFactory(binary(), "Kit")
        client: Any = make_client(
            types.Kit, "127.0.0.1", port, proto_factory=multiplexed,
            trans_factory=TFramedTransportFactory(), timeout=30_000,
        )  # fmt: skip
        yield client, types
        client.close()
        return
    request.applymarker(pytest.mark.needs("thrift-compiler"))
    made, types = generated(source)
    compact = request.param == "apache compact"
    with apache(
        port, TCompactProtocolAccelerated if compact else TBinaryProtocolAccelerated
    ) as spoken:
        yield made.Client(spoken), types


def generated(source: Path) -> tuple[Any, Any]:
    subprocess.run(["thrift", "--gen", "py", "-out", str(source.parent), str(source)], check=True)
    if str(source.parent) not in sys.path:
        sys.path.insert(0, str(source.parent))
    return importlib.import_module("rpc_kit.Kit"), importlib.import_module("rpc_kit.ttypes")


@contextmanager
def apache(port: int, protocol: Any) -> Iterator[Any]:
    sock = TSocket("127.0.0.1", port)
    sock.setTimeout(30_000)
    transport = TFramedTransport(sock)
    transport.open()
    try:
        yield protocol(transport)
    finally:
        transport.close()


def everything(types: Any) -> Any:
    return types.Everything(
        flag=True, number=-(2**63), real=-0.5, text="Grüße 🦊", data=b"\0\xff", items=[1, 2],
        pair=types.TupleI64String(item1=7, item2="seven"), names={"a", "b"}, counts={"ü": 1},
        maybe=0, colour=types.Colour.GREEN, level=types.Level.HIGH,
        when_="2026-11-27T12:00:00.123456Z", day="2024-02-29", span="-PT0.000005S",
        id="12345678-1234-5678-1234-567812345678", price="19.990",
        point=types.Point(x=1.5, y=2.0), account=types.Account(id=5, owner="me"),
        shape=types.CircleOrSquare(
            square=types.Square(centre=types.Point(x=0.0, y=0.0), radius=2.0)
        ),
        points=[types.Point(x=1.0, y=2.0)], by_name={}, nested=[[1], []],
    )  # fmt: skip


def test_peers_send_and_get_every_type(peer: Any) -> None:
    client, types = peer
    value = everything(types)
    returned = client.everything(value)
    returned.names = set(returned.names)
    assert vars(returned) == vars(value)
    assert client.nothing() is None
    points = types.Point(x=0.0, y=0.0), types.Point(x=3.0, y=4.0)
    assert client.distance(*points, None) == 5.0  # the default
    assert client.distance(*points, 2.0) == 10.0
    tree = types.Tree(name="a", children=[types.Tree(name="b", children=[])])
    assert client.echo_tree(tree) == tree
    assert client.echo_maybe(None).value is None
    assert client.echo_maybe("").value == ""
    assert client.echo_options(types.Options(depth=3)) == types.Options(depth=3)
    assert client.colour(None) == types.Colour.GREEN
    assert client.count(3) == [0, 1, 2]
    assert client.count_async(0) == []
    assert client.echo_async("async") == "async"


def test_peers_get_fields_that_were_left_out(peer: Any) -> None:
    client, types = peer
    value = everything(types)
    value.points = value.by_name = value.nested = value.maybe = None
    returned = client.everything(value)
    assert (returned.points, returned.by_name, returned.nested) == ([], {}, [])
    assert (returned.maybe, returned.perhaps) == (None, None)


def test_peers_get_declared_errors_as_exceptions(peer: Any) -> None:
    client, types = peer
    with pytest.raises(types.TooFar) as far:
        client.fail("far")
    assert far.value.message == "too far: far"
    with pytest.raises(types.Forbidden):
        client.fail("default")


APPLICATION = (TApplicationException, TheirApplicationException)


def test_peers_get_other_errors_as_application_exceptions(peer: Any) -> None:
    client, types = peer
    with pytest.raises(APPLICATION, match="InternalError: internal error"):
        client.fail("otherwise")
    for field, wrong, why in (
        ("colour", 77, "value.colour: no member of"),
        ("price", "cheap", "value.price: "),
        (
            "points",
            [types.Point(x=1.0, y=2.0), types.Point(x=1.0)],
            r"value.points\[1\]: missing in",
        ),
    ):
        value = everything(types)
        setattr(value, field, wrong)
        with pytest.raises(APPLICATION, match=f"InvalidArgumentsError: {why}"):
            client.everything(value)
    with pytest.raises(APPLICATION, match=r"InvalidArgumentsError: .* missing"):
        client.distance(None, types.Point(x=0.0, y=0.0), 1.0)
    with pytest.raises(APPLICATION, match="InvalidArgumentsError: a: missing in Point: y"):
        client.distance(types.Point(x=1.0), types.Point(x=0.0, y=0.0), 1.0)
    assert client.echo_int(1) == 1


@pytest.mark.needs("thrift-compiler")
def test_a_multiplexed_client_names_the_task(service: VService, source: Path) -> None:
    made, _ = generated(source)
    with apache(service.requireTask(RPCThriftTask).bound_port, TBinaryProtocolAccelerated) as plain:
        assert made.Client(TMultiplexedProtocol(plain, "Kit")).echo_int(2) == 2
        with pytest.raises(TApplicationException, match="there is no service 'Other', but Kit"):
            made.Client(TMultiplexedProtocol(plain, "Other")).echo_int(2)


Words = TypedDict("Words", dict.fromkeys(sorted(RESERVED), int), total=False)  # type: ignore[misc]


class Word(Enum):
    BEGIN = "begin"
    END = "end"


class Odd(RPCTask):
    """Names that the compiler keeps for itself. */"""

    @rpc
    def next(self, words: Words, word: Word, end: int = 0) -> Words:
        """Return the words."""
        return words


@pytest.mark.needs("thrift-compiler")
def test_reserved_words_are_names_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "odd.thrift"
    path.write_text(idl([interface_of(Odd)]))
    subprocess.run(["thrift", "--gen", "py", "-out", str(tmp_path), str(path)], check=True)
    text = (tmp_path / "odd" / "Odd.py").read_text()
    assert "def next_(self, words, word, end_)" in text


class Script(RPCTask):
    """Names that JavaScript keeps for itself."""

    @rpc
    def call(self, null: int, true: int, typeof: int, debugger: int, export: int) -> int:
        """Return one of them."""
        return null


@pytest.mark.needs("thrift-compiler")
def test_generated_javascript_can_be_parsed(tmp_path: Path) -> None:
    from playwright._impl._driver import compute_driver_executable

    path = tmp_path / "script.thrift"
    path.write_text(idl([interface_of(Script)]))
    subprocess.run(["thrift", "--gen", "js:node", "-out", str(tmp_path), str(path)], check=True)
    node = str(compute_driver_executable()[0])
    for name in ("Script.js", "script_types.js"):
        subprocess.run([node, "--check", str(tmp_path / name)], check=True)
