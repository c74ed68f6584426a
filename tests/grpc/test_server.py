"""What GrpcTask has beside calls: health, reflection, peers, interceptors, counters, options."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from sparts.calls import CallRefusedError, Reason
from sparts.errors import OptionError
from sparts.tasks.grpc import GrpcTask
from sparts.testing.certificates import FIRST_CERTIFICATE
from sparts.testing.running import running, service_of
from sparts.testing.waiting import log_of

from tests.grpc.greeters import (
    LOCAL,
    Greeter,
    GreeterTask,
    Text,
    ThreadGreeter,
    pb2_grpc,
    serving,
    target,
)
from tests.wrapping import wrapped_by

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def greet(channel: grpc.Channel, text: str) -> str:
    """Greet."""
    return str(pb2_grpc.GreeterStub(channel).Greet(Text(text=text), timeout=20).text)


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    """Give a channel to a service of the greeters."""
    with serving("--grpc-reflection") as (_, found):
        yield found


def check(channel: grpc.Channel, service: str = "") -> Any:
    """Ask for the health."""
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=20).status


def test_health_is_told_by_service(channel: grpc.Channel) -> None:
    """For the whole, and each service; NOT_FOUND for others."""
    assert check(channel) == SERVING
    assert check(channel, "sparts.tests.Greeter") == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        check(channel, "nobody")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    found = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest()).statuses
    assert found["sparts.tests.ThreadGreeter"].status == SERVING


def test_watchers_hear_of_the_stop_and_end() -> None:
    """NOT_SERVING at once; the stop does not wait for them."""
    with serving() as (service, channel):
        request = health_pb2.HealthCheckRequest()
        watch = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=60)
        assert next(watch).status == SERVING
        service.shutdown()
        assert [each.status for each in watch] == [NOT_SERVING]
        assert watch.code() is grpc.StatusCode.OK


def test_health_follows_readiness_and_drain() -> None:
    """While the service drains it serves, and reports NOT_SERVING."""
    with serving("--drain-time", "1s") as (service, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        service.shutdown()
        assert next(watch).status == NOT_SERVING
        assert greet(channel, "you") == "Hello, you"


def test_reflection_describes_all_services(channel: grpc.Channel) -> None:
    """As grpcurl asks for it."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"sparts.tests.Greeter", "grpc.health.v1.Health"} <= set(database.get_services())
    pool = descriptor_pool.DescriptorPool(database)
    method = pool.FindServiceByName("sparts.tests.Greeter").FindMethodByName("Greet")
    assert method.input_type.full_name == "sparts.tests.Text"


def test_reflection_has_its_newest_version(channel: grpc.Channel) -> None:
    """Which is the same on the wire."""
    ask = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (response,) = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    assert "sparts.tests.Greeter" in [each.name for each in response.list_services_response.service]


def test_services_can_be_described_at_run_time() -> None:
    """By a pool of their own, which reflection shows."""
    file = descriptor_pb2.FileDescriptorProto(name="run.proto", package="run", syntax="proto3")
    message = file.message_type.add(name="Number")
    message.field.add(name="value", number=1, type=3, label=1)
    method = file.service.add(name="Twice").method.add(name="Of")
    method.input_type = method.output_type = ".run.Number"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    number: Any = message_factory.GetMessageClass(pool.FindMessageTypeByName("run.Number"))

    class Twice(GrpcTask):
        def add_to_server(self, server: Any) -> None:
            handler = grpc.unary_unary_rpc_method_handler(
                lambda request, context: number(value=2 * request.value),
                number.FromString,
                number.SerializeToString,
            )
            server.add_service("run.Twice", {"Of": handler}, pool)

    with serving("--grpc-reflection", of=service_of(Twice)) as (service, channel):
        found = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        assert found.FindServiceByName("run.Twice").methods[0].name == "Of"
        call = channel.unary_unary("/run.Twice/Of", number.SerializeToString, number.FromString)
        assert call(number(value=21)).value == 42
        assert service.getCounters()['Twice.calls{method="run.Twice/Of",code="OK"}'] == 1


def test_task_may_be_a_servicer_itself() -> None:
    """Then it is served without any further word."""
    base: Any = pb2_grpc.GreeterServicer

    class Own(GrpcTask, base):  # type: ignore[misc]
        async def Greet(self, request: Any, context: Any) -> Any:  # noqa: N802
            return Text(text=f"{self.name} {context.service is self.service}")

    with serving(of=service_of(Own)) as (_, channel):
        assert greet(channel, "") == "Own True"


