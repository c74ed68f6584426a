"""A service of RPC methods over HTTP, one for each module of tests."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.testing import ServiceFactory, service_of
from sparts.testing.waiting import WAIT
from sparts.vservice import VService

from tests.rpc.geo import Fast, Geo


def here(scheme: str) -> tuple[str, ...]:
    """Give the options that let a transport listen on a free port of this machine."""
    return (f"--rpc-{scheme}-host", "127.0.0.1", f"--rpc-{scheme}-port", "0")


def url_of(service: VService, scheme: str, host: str = "127.0.0.1") -> str:
    """Give the URL of the methods of a service."""
    name = "HTTP" if scheme == "http" else scheme.title()
    server: Any = service.requireTask(f"RPC{name}Task")
    return f"{scheme}://{host}:{server.bound_addrs[0][1]}"


HERE = here("http")


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Web:
    """A service that serves over HTTP."""

    def __init__(self, service: Any, name: str = "RPCHTTPTask") -> None:
        self.service = service
        self.port = service.requireTask(name).bound_addrs[0][1]
        self.url = f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request; a body that is no string becomes JSON."""
        known = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            known.setdefault("content-type", "application/json")
            body = body if isinstance(body, str | bytes) else json.dumps(body)
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        try:
            client.request(method, path, body, known)
            response = client.getresponse()
            data = response.read()
        finally:
            client.close()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, data)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send a POST."""
        return self.ask("POST", path, body, **headers)


@pytest.fixture(scope="module")
def factory() -> Iterator[ServiceFactory]:
    """Give what runs services until the end of the module."""
    found = ServiceFactory()
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def web(factory: ServiceFactory) -> Web:
    """Give a service of `Geo` and `Fast`."""
    return Web(factory(service_of(Geo, Fast, RPCHTTPTask), *HERE))
