"""Real applications of FastAPI, Starlette, Django and Flask."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sparts.errors import StartError
from sparts.tasks.asgi import AsgiTask, WsgiTask
from sparts.testing import log_of, running, service_of
from sparts.testing.waiting import WAIT, no_further_threads

from tests.asgi import framework_apps
from tests.asgi.conftest import HERE, Served
from tests.asgi.fastapi_app import fastapi_app
from tests.threads import run_in_threads


def serving(factory: Any, base: Any, prefix: str) -> Any:
    """Return a function that serves an application."""

    def make(app: Any, *argv: str) -> Served:
        task = type(base.__name__, (base,), {"APP": staticmethod(app), "__doc__": "One."})
        here = (f"--{prefix}-host=127.0.0.1", f"--{prefix}-port=0")
        service = service_of(framework_apps.Doubling, task)
        return Served(factory(service, *here, *argv), base.__name__)

    return make


@pytest.fixture
def asgi(service_factory: Any) -> Any:
    """Give a function that serves an ASGI application."""
    return serving(service_factory, AsgiTask, "asgi")


@pytest.fixture
def wsgi(service_factory: Any) -> Any:
    """Give a function that serves a WSGI application."""
    return serving(service_factory, WsgiTask, "wsgi")


def test_wsgi_stops_without_any_further_thread(wsgi: Any) -> None:
    served = wsgi(framework_apps.flask_app())
    assert served.get("/hello/you")[0] == 200
    with no_further_threads():
        served.service.shutdown()
        served.service.join(WAIT)


def post(served: Served, path: str, body: Any) -> bytes:
    client = served.client()
    client.request("POST", path, body=body)
    answer = client.getresponse().read()
    client.close()
    return answer


def test_fastapi_reaches_its_state_and_the_service(asgi: Any) -> None:
    served = asgi(fastapi_app())
    assert served.get("/hello/you") == (200, b'{"text":"hello you"}')
    assert served.get("/double/21") == (200, b"42")
    assert served.get("/double/x")[0] == 422
    assert served.get("/stream") == (200, b"0\n1\n2\n")
    assert post(served, "/upload", b"x" * 1_000_000) == b"1000000"
    assert post(served, "/upload", iter([b"x" * 1000] * 100)) == b"100000"


def test_fastapi_talks_over_a_websocket(asgi: Any) -> None:
    from websockets.sync.client import connect

    served = asgi(fastapi_app())
    host, port = served.task.bound_addrs[0]
    with connect(f"ws://{host}:{port}/ws") as socket:
        socket.send("hello")
        assert socket.recv() == "HELLO"


def test_starlette_is_served_below_a_path(asgi: Any) -> None:
    served = asgi(framework_apps.starlette_app())
    assert served.get("/") == (200, b"home of Service")
    assert served.get("/below/") == (200, b"home of Service")
    assert served.get("/nowhere")[0] == 404


def test_failing_lifespan_fails_the_start_with_its_error() -> None:
    app = framework_apps.starlette_app(fails=True)
    task = type("AsgiTask", (AsgiTask,), {"APP": staticmethod(app), "__doc__": "One."})
    with (
        pytest.raises(StartError, match="failed to start: RuntimeError: no database here"),
        running(service_of(task), *HERE),
    ):
        pass


def test_django_is_served_by_both_interfaces(asgi: Any, wsgi: Any) -> None:
    for served in (asgi(framework_apps.django(asgi=True)), wsgi(framework_apps.django(asgi=False))):
        assert served.get("/") == (200, b"GET 0")
        assert post(served, "/", b"x" * 100_000) == b"POST 100000"
        for number in (0, 1, 100):  # in chunks, without a length
            parts = iter([b"x" * 1000] * number)
            assert post(served, "/", parts) == b"POST %d" % (1000 * number)
        assert served.get("/stream") == (200, b"0\n1\n2\n")
        assert served.get("/nowhere")[0] == 404


def test_flask_reaches_the_service(wsgi: Any) -> None:
    served = wsgi(framework_apps.flask_app())
    assert served.get("/hello/you") == (200, b"hello you")
    assert served.get("/double/21") == (200, b"42")
    assert served.get("/stream") == (200, b"0\n1\n2\n")
    assert post(served, "/upload", b"x" * 1_000_000) == b"1000000"
    assert post(served, "/upload", iter([b"x" * 1000] * 100)) == b"100000"


def test_flask_knows_its_client_behind_a_proxy(wsgi: Any) -> None:
    options = ("--wsgi-trusted", "127.0.0.1", "--wsgi-root-path", "/api")
    served = wsgi(framework_apps.flask_app(), *options)
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert served.get("/who", **headers) == (200, b"203.0.113.7 https /api")


def test_response_nobody_reads_is_closed(wsgi: Any) -> None:
    app = framework_apps.flask_app()
    app.config["CLOSED"] = closed = threading.Event()
    served = wsgi(app, "--wsgi-threads", "1")
    with served.connect() as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert closed.wait(WAIT)
    assert served.get("/hello/you") == (200, b"hello you")


def test_wsgi_application_with_wrong_length_leaves_its_thread(wsgi: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "1")])
        return [b"much too long"] * 100

    served = wsgi(app, "--wsgi-threads", "1")
    with log_of(served.service) as log:
        for _ in range(2):
            with served.connect() as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                while connection.recv(65536):
                    pass
            log.wait_for_line("ERROR:Service.WsgiTask:Exception in ASGI application")
            log.items.clear()


def test_requests_of_wsgi_run_in_as_many_threads(wsgi: Any) -> None:
    barrier = threading.Barrier(3)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        barrier.wait(WAIT)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    served = wsgi(app, "--wsgi-threads", "3")
    found: list[Any] = []
    run_in_threads(*[lambda: found.append(served.get("/"))] * 3)
    assert found == [(200, b"ok")] * 3


def test_slow_body_holds_no_thread_of_wsgi(wsgi: Any) -> None:
    begun: list[bytes] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        begun.append(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    served = wsgi(app, "--wsgi-threads", "1")
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with served.connect() as slow, served.connect() as gone:
        for connection in (slow, gone):
            connection.sendall(head % 3 + b"a")
        assert served.get("/") == (200, b"ok")
        gone.close()
        served.wait_for_counter('responses{status="lost"}', 1)
        slow.sendall(b"bc")
        assert slow.recv(100).startswith(b"HTTP/1.1 200 OK")
    with served.connect() as large:
        large.sendall(head % 300_000 + b"x" * 300_000)
        assert large.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert [len(body) for body in begun] == [0, 3, 300_000]
