"""TornadoHTTPClientTask: pooled connections, time limits, retries where they do no harm."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sparts.errors import LoopStoppedError
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.client import TornadoHTTPClientTask
from sparts.testing.conformance import check_task
from sparts.testing.running import make_service, running
from sparts.vservice import VService
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import RequestHandler

WAIT = 30.0


class Client(TornadoHTTPClientTask):
    RETRY_AFTER = 0.001


class Flaky(RequestHandler):
    """Answers with each of these statuses in turn, and with 200 then."""

    statuses: list[int] = []
    seen: list[tuple[str | None, Any, str | None]] = []

    def answer(self) -> None:
        stream = self.request.connection.stream  # type: ignore[union-attr]
        given = self.request.headers.get("X-Request-Id")
        self.seen.append((self.request.method, stream.socket.getpeername(), given))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            stream.close()
            return
        self.set_status(status)
        self.write("done")

    get = post = put = delete = answer


class Hangs(RequestHandler):
    begun = threading.Event()

    async def get(self) -> None:
        self.begun.set()
        await self.application.task.ending.wait()  # type: ignore[attr-defined]


class Slow(RequestHandler):
    """Answers when it is let go."""

    begun: threading.Event
    go_on: threading.Event

    async def get(self) -> None:
        self.begun.set()
        await asyncio.to_thread(self.go_on.wait)
        self.write("late")


class Calls(RequestHandler):
    """Asks another server while it answers."""

    async def get(self) -> None:
        task = self.application.task  # type: ignore[attr-defined]
        client: Client = task.service.requireTask(Client)
        response = await client.fetch(url(task.service))
        self.write(response.body)


class Server(TornadoHTTPTask):
    DEFAULT_HOST = "127.0.0.1"

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/", Flaky), ("/hangs", Hangs), ("/slow", Slow), ("/calls", Calls)]


class Service(VService):
    TASKS = [Client, Server]


@pytest.fixture(autouse=True)
def fresh() -> None:
    Flaky.statuses, Flaky.seen, Hangs.begun = [], [], threading.Event()
    Slow.begun, Slow.go_on = threading.Event(), threading.Event()


def url(service: VService, path: str = "/", scheme: str = "http") -> str:
    host, port = service.requireTask(Server).bound_addrs[0]
    return f"{scheme}://{host}:{port}{path}"


@contextmanager
def client_of(*argv: str) -> Iterator[tuple[Client, VService]]:
    with running(Service, *argv) as service:
        yield service.requireTask(Client), service


def test_it_does_what_every_task_must() -> None:
    check_task(TornadoHTTPClientTask)


def test_requests_from_any_thread_share_few_connections() -> None:
    with client_of() as (client, service):
        for _ in range(20):
            assert client.submit(url(service)).result(WAIT).body == b"done"
        assert len({peer for _, peer, _ in Flaky.seen}) == 1
        assert service.getCounter("Client.requests") == 20
        assert service.getCounter('Client.responses{status="2xx"}') == 20
        assert service.getCounter("Client.in_flight") == 0
        assert service.getCounter("Client.request_duration_ms.count.60") == 20


def test_more_requests_than_connections_wait_their_turn() -> None:
    with client_of("--http-client-max-connections", "3") as (client, service):
        futures = [client.submit(url(service)) for _ in range(50)]
        assert {future.result(WAIT).code for future in futures} == {200}
        assert len({peer for _, peer, _ in Flaky.seen}) <= 3


def test_handler_on_the_loop_awaits_with_its_id() -> None:
    with client_of() as (client, service):
        headers = {"X-Request-Id": "mine"}
        answer = client.submit(url(service, "/calls"), headers=headers).result(WAIT)
    assert answer.body == b"done"
    assert answer.headers["X-Request-Id"] == "mine"
    assert [given for _, _, given in Flaky.seen] == ["mine"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("status", [0, 429, 502, 503, 504])
def test_what_does_no_harm_is_tried_again(method: str, status: int) -> None:
    Flaky.statuses = [status, status]
    with client_of() as (client, service):
        body = b"x" if method == "PUT" else None
        assert client.submit(url(service), method=method, body=body).result(WAIT).code == 200
        assert service.getCounter("Client.retried") == 2
        assert service.getCounter("Client.failures") == (0 if status else 2)


@pytest.mark.parametrize("status", [0, 503])
def test_post_is_sent_once_unless_idempotent(status: int) -> None:
    with client_of() as (client, service):
        Flaky.statuses = [status]
        with pytest.raises(HTTPClientError) as caught:
            client.submit(url(service), method="POST", body=b"x").result(WAIT)
        assert caught.value.code == (status or 599)
        assert len(Flaky.seen) == 1
        Flaky.statuses = [status]
        again = client.submit(url(service), method="POST", body=b"x", idempotent=True)
        assert again.result(WAIT).code == 200


def test_unsent_post_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with client_of() as (client, service):
        with pytest.raises(HTTPClientError):
            client.submit(f"http://127.0.0.1:{port}/", method="POST", body=b"").result(WAIT)
        assert service.getCounter("Client.retried") == 2


@pytest.mark.parametrize(("status", "sent"), [(500, 1), (404, 1), (503, 4)])
def test_answer_that_stays_bad_is_error_or_answer(status: int, sent: int) -> None:
    Flaky.statuses = [status] * 10
    with client_of("--http-client-retries", "3") as (client, service):
        with pytest.raises(HTTPClientError) as caught:
            client.submit(url(service)).result(WAIT)
        assert caught.value.code == status
        assert len(Flaky.seen) == sent
        answer = client.submit(url(service), raise_error=False, retries=0).result(WAIT)
        assert (answer.code, answer.body, len(Flaky.seen)) == (status, b"done", sent + 1)


def test_late_answer_is_an_error() -> None:
    argv = ("--http-client-request-timeout", "50ms", "--http-client-retries", "0")
    with client_of(*argv) as (client, service):
        with pytest.raises(HTTPClientError) as caught:
            client.submit(url(service, "/hangs")).result(WAIT)
        assert caught.value.code == 599
        assert service.getCounter("Client.failures") == 1
        assert client.submit(url(service), request_timeout=WAIT).result(WAIT).code == 200


def test_request_of_tornados_is_taken_as_it_is() -> None:
    with client_of() as (client, service):
        request = HTTPRequest(url(service), method="POST", body=b"x")
        assert client.submit(request).result(WAIT).code == 200
        with pytest.raises(TypeError, match="belong into the HTTPRequest: method"):
            client.submit(request, method="GET").result(WAIT)


def test_server_that_asks_for_later_retry_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    class Later(Flaky):
        def answer(self) -> None:
            self.set_header("Retry-After", "7")
            super().answer()

        get = answer

    class LaterServer(Server):
        def getApplicationConfig(self) -> list[Any]:  # noqa: N802
            return [("/", Later)]

    class LaterService(VService):
        TASKS = [Client, LaterServer]

    Flaky.statuses = [503]
    with running(LaterService) as service:
        monkeypatch.setattr("sparts.tasks.tornado.client.asyncio.sleep", sleep)
        client = service.requireTask(Client)
        assert client.submit(url(service)).result(WAIT).code == 200
        monkeypatch.undo()
    assert 7.0 in slept


@pytest.mark.parametrize("trusted", [True, False])
def test_a_server_has_to_be_trusted(trusted: bool, pem: str) -> None:
    argv = ["--http-tls-cert", pem, "--http-client-retries", "0"]
    with client_of(*argv, *(["--http-client-tls-ca", pem] if trusted else [])) as (
        client,
        service,
    ):
        call = client.submit(url(service, scheme="https"))
        if trusted:
            assert call.result(WAIT).code == 200
        else:
            with pytest.raises(HTTPClientError, match="certificate"):
                call.result(WAIT)


def test_call_under_way_ends_at_the_stop() -> None:
    class Waits(Client):
        """Is stopped first, so the server lives until the call has ended."""

        DEPS = [Server]

    class WaitsService(VService):
        TASKS = [Waits]

    thread = make_service(WaitsService, "--stop-timeout", "1500ms").startBG()
    service = thread.service
    call = service.requireTask(Waits).submit(url(service, "/hangs"))
    assert Hangs.begun.wait(WAIT)
    service.shutdown()
    thread.join(WAIT)
    assert thread.status == 0
    assert call.cancelled() or isinstance(call.exception(WAIT), LoopStoppedError)
    with pytest.raises(LoopStoppedError):
        service.requireTask(Waits).submit("http://127.0.0.1/")


def test_short_stop_timeout_leaves_time_for_a_call() -> None:
    class Waits(Client):
        DEPS = [Server]

    class WaitsService(VService):
        TASKS = [Waits]

    with running(WaitsService, "--stop-timeout", "1s") as service:
        client = service.requireTask(Waits)
        call = client.submit(url(service, "/slow"))
        assert Slow.begun.wait(WAIT)
        service.shutdown()
        assert client.stop_event.wait(WAIT)
        Slow.go_on.set()
        assert call.result(WAIT).body == b"late"


def test_a_call_that_is_cancelled_ends() -> None:
    with client_of() as (client, service):
        call = client.submit(url(service, "/hangs"))
        assert Hangs.begun.wait(WAIT)
        assert call.cancel()

        async def ended() -> bool:
            for _ in range(100):
                await asyncio.sleep(0)
            return client.in_flight() == 0

        assert client.loop_task.call(ended).result(WAIT)


def test_the_systems_authorities_are_found() -> None:
    from sparts.tasks.tornado.client import _system_ca

    found = _system_ca()
    assert found is None or ssl.create_default_context(cafile=found).get_ca_certs()
