"""HTTPS: nothing in the code, only options.

    python https.py --https-tls-cert server.pem --https-tls-key server.key

After a change of the files, SIGHUP lets new connections have the new certificate. With
--https-tls-ca clients.pem, clients need a certificate too.
"""
from typing import Any

from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService
from tornado.web import RequestHandler


class Who(RequestHandler):
    def get(self) -> None:
        certificate = self.request.get_ssl_certificate()  # what the client has shown
        self.write({"protocol": self.request.protocol, "client": certificate or None})


class Https(TornadoHTTPTask):
    OPT_PREFIX = "https"
    DEFAULT_HOST = "127.0.0.1"
    DEFAULT_PORT = 8443

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/", Who)]


class MyService(VService):
    TASKS = [Https]


if __name__ == "__main__":
    MyService.initFromCLI()
