"""GrpcClientTask: shared channels with deadlines, retries and counters, closed at the stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from sparts.errors import OptionError
from sparts.tasks.grpc import GrpcClientTask
from sparts.testing.conformance import check_task
from sparts.testing.running import running, service_of
from sparts.vservice import VService

from tests.grpc.greeters import LOCAL, GreeterTask, Text, pb2_grpc, target


class Client(GrpcClientTask):
    """May call one method again."""

    IDEMPOTENT = ("sparts.tests.Greeter/Greet",)
    DEPS = (GreeterTask,)


@pytest.fixture
def service() -> Iterator[VService]:
    """Give a service that calls itself."""
    with running(service_of(GreeterTask, Client), *LOCAL) as found:
        yield found


def counted(service: VService) -> dict[str, Any]:
    """Return the counters of the client's calls."""
    prefix = "Client.calls"
    return {n[len(prefix) :]: v for n, v in service.getCounters().items() if n.startswith(prefix)}


def test_conformance() -> None:
    """It does what every task must."""
    check_task(GrpcClientTask)


def test_threads_share_a_counted_channel(service: VService) -> None:
    """All four kinds of call are counted by method and status."""
    client = service.requireTask(Client)
    channel = client.channel(target(service))
    assert client.channel(target(service)) is channel
    stub = pb2_grpc.GreeterStub(channel)
    assert stub.Greet(Text(text="you")).text == "Hello, you"
    assert len(list(stub.Count(Text(number=3)))) == 3
    assert stub.Join(iter([Text(text="a")])).text == "a"
    assert len(list(stub.Echo(iter([Text(text="a")])))) == 1
    with pytest.raises(grpc.RpcError):
        stub.Greet(Text(text="abort"))
    outcomes = [(name, "OK") for name in ("Greet", "Count", "Join", "Echo")]
    assert counted(service) == {
        f'{{method="sparts.tests.Greeter/{name}",code="{code}"}}': 1
        for name, code in (*outcomes, ("Greet", "FAILED_PRECONDITION"))
    }


def test_coroutines_share_a_counted_channel(service: VService) -> None:
    """On the loop of the client."""
    client = service.requireTask(Client)

    async def calls() -> str:
        channel = client.aio_channel(target(service))
        assert client.aio_channel(target(service)) is channel
        stub = pb2_grpc.GreeterStub(channel)
        assert [each.number async for each in stub.Count(Text(number=3))] == [0, 1, 2]
        return str((await stub.Greet(Text(text="you"))).text)

    assert client.loop_task.call(calls).result(10) == "Hello, you"
    assert sum(counted(service).values()) == 2


def test_channel_of_coroutines_is_refused_elsewhere(service: VService) -> None:
    """In another loop, all of its calls would fail."""
    client = service.requireTask(Client)

    async def get() -> None:
        client.aio_channel(target(service))

    for act in (lambda: asyncio.run(get()), lambda: client.aio_channel(target(service))):
        with pytest.raises(RuntimeError, match="is for the loop of AsyncioLoopTask"):
            act()


def test_calls_have_a_deadline_by_option() -> None:
    """Unless they bring their own."""
    with running(
        service_of(GreeterTask, Client), *LOCAL, "--grpc-client-timeout", "0.2"
    ) as service:
        stub = pb2_grpc.GreeterStub(service.requireTask(Client).channel(target(service)))
        with pytest.raises(grpc.RpcError) as caught:
            stub.Greet(Text(text="wait"))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert float(stub.Greet(Text(text="deadline"), timeout=50).text) > 1


def test_only_idempotent_methods_are_retried() -> None:
    """While the server is unavailable."""
    with running(service_of(GrpcClientTask), "--grpc-client-attempts", "3") as service:
        client = service.requireTask(GrpcClientTask)
        plain = dict(client._options())["grpc.service_config"]
        assert "retryPolicy" not in plain
    seen = []

    class Flaky(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, proceed: Any, details: Any) -> Any:
            seen.append(details.method)
            if seen.count(details.method) < 3:
                return grpc.unary_unary_rpc_method_handler(
                    lambda request, context: context.abort(grpc.StatusCode.UNAVAILABLE, "later"),
                    Text.FromString,
                    Text.SerializeToString,
                )
            return await proceed(details)

    server: Any = type("FlakyTask", (GreeterTask,), {"INTERCEPTORS": (Flaky(),)})
    client_type: Any = type("FlakyClient", (GrpcClientTask,), {"IDEMPOTENT": Client.IDEMPOTENT})
    with running(service_of(server, client_type), *LOCAL) as service:
        channel = service.requireTask(client_type).channel(target(service))
        assert pb2_grpc.GreeterStub(channel).Greet(Text(text="you")).text == "Hello, you"
        with pytest.raises(grpc.RpcError) as caught:
            pb2_grpc.ThreadGreeterStub(channel).Greet(Text(text="you"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (seen.count("/sparts.tests.Greeter/Greet"), len(seen)) == (3, 4)


def test_stopped_client_gives_no_channel() -> None:
    """And has closed those that it gave."""
    with running(service_of(GreeterTask, Client), *LOCAL) as service:
        client = service.requireTask(Client)
        with client.channel(target(service)) as channel:
            stub = pb2_grpc.GreeterStub(channel)
        assert stub.Greet(Text(text="you")).text == "Hello, you"
    with pytest.raises(RuntimeError, match="has stopped"):
        client.channel()
    with pytest.raises(ValueError, match="closed"):
        stub.Greet(Text(text="you"))
    with pytest.raises(RuntimeError, match="has stopped"):
        pb2_grpc.GreeterStub(channel).Greet(Text(text="you"))


def test_tls_is_spoken_with_an_authority(pem: str) -> None:
    """By option."""
    tls = ("--grpc-tls-cert", pem, "--grpc-client-tls-ca", pem)
    with running(service_of(GreeterTask, Client), *LOCAL, *tls) as service:
        port = service.requireTask(GreeterTask).bound_addrs[0][1]
        channel = service.requireTask(Client).channel(f"localhost:{port}")
        assert pb2_grpc.GreeterStub(channel).Greet(Text(text="you")).text == "Hello, you"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--grpc-client-attempts", "0"], "--grpc-client-attempts must be 1 to 5"),
        (["--grpc-client-tls-cert", "x"], "needs --grpc-client-tls-ca"),
        (["--grpc-client-tls-ca", "/nowhere"], "cannot read /nowhere"),
    ],
)
def test_wrong_options_fail_the_start(argv: list[str], message: str) -> None:
    """The error names the option."""
    with (
        pytest.raises(OptionError, match=message),
        running(service_of(GrpcClientTask), *argv),
    ):
        raise AssertionError("It started.")


def test_unreachable_server_is_unavailable() -> None:
    """Calls end, and are counted."""
    where = ("--grpc-client-target", "127.0.0.1:1")  # which nobody serves
    with running(service_of(GrpcClientTask), *where) as service:
        channel = service.requireTask(GrpcClientTask).channel()
        with pytest.raises(grpc.RpcError) as caught:
            pb2_grpc.GreeterStub(channel).Greet(Text())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        (count,) = [v for n, v in service.getCounters().items() if 'code="UNAVAILABLE"' in n]
        assert count == 1
