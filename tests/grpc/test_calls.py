"""Calls of code that grpcio-tools generates, by grpcio's client: the contract of grpcio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from sparts import masking
from sparts.masking import hide_secret
from sparts.testing.waiting import log_of
from sparts.vservice import VService

from tests.grpc.greeters import Text, pb2_grpc, serving

STUBS = {"loop": pb2_grpc.GreeterStub, "thread": pb2_grpc.ThreadGreeterStub}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[VService, grpc.Channel]]:
    """Give a service that runs for all tests of this module, and a channel to it."""
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def service(served: tuple[VService, grpc.Channel]) -> VService:
    return served[0]


@pytest.fixture(scope="module")
def channel(served: tuple[VService, grpc.Channel]) -> grpc.Channel:
    return served[1]


@pytest.fixture(params=["loop", "thread"])
def stub(request: pytest.FixtureRequest, channel: grpc.Channel) -> Any:
    """Give a client of each servicer."""
    return STUBS[request.param](channel)


def failure(call: Callable[[], Any]) -> Any:
    """Return the error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def texts(*values: str) -> Iterator[Any]:
    """Give requests."""
    return iter([Text(text=value) for value in values])


def test_responses_are_streamed(stub: Any) -> None:
    """One request, many responses; none is fine too."""
    assert [each.number for each in stub.Count(Text(number=300))] == list(range(300))
    assert list(stub.Count(Text(number=0))) == []


def test_stream_that_never_waits_blocks_no_others(channel: grpc.Channel) -> None:
    stub = pb2_grpc.GreeterStub(channel)
    assert len(list(stub.Count(Text(text="turn", number=1000), timeout=30))) < 100


def test_requests_are_streamed(stub: Any) -> None:
    """Many requests, one response; none is fine too."""
    assert stub.Join(texts("a", "b", "c")).text == "a,b,c"
    assert stub.Join(texts()).text == ""


def test_both_sides_stream(stub: Any) -> None:
    """Each response comes before the next request is sent."""
    turn = threading.Semaphore(1)

    def requests() -> Iterator[Any]:
        for number in range(20):
            assert turn.acquire(timeout=10)
            yield Text(number=number)

    seen = []
    for response in stub.Echo(requests()):
        seen.append(response.number)
        turn.release()
    assert seen == list(range(20))


def test_large_messages_pass_both_ways(stub: Any) -> None:
    """Up to the limit; what is longer is refused, and the next call is answered."""
    assert len(stub.Greet(Text(text="x" * 4_000_000)).text) == 4_000_007
    assert len(stub.Greet(Text(text="big", number=4_000_000)).text) == 4_000_000
    error = failure(lambda: stub.Greet(Text(text="x" * 5_000_000)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Greet(Text(text="you")).text == "Hello, you"


def test_large_messages_are_streamed_both_ways(stub: Any) -> None:
    """More than any window holds."""
    sent = [str(number) * 300_000 for number in range(10)]
    assert [each.text for each in stub.Echo(texts(*sent))] == sent


def test_abort_sends_code_details_and_metadata(stub: Any) -> None:
    """As `context.abort` says."""
    error = failure(lambda: stub.Greet(Text(text="abort")))
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not näw")
    sent = [tuple(each) for each in error.trailing_metadata()]
    assert sent == [("why", "test"), ("x-bin", b"\0")]


def test_secrets_in_details_are_masked(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a handler hands on what an exception says."""
    for name in ("_values", "_pattern"):
        monkeypatch.setattr(masking, name, getattr(masking, name))
    hide_secret("näw")
    error = failure(lambda: stub.Greet(Text(text="abort")))
    assert error.details() == "not ********"


def test_code_that_was_set_ends_the_call(stub: Any) -> None:
    """By `set_code` and `set_details`."""
    error = failure(lambda: stub.Greet(Text(text="code")))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "nobody")
    error = failure(lambda: stub.Greet(Text(text="bytes")))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "nobody \ufffd")


def test_exceptions_are_logged_and_not_shown(stub: Any, service: VService) -> None:
    """The client learns that there was one."""
    with log_of(service) as log:
        error = failure(lambda: stub.Greet(Text(text="fail")))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "secret" not in error.details()
    assert any("a secret" in line and "/Greet failed" in line for line in log.items)


def test_long_details_are_cut_and_block_nothing(stub: Any) -> None:
    """A client of grpcio reads 8 KiB of metadata at the most."""
    error = failure(lambda: stub.Greet(Text(text="long", number=1_000_000), timeout=10))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "é" * 600 in error.details()
    assert stub.Greet(Text(text="you")).text == "Hello, you"


def test_exception_of_any_kind_ends_its_call_alone(stub: Any, service: VService) -> None:
    """SystemExit and KeyboardInterrupt excepted."""
    assert failure(lambda: stub.Greet(Text(text="left"))).code() is grpc.StatusCode.UNKNOWN
    assert stub.Greet(Text(text="you", number=3)) == Text(text="Hello, you", number=3)
    assert service.health.status == "ALIVE"


def test_response_of_wrong_type_is_internal_error(stub: Any) -> None:
    """As with grpcio."""
    error = failure(lambda: stub.Greet(Text(text="none")))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "Failed to serialize response!"


def test_metadata_passes_both_ways(stub: Any) -> None:
    """Text and bytes, before and after the response."""
    sent = (("word", "a b"), ("raw-bin", bytes(range(256))))
    response, call = stub.Greet.with_call(Text(text="metadata"), metadata=sent)
    assert repr(("word", "a b")) in response.text
    assert repr(("raw-bin", bytes(range(256)))) in response.text
    assert ("first", "1") in [tuple(each) for each in call.initial_metadata()]
    trailing = [tuple(each) for each in call.trailing_metadata()]
    assert trailing == [("last", "2"), ("raw-bin", b"\xff")]


def test_deadline_reaches_the_handler(stub: Any) -> None:
    """In seconds; None if the client has none."""
    assert (
        0 < float(stub.Greet(Text(text="deadline"), timeout=100).text) <= 102
    )  # grpcio rounds it up
    assert stub.Greet(Text(text="deadline")).text == "None"


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_read(stub: Any, algorithm: grpc.Compression) -> None:
    """Of all kinds that clients have."""
    text = "x" * 100_000
    assert stub.Greet(Text(text=text), compression=algorithm).text == f"Hello, {text}"


def test_compressed_bomb_is_refused(stub: Any) -> None:
    """It counts what a request takes when it is decompressed."""
    request = Text(text="x" * 100_000_000)
    error = failure(lambda: stub.Greet(request, compression=grpc.Compression.Gzip))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Greet(Text(text="you")).text == "Hello, you"


def test_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    """And so is one that the servicer does not have."""
    for path in ("/sparts.tests.Greeter/Gone", "/sparts.Gone/Greet", "/"):
        call = channel.unary_unary(path, request_serializer=Text.SerializeToString)
        assert failure(partial(call, Text())).code() is grpc.StatusCode.UNIMPLEMENTED


def test_requests_that_cannot_be_decoded_are_refused(channel: grpc.Channel) -> None:
    """In the loop and in threads."""
    for service in ("Greeter", "ThreadGreeter"):
        call = channel.unary_unary(f"/sparts.tests.{service}/Greet")
        error = failure(partial(call, b"\xff\xff\xff"))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert error.details() == "Exception deserializing request!"
