"""RPC over HTTP, as clients of any make see it."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from sparts.errors import UsageError
from sparts.rpc import RPCTask, connect, rpc
from sparts.rpc.values import check_weight
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.testing import ServiceFactory, service_of, wait_ended
from sparts.testing.waiting import WAIT

from tests.rpc.conftest import HERE, Web
from tests.rpc.geo import Fast, Geo

A, B = {"x": 0.0, "y": 0.0}, {"x": 3.0, "y": 4.0}


def test_post_gives_the_bare_result(web: Web) -> None:
    answer = web.post("/Geo/distance", {"a": A, "b": B})
    assert (answer.status, answer.body) == (200, b"5.0")
    assert answer.headers["content-type"] == "application/json"
    assert web.post("/Geo/distance", {"a": A, "b": B, "scale": 2}).json == 10.0


def test_get_calls_idempotent_methods(web: Web) -> None:
    assert web.ask("GET", "/Geo/half?n=7&mode=bike").json == 3
    path = '/Geo/distance?a={"x":0,"y":0}&b={"x":3,"y":4}&label=5%25'.replace('"', "%22")
    assert web.ask("GET", path).json == 5.0
    answer = web.ask("GET", "/Geo/find?name=a")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert web.ask("GET", "/Geo/half?n=7&n=8").json["detail"] == "n: given twice"
    assert web.ask("GET", "/Geo/half?n=x").json["detail"] == "n: expected int, got str"
    assert web.ask("GET", f"{path}&scale=nan").json["detail"] == "scale: JSON has no nan"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"a": {"x": "1", "y": 1}, "b": B}, "a.x: expected float, got str"),
        ({"a": A}, "object missing required field b"),
        ({"a": A, "b": B, "c": 1}, "object contains unknown field c"),
        ([], "expected object, got array"),
        ("{", "input data was truncated"),
        ("", "input data was truncated"),
        ('{"a": NaN}', "JSON is malformed: invalid character (byte 6)"),
    ],
)
def test_wrong_values_are_problems_that_name_the_path(web: Web, body: Any, detail: str) -> None:
    answer = web.post("/Geo/distance", body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json == {"title": "InvalidArgumentsError", "status": 400, "detail": detail}
    assert answer.status == 400


def test_declared_errors_are_problems_by_their_names(web: Web) -> None:
    answer = web.post("/Geo/distance", {"a": A, "b": {"x": 2e6, "y": 0}})
    assert answer.json == {"title": "TooFar", "status": 409, "detail": "more than 1000 km"}
    answer = web.post("/Geo/find", {"name": "it"})
    assert (answer.status, answer.json["title"]) == (404, "Missing")
    assert answer.json["detail"] == "There is no such route."


BUGS = [("/Geo/find", {"name": "bug"}), ("/Fast/half", {"n": 13})]


@pytest.mark.parametrize(("path", "body"), BUGS)
def test_undeclared_errors_are_500_with_an_id(
    web: Web, caplog: pytest.LogCaptureFixture, path: str, body: Any
) -> None:
    answer = web.post(path, body)
    assert answer.status == 500
    assert answer.json["title"] == "InternalError"
    assert "secret" not in answer.body.decode()
    assert f"internal error {answer.json['id']}" in caplog.text
    assert "a secret" in caplog.text


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize("path", ["/Geo/distance", "/Fast/half", "/rpc"])
def test_bodies_that_other_origins_can_send_are_refused(
    web: Web, path: str, content_type: str
) -> None:
    answer = web.post(path, {"a": A, "b": B}, content_type=content_type)
    assert answer.status == 415


def test_pages_of_other_origins_may_not_get(web: Web) -> None:
    assert web.ask("GET", "/Geo/half?n=7", sec_fetch_site="cross-site").status == 403
    assert web.ask("GET", "/Geo/half?n=7", sec_fetch_site="same-origin").status == 200


@pytest.mark.parametrize("path", ["/Geo/half", "/Fast/half", "/rpc"])
def test_page_whose_name_points_here_calls_no_method(web: Web, path: str) -> None:
    page = {"host": "evil.example:80", "origin": "http://evil.example"}
    body = {"jsonrpc": "2.0", "method": "Geo.half", "id": 1, "n": 7}
    assert web.post(path, body, **page).json["title"] == "WrongHostError"
    assert web.ask("GET", "/Geo/half?n=7", host="evil.example").status == 403  # it has no Origin
    assert web.ask("GET", "/openapi.json", host="evil.example").status == 403
    for host in ("localhost:80", "127.0.0.1", "[::1]:80", "a.localhost"):
        assert web.post("/Geo/half", {"n": 7}, host=host, origin=f"http://{host}").status == 200
    assert web.post("/Geo/half", {"n": 7}, host="behind.example").status == 200  # a program


def test_pages_may_call_by_an_allowed_name(factory: ServiceFactory) -> None:
    argv = (*HERE, "--rpc-http-allowed-host", "api.example")
    web = Web(factory(service_of(Geo, RPCHTTPTask), *argv))
    for host, status in (("api.example", 200), ("API.example:443", 200), ("evil.example", 403)):
        page = {"host": host, "origin": f"https://{host}"}
        assert web.post("/Geo/half", {"n": 7}, **page).status == status


def test_head_has_the_headers_of_get(web: Web) -> None:
    for path, status in (("/Geo/half?n=7&mode=bike", 200), ("/Geo/half?n=x", 400)):
        get, head = (web.ask(method, path) for method in ("GET", "HEAD"))
        assert (head.status, head.body) == (status, b"")
        assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert web.ask("HEAD", "/Geo/find?name=a").headers["allow"] == "POST"
    refused = web.ask("HEAD", "/Geo/half?n=7&mode=bike", sec_fetch_site="cross-site")
    assert refused.status == 403


class Ticks(RPCTask):
    ended = threading.Event()

    @rpc(idempotent=True)
    def count(self) -> Iterator[int]:
        """Give numbers, without an end."""
        yield from itertools.count()

    @rpc
    async def busy(self) -> AsyncIterator[int]:
        """Give numbers, without an end, and never wait for anything."""
        try:
            for number in itertools.count():
                yield number
        finally:
            self.ended.set()


@pytest.mark.parametrize("late", [False, True])
def test_stream_that_never_waits_ends_with_its_call(factory: ServiceFactory, late: bool) -> None:
    service = factory(service_of(Ticks, RPCHTTPTask), *HERE)
    Ticks.ended.clear()
    client = http.client.HTTPConnection("127.0.0.1", Web(service).port, timeout=WAIT)
    headers = {"content-type": "application/json"} | ({"x-timeout-ms": "50"} if late else {})
    client.request("POST", "/Ticks/busy", "{}", headers)
    response = client.getresponse()
    assert response.read(2) == b"0\n"
    if late:
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    client.close()
    response.close()
    assert Ticks.ended.wait(WAIT)
    factory.stop(service)


def test_head_of_a_stream_does_not_begin_it(factory: ServiceFactory) -> None:
    service = factory(service_of(Ticks, RPCHTTPTask), *HERE)
    answer = Web(service).ask("HEAD", "/Ticks/count")
    assert service.requireTask(Ticks).n_calls.labels("count")() == 0
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "application/jsonl"


def test_what_is_not_there_is_404_or_405(web: Web) -> None:
    assert web.ask("GET", "/Geo").json["title"] == "NoSuchMethodError"
    assert web.post("/Geo/nothing", {}).status == 404
    assert web.ask("PUT", "/Geo/half").headers["allow"] == "GET, HEAD, POST"
    assert web.ask("DELETE", "/rpc").headers["allow"] == "POST"


def test_arguments_that_need_much_memory_are_refused(web: Web) -> None:
    wide = f'{{"points": [{"{}," * 550_000}{{}}]}}'  # 1.6 MB, and 250 MB once it is decoded
    assert web.post("/Geo/route", wide).json["detail"].endswith("256 MiB are the limit.")
    call = f'{{"jsonrpc": "2.0", "id": 1, "method": "Geo.route", "params": {wide}}}'
    for body in (call, f"[{call}]"):
        assert web.post("/rpc", body).json["error"]["message"].endswith("256 MiB are the limit.")
    name = web.post("/rpc", '{"jsonrpc":"2.0","id":1,"method":"' + "x" * 100_000 + '"}')
    assert len(name.body) < 1000
    check_weight(json.dumps({"points": [A] * 200_000}).encode())  # all of that is fine


def test_large_numbers_are_refused_on_the_way_in(web: Web) -> None:
    assert web.post("/Fast/half", {"n": 2**63 - 1}).status == 200
    answer = web.post("/Fast/half", {"n": 2**63})
    assert answer.status == 400
    assert answer.json["detail"].startswith("n: expected an int from -9223372036854775808")


# -- JSON-RPC --------------------------------------------------------------------------------------


def request(method: str, params: Any = None, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params or {}, **more}


def test_json_rpc_calls_by_name_and_by_position(web: Web) -> None:
    answer = web.post("/rpc", request("Geo.distance", {"a": A, "b": B}, id=1))
    assert (answer.status, answer.json) == (200, {"jsonrpc": "2.0", "id": 1, "result": 5.0})
    assert web.post("/rpc", request("Geo.distance", [A, B, 2], id="x")).json["result"] == 10.0


def test_json_rpc_errors_have_their_codes(web: Web) -> None:
    def code(body: Any) -> Any:
        return web.post("/rpc", body).json["error"]["code"]

    assert code("{") == -32700
    assert code({"method": "a"}) == -32600
    assert code([]) == -32600
    assert code(request("Geo.nothing", id=1)) == -32601
    assert code(request("Geo.half", {"n": "a"}, id=1)) == -32602
    assert code(request("Geo.half", [1, "foot", 3], id=1)) == -32602
    assert code(request("Geo.find", ["bug"], id=1)) == -32603
    assert code(request("Geo.half", "n", id=1)) == code(request("Geo.half", "n")) == -32600
    assert web.post("/rpc", {"method": "a", "id": True}).json["id"] is None
    answer = web.post("/rpc", request("Geo.find", ["it"], id=1)).json
    assert answer["error"]["code"] == -32000
    assert answer["error"]["data"]["title"] == "Missing"


def test_json_rpc_answers_batches_and_no_notifications(web: Web) -> None:
    batch = [request("Fast.half", [4], id=1), request("Fast.half", [6]), 1, request("a", id=None)]
    answers = web.post("/rpc", batch).json
    assert [each["id"] for each in answers] == [1, None, None]
    assert answers[0]["result"] == 2.0
    answer = web.post("/rpc", request("Fast.half", [6]))
    assert (answer.status, answer.body) == (204, b"")


# -- streams ---------------------------------------------------------------------------------------


def test_streams_are_lines_of_json_or_events(web: Web) -> None:
    answer = web.post("/Geo/walk", {"n": 2})
    assert answer.headers["content-type"] == "application/jsonl"
    assert [json.loads(line) for line in answer.body.splitlines()] == [A, {"x": 1.0, "y": 0.0}]
    answer = web.post("/Geo/walk", {"n": 1, "then": "lost"}, accept="text/event-stream")
    assert answer.headers["content-type"] == "text/event-stream"
    data, error, _ = answer.body.decode().split("\n\n")
    assert data == 'data: {"x":0.0,"y":0.0}'
    assert error.startswith('event: error\ndata: {"title":"TooFar"')
    assert web.post("/Geo/walk", {"n": 0, "then": "lost"}).json["title"] == "TooFar"


def test_stream_ends_when_its_client_goes(web: Web) -> None:
    Geo.gone.clear()
    with connect(web.url, Geo) as geo:
        from asyncio import run

        async def two() -> list[int]:
            numbers: list[int] = []
            async for number in geo.tick():
                numbers.append(number)
                if number == 2:
                    break
            return numbers

        assert run(two()) == [0, 1, 2]
    assert Geo.gone.wait(WAIT)


def test_stop_ends_streams_with_an_error(
    factory: ServiceFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparts.tasks.asgi.rpc.streams.GRACE", 0.05)
    service = factory(service_of(Geo, RPCHTTPTask), *HERE)
    web = Web(service)
    with socket.create_connection(("127.0.0.1", web.port), WAIT) as client:
        head = "POST /Geo/tick HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n"
        body = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        client.sendall((head + body).encode())
        received = client.recv(4096)
        service.shutdown()
        while data := client.recv(4096):
            received += data
    assert b'event: error\ndata: {"title":"UnavailableError"' in received
    factory.stop(service)


def test_stream_of_arguments_is_an_array(web: Web) -> None:
    assert web.post("/Geo/total", {"numbers": [1, 2, 3]}).json == 6


# -- what methods learn ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/Geo/who", "/Fast/who"])
def test_methods_learn_who_calls_and_until_when(web: Web, path: str) -> None:
    found = web.post(path, {}, user_agent="tests", x_timeout_ms="5000").json
    assert (found["agent"], found["left"]) == ("tests", "limited")
    assert web.post(path, {}).json["left"] == ""


# -- OpenAPI, the page, other origins --------------------------------------------------------------


def test_openapi_is_valid_and_complete(web: Web) -> None:
    document = web.ask("GET", "/openapi.json").json
    OpenAPIV31SpecValidator(document).validate()
    assert set(document["paths"]["/Geo/distance"]) == {"post", "get"}
    assert set(document["paths"]["/Geo/route"]) == {"post"}
    point = document["components"]["schemas"]["Point"]
    assert point["required"] == ["x", "y"]
    assert point["description"] == "A point of the plane."
    assert "TooFar" in document["paths"]["/Geo/distance"]["post"]["responses"]["409"]["description"]


def test_page_needs_nothing_from_outside(web: Web) -> None:
    answer = web.ask("GET", "/")
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.body.decode()
    assert "distance(a: Point, b: Point, scale: float = 1.0" in page
    assert "Return the distance in metres." in page
    assert "http:" not in page.replace(web.url, "")
    assert "src=" not in page


def test_cors_lets_named_origins_call(factory: ServiceFactory) -> None:
    origin = "https://example.com"
    web = Web(factory(service_of(Fast, RPCHTTPTask), *HERE, "--rpc-http-cors", origin))
    asked = {"access_control_request_method": "POST"}
    answer = web.ask("OPTIONS", "/Fast/half", origin=origin, **asked)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == origin
    assert "content-type" in answer.headers["access-control-allow-headers"]
    answer = web.post("/Fast/half", {"n": 4}, origin=origin)
    assert (answer.body, answer.headers["access-control-allow-origin"]) == (b"2.0", origin)
    other = web.post("/Fast/half", {"n": 4}, origin="https://example.org")
    assert "access-control-allow-origin" not in other.headers
    assert web.ask("OPTIONS", "/Fast/half", origin="https://example.org", **asked).status == 405


# -- starts ----------------------------------------------------------------------------------------


def test_nothing_to_serve_ends_the_start() -> None:
    with pytest.raises(UsageError, match="HTTP has nothing to serve"):
        ServiceFactory()(service_of(RPCHTTPTask), *HERE)


class Leaving(RPCTask):
    @rpc
    def leave(self) -> None:
        raise SystemExit(0)


def test_system_exit_in_a_method_ends_the_service(factory: ServiceFactory) -> None:
    service = factory(service_of(Leaving, RPCHTTPTask), *HERE)
    assert Web(service).post("/Leaving/leave", {}).json["title"] == "InternalError"
    wait_ended(service)