def test_what_is_no_servicer_fails_the_start() -> None:
    """The error names it."""
    wrong: Any = type("Wrong", (GrpcTask,), {"SERVICERS": (object(),)})
    with (
        pytest.raises(Exception, match="object in SERVICERS of Wrong"),
        running(service_of(wrong), *LOCAL),
    ):
        raise AssertionError("It started.")


def test_peer_is_the_clients_address(channel: grpc.Channel) -> None:
    """Without TLS there is no identity."""
    assert greet(channel, "peer").startswith("('ipv4:127.0.0.1:")
    assert greet(channel, "identity") == "(None, [])"


def test_peer_of_ipv6_and_unix_sockets(tmp_path: Path) -> None:
    """Written as grpcio does."""
    for argv, peer in (
        (("--grpc-host", "::1", "--grpc-port", "0"), "('ipv6:%5B::1%5D:"),
        (("--grpc-sock", str(tmp_path / "socket")), "('unix:'"),
    ):
        with running(service_of(GreeterTask), *argv) as service:
            where = target(service).replace("::1:", "[::1]:")
            with grpc.insecure_channel(where) as channel:
                assert greet(channel, "peer").startswith(peer)


def test_client_certificate_is_the_identity(pem: str) -> None:
    """In `auth_context`, `peer_identities` and `peer_identity_key`."""
    tls = ("--grpc-tls-cert", pem, "--grpc-tls-ca", pem)
    with running(service_of(GreeterTask), *LOCAL, *tls) as service:
        own, where = FIRST_CERTIFICATE.encode(), target(service)
        with grpc.secure_channel(where, grpc.ssl_channel_credentials(own, own, own)) as channel:
            identity = greet(channel, "identity")
            assert identity == "('x509_subject_alternative_name', [b'localhost', b'127.0.0.1'])"
            assert "'x509_common_name'" in greet(channel, "peer")
        with (
            grpc.secure_channel(where, grpc.ssl_channel_credentials(own)) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            greet(channel, "identity")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


class Outer(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Notes, and lets pass."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def intercept_service(self, proceed: Any, details: Any) -> Any:
        """Note the method, and what the metadata says."""
        self.seen.append(f"outer {dict(details.invocation_metadata).get('who')}")
        return await proceed(details)


class Inner(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses some calls."""

    def __init__(self, outer: Outer) -> None:
        self.outer = outer

    def intercept_service(self, proceed: Any, details: Any) -> Any:
        """Refuse those of one who may not."""
        self.outer.seen.append("inner")
        if dict(details.invocation_metadata).get("who") == "evil":
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: context.abort(grpc.StatusCode.PERMISSION_DENIED, "No.")
            )
        return proceed(details)


def test_interceptors_of_both_kinds_run() -> None:
    """Those of grpc.aio first."""
    outer = Outer()
    kind: Any = type("Guarded", (GreeterTask,), {"INTERCEPTORS": (Inner(outer), outer)})
    with serving(of=service_of(kind)) as (_, channel):
        for stub in (pb2_grpc.GreeterStub(channel), pb2_grpc.ThreadGreeterStub(channel)):
            response = stub.Greet(Text(text="you"), metadata=(("who", "me"),), timeout=20)
            assert response.text == "Hello, you"
            assert stub.Join(iter([Text(text="a")] * 3), timeout=20).text == "a,a,a"
            with pytest.raises(grpc.RpcError) as caught:
                stub.Greet(Text(text="you"), metadata=(("who", "evil"),), timeout=20)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert outer.seen[:2] == ["outer me", "inner"]
    assert len(outer.seen) == 12


def test_calls_are_counted_by_method_and_status() -> None:
    """And timed."""
    with serving() as (service, channel):
        greet(channel, "you")
        for path in ("/a/b", "/a/c"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(path)(b"")
        counters = service.getCounters()
    name = "GreeterTask.calls"
    assert counters[name + '{method="sparts.tests.Greeter/Greet",code="OK"}'] == 1
    assert counters[name + '{method="other",code="UNIMPLEMENTED"}'] == 2
    assert counters["GreeterTask.requests"] == 3
    assert counters['GreeterTask.responses{status="UNIMPLEMENTED"}'] == 2
    assert [n for n in counters if "call_duration_ms" in n and "Greet" in n and ".count" in n]


def test_access_log_shows_failed_calls() -> None:
    """All of them at INFO."""
    with serving("--grpc-access-log", "INFO") as (service, channel), log_of(service) as log:
        greet(channel, "you")
        log.wait_for_line("INFO:Service.GreeterTask.access:OK grpc /sparts.tests.Greeter/Greet")


def test_plugins_wrap_and_refuse_calls() -> None:
    """In the loop and in threads."""
    calls: list[Any] = []

    def refuse(call: Any, proceed: Any) -> Any:
        calls.append((call.kind, call.name, call.peer, call.is_async))
        if call.headers.get("who") == "evil":
            raise CallRefusedError(Reason.TOO_MANY, "Enough.", 1.5)
        return None if call.headers.get("who") == "nobody" else proceed()

    with serving(of=wrapped_by(refuse, GreeterTask)) as (_, channel):
        for stub in (pb2_grpc.GreeterStub(channel), pb2_grpc.ThreadGreeterStub(channel)):
            assert stub.Greet(Text(text="you"), timeout=20).text == "Hello, you"
            assert len(list(stub.Count(Text(number=2), timeout=20))) == 2
            with pytest.raises(grpc.RpcError) as caught:
                stub.Greet(Text(), metadata=(("who", "evil"),), timeout=20)
            error: Any = caught.value
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert [tuple(each) for each in error.trailing_metadata()] == [("retry-after", "2")]
            with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
                list(stub.Count(Text(number=2), metadata=(("who", "nobody"),), timeout=20))
    assert calls[0] == ("grpc", "sparts.tests.Greeter/Greet", "127.0.0.1", True)
    assert calls[4] == ("grpc", "sparts.tests.ThreadGreeter/Greet", "127.0.0.1", False)


def test_cancelled_calls_end_their_handlers() -> None:
    """In the loop by cancellation, in threads by what the context says."""
    ended, begun = threading.Semaphore(0), threading.Semaphore(0)

    class Waiting(Greeter):
        async def Greet(self, request: Any, context: Any) -> Any:  # noqa: N802
            context.add_done_callback(lambda _: ended.release())
            begun.release()
            return await super().Greet(request, context)

    class ThreadWaiting(ThreadGreeter):
        def Join(self, requests: Any, context: Any) -> Any:  # noqa: N802
            context.add_callback(ended.release)
            begun.release()
            try:
                return super().Join(requests, context)
            except grpc.RpcError:
                assert not context.is_active()
                ended.release()
                raise

    kind: Any = type("WaitingTask", (GrpcTask,), {"SERVICERS": (Waiting, ThreadWaiting)})
    with serving(of=service_of(kind)) as (_, channel):
        call = pb2_grpc.GreeterStub(channel).Greet.future(Text(text="wait"))
        assert begun.acquire(timeout=20)
        call.cancel()
        assert ended.acquire(timeout=20)
        with pytest.raises(grpc.RpcError):
            pb2_grpc.GreeterStub(channel).Greet(Text(text="wait"), timeout=0.1)
        assert ended.acquire(timeout=20)

        hold = threading.Event()

        def endless() -> Iterator[Any]:
            yield Text(text="a")
            hold.wait(20)

        joined = pb2_grpc.ThreadGreeterStub(channel).Join.future(endless())
        assert begun.acquire(timeout=20)
        assert begun.acquire(timeout=20)
        joined.cancel()
        assert ended.acquire(timeout=20)
        assert ended.acquire(timeout=20)
        hold.set()


def test_responses_are_compressed_by_option() -> None:
    """Where the client can read it; it is decompressed there."""
    with serving("--grpc-compression", "gzip") as (_, channel):
        response = pb2_grpc.GreeterStub(channel).Greet(Text(text="big", number=100_000))
        assert response.text == "x" * 100_000


@pytest.mark.parametrize("name", ["threads", "max-calls", "max-connections"])
def test_numbers_must_be_positive(name: str) -> None:
    """The error names the option."""
    with (
        pytest.raises(OptionError, match=f"--grpc-{name} must be 1 or more"),
        running(service_of(GrpcTask), *LOCAL, f"--grpc-{name}", "0"),
    ):
        raise AssertionError("It started.")
