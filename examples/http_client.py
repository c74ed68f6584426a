"""Calling others by HTTP: from a thread, and from a handler. Needs sparts-tornado[curl]."""
from typing import Any

from sparts.options import option
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.client import TornadoHTTPClientTask
from sparts.vservice import VService
from tornado.httpclient import HTTPClientError
from tornado.web import RequestHandler


class Probe(PeriodicTask):
    """Asks a server every ten seconds whether it is there."""

    OPT_PREFIX = "probe"
    DEPS = [TornadoHTTPClientTask]
    INTERVAL = 10.0

    url = option(default="http://127.0.0.1:8000/", help="what to ask")

    def execute(self, context: object = None) -> None:
        client: TornadoHTTPClientTask = self.service.requireTask(TornadoHTTPClientTask)
        try:
            response = client.submit(self.url, request_timeout=2.0).result()
        except HTTPClientError as error:
            self.logger.warning("%s: %s", self.url, error)
        else:
            self.logger.info("%s: %d", self.url, response.code)


class Proxy(RequestHandler):
    """Hands on what another server answers; they are awaited on the loop that they share."""

    def initialize(self, client: TornadoHTTPClientTask, url: str) -> None:
        self.client, self.url = client, url

    async def get(self) -> None:
        response = await self.client.fetch(self.url, raise_error=False)
        self.set_status(response.code)
        self.write(response.body)


class Web(TornadoHTTPTask):
    DEFAULT_HOST = "127.0.0.1"
    DEPS = [TornadoHTTPClientTask]

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        client = self.service.requireTask(TornadoHTTPClientTask)
        url = self.service.requireTask(Probe).url
        return [("/proxy", Proxy, {"client": client, "url": url}), *super().getApplicationConfig()]


class MyService(VService):
    TASKS = [Probe, Web]
    DEFAULT_PORT = 8000


if __name__ == "__main__":
    MyService.initFromCLI()
