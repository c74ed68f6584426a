"""WsgiTask: what an application finds in its environ."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from typing import Any

import pytest
from sparts.tasks.asgi import WsgiTask
from sparts.testing.running import running_task
from sparts.testing.waiting import WAIT

from tests.http_contract import get, read_answer


def show(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer with the strings of the environ."""
    body = json.dumps({name: each for name, each in environ.items() if isinstance(each, str)})
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body.encode()]


class Show(WsgiTask):
    """Serves that."""

    OPT_PREFIX = "show"
    DEFAULT_HOST = "127.0.0.1"
    APP = staticmethod(show)


def environ(path: str, *lines: str, argv: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environ of a request."""
    with (
        running_task(Show, *argv) as task,
        socket.create_connection(task.bound_addrs[0], WAIT) as client,
    ):
        client.sendall(get(path, *lines))
        found: dict[str, str] = json.loads(read_answer(client)[2])
    return found


def test_names_with_underscores_are_left_out() -> None:
    """A proxy does not know them for those with hyphens, which it sets or removes."""
    found = environ("/", "X-Real-Ip: 192.0.2.1", "X_Real_Ip: 192.0.2.9", "X_Forwarded_For: x")
    assert found["HTTP_X_REAL_IP"] == "192.0.2.1"
    assert "HTTP_X_FORWARDED_FOR" not in found


def test_cookies_of_several_headers_are_one_list() -> None:
    assert environ("/", "Cookie: a=1", "Cookie: b=2")["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.parametrize("argv", [(), ("--show-root-path", "/root")], ids=["top", "below"])
@pytest.mark.parametrize("path", ["/%E4", "/%C3%A4", "/a%2Fb", "/%ff%00"])
def test_path_has_the_bytes_of_the_client(path: str, argv: tuple[str, ...]) -> None:
    """PEP 3333: each character stands for a byte."""
    bytes_of = {"/%E4": "/\xe4", "/%C3%A4": "/\xc3\xa4", "/a%2Fb": "/a/b", "/%ff%00": "/\xff\0"}
    found = environ(path, argv=argv)
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("".join(argv[1:]), bytes_of[path])
