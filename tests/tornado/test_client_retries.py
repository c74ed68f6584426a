"""What the HTTP client sends again and what not, by RFC 9110; what callbacks get of it."""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate
from typing import Any

import pytest
from sparts.tasks.tornado.retrying import asked_for
from sparts.testing.waiting import Recorder
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

from tests.tornado.http_clients import WAIT, Client, Scripted, breaks_off, client_of, hangs_up, says


def post(client: Client, url: str, **settings: Any) -> HTTPResponse:
    return client.submit(url, method="POST", body=b"x", **settings).result(WAIT)


def methods() -> list[str | None]:
    return [each.method for each in Scripted.seen]


# -- what may have been acted on -------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 1_000_000])
def test_unanswered_post_on_kept_connection_goes_once(body: bytes) -> None:
    with client_of(says(200), hangs_up) as (client, url):
        client.submit(url).result(WAIT)
        with pytest.raises(HTTPClientError, match="may have acted on the request") as caught:
            client.submit(url, method="POST", body=body).result(WAIT)
        assert caught.value.code == 599
        assert methods() == ["GET", "POST"]
        assert client.retried() == 0
        assert post(client, url).code == 200  # the client goes on


def test_request_that_is_idempotent_is_sent_again_there() -> None:
    with client_of(says(200), hangs_up, says(200), hangs_up) as (client, url):
        client.submit(url).result(WAIT)
        assert client.submit(url).result(WAIT).code == 200
        assert post(client, url, idempotent=True).code == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_post_that_was_redirected_is_not_sent_again(status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        away = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    with client_of(says(status, Location=away)) as (client, url):
        with pytest.raises(HTTPClientError):
            post(client, url)
        assert methods() == ["POST"]
        assert client.retried() == 0


@pytest.mark.parametrize("status", [307, 308])
def test_post_follows_a_redirect_over_the_kept_connection(status: int) -> None:
    with client_of(says(status, Location="/there"), says(200)) as (client, url):
        assert post(client, url).body == b"busy"
        assert [each.path for each in Scripted.seen] == ["", "there"]


@pytest.mark.parametrize("status", [408, 421])
def test_ignored_post_goes_over_another_connection(status: int) -> None:
    with client_of(says(200), says(status)) as (client, url):
        client.submit(url).result(WAIT)
        assert post(client, url).body == b"done"
        first, second, third = [each.peer for each in Scripted.seen]
        assert first == second != third
        client.submit(url).result(WAIT)
        assert Scripted.seen[-1].peer in (second, third)  # it keeps connections all the same


def test_misdirected_request_is_sent_to_one_more_connection() -> None:
    with client_of(says(421), says(421)) as (client, url):
        assert post(client, url, raise_error=False, retries=5).code == 421
        assert len(Scripted.seen) == 2


def test_content_too_large_for_now_is_sent_again() -> None:
    with client_of(says(413, Retry_After="0"), says(200), says(413)) as (client, url):
        assert post(client, url).code == 200
        assert post(client, url, raise_error=False).code == 413
        assert len(Scripted.seen) == 3


def test_expectation_that_failed_is_left_out() -> None:
    with client_of(says(417), says(200), says(417), says(417), says(417)) as (client, url):
        headers = {"Expect": "100-continue"}
        assert post(client, url, headers=headers).code == 200
        assert headers == {"Expect": "100-continue"}
        assert post(client, url, headers=headers, raise_error=False).code == 417
        assert post(client, url, raise_error=False).code == 417
        assert len(Scripted.seen) == 5


# -- what another attempt would meet again ---------------------------------------------------------


def test_redirect_loop_is_not_tried_again() -> None:
    with client_of(*[says(302, Location="/")] * 50) as (client, url):
        with pytest.raises(HTTPClientError, match="redirects"):
            client.submit(url, max_redirects=5).result(WAIT)
        assert len(Scripted.seen) == 6
        assert client.retried() == 0


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("http://127.0.0.1:1/", {"method": "ODD"}),
        ("http://127.0.0.1:1/", {"method": "GET", "body": b"x"}),
        ("http://127.0.0.1:1/", {"headers": {"X": "a\nb"}}),
        ("gopher://127.0.0.1:1/", {}),
        ("http://[::1/", {}),
    ],
)
def test_unsendable_request_is_not_tried_again(url: str, settings: Any) -> None:
    with client_of() as (client, _):
        with pytest.raises((HTTPClientError, ValueError, KeyError, OSError)):
            client.submit(url, **settings).result(WAIT)
        assert client.retried() == 0
        assert client.requests() == 1


