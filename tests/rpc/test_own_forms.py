"""Types and values over the transports that have a form of their own: thrift, gRPC, D-Bus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sparts.rpc import InternalError, InvalidArgumentsError, connect, interface_of
from sparts.rpc.clients import Client, OutgoingCall, client_for
from sparts.tasks.dbus.rpc import RPCDBusTask
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.running import ServiceFactory, service_of

from tests.dbus.daemons import Daemon
from tests.rpc.conftest import here, url_of
from tests.rpc.odd import Left, OddTask, Right, odds

SERVERS: dict[str, Any] = {"thrift": RPCThriftTask, "grpc": RPCGrpcTask, "dbus": RPCDBusTask}


@pytest.fixture(scope="module", params=SERVERS)
def url(
    request: pytest.FixtureRequest,
    factory: ServiceFactory,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    tasks = service_of(OddTask, SERVERS[request.param])
    if request.param != "dbus":
        yield url_of(factory(tasks, *here(request.param)), request.param)
        return
    request.applymarker(pytest.mark.needs("dbus"))
    with Daemon(tmp_path_factory.mktemp("bus")) as daemon:
        service = factory(tasks, "--rpc-dbus-address", daemon.address)
        yield f"dbus:{service.requireTask(RPCDBusTask).name_on_bus}?bus={daemon.address}"
        factory.stop(service)


@pytest.fixture(scope="module")
def odd(url: str) -> Iterator[OddTask]:
    with connect(url, OddTask) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"any": ["a", 1, 2.5, True]}, {"any": "text"}, {"choice": "text"}, {"choice": 0},
        {"choice": [1]}, {"td": {}}, {"td": {"value": 1}}, {"left": Left(None, None)},
        {"left": Left(Right([]))}, {"many": ()}, {"smalls": [], "maybe_small": None},
        {"lists": {}, "by_float": {}, "maybe_list": []}, {"maybe_list": [1]},
    ],
)  # fmt: skip
def test_odd_types_survive(odd: OddTask, changes: Any) -> None:
    value = odds(**changes)
    assert odd.same(value) == value


def test_any_carries_none_or_refuses_it(odd: OddTask) -> None:
    for each in (None, {"a": [None]}):
        try:
            assert odd.same(odds(any=each)).any == each
        except InvalidArgumentsError as error:
            assert "value.any" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"small": 201}, "small: "), ({"name": "abcd"}, "name: "), ({"small": "1"}, "small: "),
        ({"pairs": [(1,)]}, "value.pairs"), ({"choice": 1.5}, "value.choice: "),
        ({"colours": {"red"}}, "value.colours"), ({"smalls": [300]}, "smalls"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_their_path(odd: OddTask, changes: Any, path: str) -> None:
    with pytest.raises(InvalidArgumentsError) as raised:
        odd.same(odds(**changes))
    assert path in str(raised.value)


def test_none_is_told_from_a_default(odd: OddTask) -> None:
    assert odd.default() == [5, 1, 2]
    assert odd.default() == [5, 1, 2]
    assert odd.default(None) == [None, 1, 2]
    assert odd.default(None, []) == [None, 2]


def test_a_wrong_result_is_an_internal_error(odd: OddTask) -> None:
    for call in (odd.wrong, odd.wrong_colour):
        with pytest.raises(InternalError) as raised:
            call()
        assert raised.value.id
        assert str(raised.value) == f"internal error {raised.value.id}"


def test_streams_are_lists_of_limited_length(url: str, odd: OddTask) -> None:
    assert odd.total(iter([1, 2, 3])) == 6
    if not url.startswith("grpc"):  # whose streams are no lists
        with pytest.raises(InvalidArgumentsError, match="more than 10000 items"):
            list(odd.endless())


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    found = client_for(url, interface_of(OddTask))
    yield found
    found.close()


def test_deadline_and_headers_reach_the_method(url: str, odd: OddTask, client: Client) -> None:
    left = odd.seconds()
    assert left is not None
    assert 0 < left < 62  # grpcio rounds it up
    with connect(url, OddTask, timeout=None) as proxy:
        assert proxy.seconds() is None
    method = client.interface.methods["header"]
    call = OutgoingCall(method, ("trace",), None, False)
    call.headers["Trace"] = "id"
    assert client.call(call) == "id"
