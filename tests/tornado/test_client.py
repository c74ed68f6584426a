"""TornadoHTTPClientTask: pooled connections, time limits, retries where they do no harm."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from sparts.errors import LoopStoppedError
from sparts.tasks.tornado.client import TornadoHTTPClientTask
from sparts.testing.conformance import check_task
from tornado.httpclient import HTTPClientError, HTTPRequest

from tests.tornado.http_clients import (
    WAIT,
    Client,
    Hangs,
    Scripted,
    Server,
    Slow,
    client_of,
    hangs_up,
    says,
)


def test_it_does_what_every_task_must() -> None:
    check_task(TornadoHTTPClientTask)


def test_requests_from_any_thread_share_few_connections() -> None:
    with client_of() as (client, url):
        for _ in range(20):
            assert client.submit(url).result(WAIT).body == b"done"
        assert len({each.peer for each in Scripted.seen}) == 1
        counted = client.service.getCounter
        assert counted("Client.requests") == counted('Client.responses{status="2xx"}') == 20
        assert counted("Client.in_flight") == 0
        assert counted("Client.request_duration_ms.count.60") == 20


def test_more_requests_than_connections_wait_their_turn() -> None:
    with client_of(argv=("--http-client-max-connections", "3")) as (client, url):
        futures = [client.submit(url) for _ in range(50)]
        assert {future.result(WAIT).code for future in futures} == {200}
        assert len({each.peer for each in Scripted.seen}) <= 3


def test_handler_on_the_loop_awaits_with_its_id() -> None:
    with client_of() as (client, url):
        answer = client.submit(f"{url}calls", headers={"X-Request-Id": "mine"}).result(WAIT)
    assert answer.body == b"done"
    assert answer.headers["X-Request-Id"] == "mine"
    assert [each.id for each in Scripted.seen] == ["mine"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("status", [0, 429, 502, 503, 504])
def test_what_does_no_harm_is_tried_again(method: str, status: int) -> None:
    with client_of(*[says(status) if status else hangs_up] * 2) as (client, url):
        body = b"x" if method == "PUT" else None
        assert client.submit(url, method=method, body=body).result(WAIT).code == 200
        assert client.service.getCounter("Client.retried") == 2
        assert client.service.getCounter("Client.failures") == (0 if status else 2)


@pytest.mark.parametrize("status", [0, 503])
def test_post_is_sent_once_unless_idempotent(status: int) -> None:
    with client_of(*[says(status) if status else hangs_up] * 2) as (client, url):
        with pytest.raises(HTTPClientError) as caught:
            client.submit(url, method="POST", body=b"x").result(WAIT)
        assert caught.value.code == (status or 599)
        assert len(Scripted.seen) == 1
        again = client.submit(url, method="POST", body=b"x", idempotent=True)
        assert again.result(WAIT).code == 200


def test_unsent_post_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with client_of() as (client, _):
        with pytest.raises(HTTPClientError):
            client.submit(f"http://127.0.0.1:{port}/", method="POST", body=b"").result(WAIT)
        assert client.service.getCounter("Client.retried") == 2


@pytest.mark.parametrize(("status", "sent"), [(500, 1), (404, 1), (503, 4)])
def test_answer_that_stays_bad_is_error_or_answer(status: int, sent: int) -> None:
    argv = ("--http-client-retries", "3")
    with client_of(*[says(status)] * 10, argv=argv) as (client, url):
        with pytest.raises(HTTPClientError) as caught:
            client.submit(url).result(WAIT)
        assert caught.value.code == status
        assert len(Scripted.seen) == sent
        answer = client.submit(url, raise_error=False, retries=0).result(WAIT)
        assert (answer.code, answer.body, len(Scripted.seen)) == (status, b"busy", sent + 1)


def test_late_answer_is_an_error() -> None:
    argv = ("--http-client-request-timeout", "50ms", "--http-client-retries", "0")
    with client_of(argv=argv) as (client, url):
        with pytest.raises(HTTPClientError) as caught:
            client.submit(f"{url}hangs").result(WAIT)
        assert caught.value.code == 599
        assert client.service.getCounter("Client.failures") == 1
        assert client.submit(url, request_timeout=WAIT).result(WAIT).code == 200


def test_request_of_tornados_is_taken_as_it_is() -> None:
    with client_of() as (client, url):
        request = HTTPRequest(url, method="POST", body=b"x")
        assert client.submit(request).result(WAIT).code == 200
        with pytest.raises(TypeError, match="belong into the HTTPRequest: method"):
            client.submit(request, method="GET").result(WAIT)


def test_server_that_asks_for_later_retry_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with client_of(says(503, Retry_After="7")) as (client, url):
        monkeypatch.setattr("sparts.tasks.tornado.client.asyncio.sleep", sleep)
        assert client.submit(url).result(WAIT).code == 200
        monkeypatch.undo()
    assert 7.0 in slept


@pytest.mark.parametrize("trusted", [True, False])
def test_a_server_has_to_be_trusted(trusted: bool, pem: str) -> None:
    argv = ["--http-tls-cert", pem, "--http-client-retries", "0"]
    argv += ["--http-client-tls-ca", pem] if trusted else []
    with client_of(argv=tuple(argv)) as (client, url):
        call = client.submit(url.replace("http:", "https:"))
        if trusted:
            assert call.result(WAIT).code == 200
        else:
            with pytest.raises(HTTPClientError, match="certificate"):
                call.result(WAIT)


class Waits(Client):
    """Is stopped first, so the server lives until the call has ended."""

    DEPS = [Server]


def test_call_under_way_ends_at_the_stop() -> None:
    with client_of(argv=("--stop-timeout", "1500ms"), client=Waits) as (client, url):
        call = client.submit(f"{url}hangs")
        assert Hangs.begun.wait(WAIT)
    assert call.cancelled() or isinstance(call.exception(WAIT), LoopStoppedError)
    with pytest.raises(LoopStoppedError):
        client.submit("http://127.0.0.1/")


def test_short_stop_timeout_leaves_time_for_a_call() -> None:
    with client_of(argv=("--stop-timeout", "1s"), client=Waits) as (client, url):
        call = client.submit(f"{url}slow")
        assert Slow.begun.wait(WAIT)
        client.service.shutdown()
        assert client.stop_event.wait(WAIT)
        Slow.go_on.set()
        assert call.result(WAIT).body == b"late"


def test_a_call_that_is_cancelled_ends() -> None:
    with client_of() as (client, url):
        call = client.submit(f"{url}hangs")
        assert Hangs.begun.wait(WAIT)
        assert call.cancel()

        async def ended() -> bool:
            for _ in range(100):
                await asyncio.sleep(0)
            return bool(client.in_flight() == 0)

        assert client.loop_task.call(ended).result(WAIT)


def test_the_systems_authorities_are_found() -> None:
    from sparts.tasks.tornado.client import _system_ca

    found = _system_ca()
    assert found is None or ssl.create_default_context(cafile=found).get_ca_certs()