# -- when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "7.5"}, 0.0),
        ({"Retry-After": "-7"}, 0.0),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "9" * 5000}, float("inf")),
        ({"Retry-After": formatdate(1009, usegmt=True), "Date": formatdate(1000)}, 9.0),
        ({"Retry-After": formatdate(1000, usegmt=True), "Date": formatdate(1009)}, 0.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
    ],
)
def test_time_that_a_server_asks_for_is_read(headers: dict[str, str], seconds: float) -> None:
    request = HTTPRequest("http://x/")
    assert asked_for(HTTPResponse(request, 503, HTTPHeaders(headers))) == seconds


def test_date_counts_by_our_clock_without_theirs() -> None:
    later = formatdate(time.time() + 3600, usegmt=True)
    response = HTTPResponse(HTTPRequest("http://x/"), 503, HTTPHeaders({"Retry-After": later}))
    assert 3590 < asked_for(response) <= 3600


def test_retries_wait_twice_as_long_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, waits = asyncio.sleep, Recorder[float]()

    async def note(seconds: float) -> None:
        if seconds < 500:
            await sleep(seconds)
        else:
            waits(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    monkeypatch.setattr(Client, "RETRY_AFTER", 1000.0)
    monkeypatch.setattr(Client, "RETRY_MAX_WAIT", 3000.0)
    with client_of(*[says(503)] * 3) as (client, url):
        assert client.submit(url, retries=3).result(WAIT).code == 200
    highest = (1000, 2000, 3000)
    assert all(most / 2 <= each <= most for each, most in zip(waits.items, highest, strict=True))


def test_long_retry_after_is_not_followed() -> None:
    with client_of(says(503, Retry_After="3600")) as (client, url):
        assert client.submit(url, raise_error=False).result(WAIT).code == 503
        assert len(Scripted.seen) == 1


# -- callbacks -------------------------------------------------------------------------------------


def test_broken_stream_is_not_delivered_again() -> None:
    parts: list[bytes] = []
    with client_of(breaks_off) as (client, url):
        with pytest.raises(HTTPClientError):
            client.submit(url, streaming_callback=parts.append).result(WAIT)
        assert b"".join(parts) == b"part"
        assert len(Scripted.seen) == 1


def test_stream_begins_with_the_answer_that_counts() -> None:
    parts: list[bytes] = []
    lines: list[str] = []
    with client_of(says(503), hangs_up, says(408), says(502)) as (client, url):
        settings = {"streaming_callback": parts.append, "header_callback": lines.append}
        assert client.submit(url, retries=4, **settings).result(WAIT).code == 200
        assert b"".join(parts) == b"done"
        assert [line for line in lines if line.startswith("HTTP/")] == ["HTTP/1.1 200 OK\r\n"]
        assert len(Scripted.seen) == 5


def test_bad_stream_is_delivered_once() -> None:
    parts: list[bytes] = []
    with client_of(*[says(503)] * 3) as (client, url):
        with pytest.raises(HTTPClientError):
            client.submit(url, streaming_callback=parts.append).result(WAIT)
        assert b"".join(parts) == b"busy"
        assert len(Scripted.seen) == 3


def test_request_of_tornados_is_not_changed() -> None:
    parts: list[bytes] = []
    prepared: list[object] = []
    with client_of(says(503), says(200)) as (client, url):
        request = HTTPRequest(
            url, streaming_callback=parts.append, prepare_curl_callback=prepared.append
        )
        client.submit(request).result(WAIT)
        assert request.streaming_callback == parts.append
        assert request.prepare_curl_callback == prepared.append
        assert "Expect" not in request.headers
        assert len(prepared) == 2
