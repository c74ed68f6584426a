"""The methods below a path of another application: FastAPI's, and Starlette's."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from sparts.rpc import connect
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.asgi.rpc import RPCApplication
from sparts.testing import ServiceFactory, service_of
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.processes import output_of
from tests.rpc.conftest import HERE, Web
from tests.rpc.geo import Geo


class Mounted(AsgiTask):
    """Serves `Geo` below ``/v1``."""

    DEPS = (Geo,)
    OPT_PREFIX = "rpc-http"

    def app(self) -> Any:
        api = FastAPI()
        api.mount("/v1", RPCApplication(self.service))
        return api


class MountedInStarlette(Mounted):
    def app(self) -> Any:
        return Starlette(routes=[Mount("/v1", RPCApplication(self.service))])


@pytest.fixture(scope="module", params=[Mounted, MountedInStarlette])
def mounted(request: pytest.FixtureRequest, factory: ServiceFactory) -> Web:
    return Web(factory(service_of(Geo, request.param), *HERE), request.param.__name__)


def test_mounted_methods_are_called_below_their_path(mounted: Web) -> None:
    assert mounted.post("/v1/Geo/half", {"n": 7}).json == 3
    assert mounted.ask("GET", "/v1/Geo/half?n=7").json == 3
    call = {"jsonrpc": "2.0", "id": 1, "method": "Geo.half", "params": [7]}
    assert mounted.post("/v1/rpc", call).json["result"] == 3
    assert mounted.post("/Geo/half", {"n": 7}).status == 404
    with connect(f"{mounted.url}/v1", Geo) as geo:
        assert geo.half(7) == 3
        assert [point.x for point in geo.walk(2)] == [0.0, 1.0]


def test_mounted_document_and_page_lead_to_the_methods(mounted: Web) -> None:
    document = mounted.ask("GET", "/v1/openapi.json").json
    OpenAPIV31SpecValidator(document).validate()
    (server,) = document["servers"]
    (path,) = (each for each in document["paths"] if each.endswith("half"))
    assert mounted.post(server["url"] + path, {"n": 7}).json == 3
    page = mounted.ask("GET", "/v1/").body.decode()
    assert "data-path='Geo/half'" in page
    assert mounted.ask("GET", "/v1").headers["location"].endswith("/v1/")


def test_commands_call_mounted_methods(mounted: Web) -> None:
    for words in (("call", f"{mounted.url}/v1", "Geo.half", '{"n": 7}'),
                  ("rpc", "list", f"{mounted.url}/v1")):  # fmt: skip
        found = output_of([sys.executable, "-m", "sparts", *words])
        assert found == "3\n" or "Geo.half" in found
