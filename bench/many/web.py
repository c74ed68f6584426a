"""Hello world, and a request that computes, on TornadoHTTPTask; with --processes, several times."""

import hashlib
import os

from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService
from tornado.web import Application, RequestHandler

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1000"))


class Hello(RequestHandler):
    """Answers at once."""

    def get(self) -> None:
        """Answer."""
        self.write("Hello, world")


class Work(RequestHandler):
    """Computes for some milliseconds."""

    def get(self) -> None:
        """Answer."""
        self.write(hashlib.pbkdf2_hmac("sha256", b"x", b"y", ROUNDS).hex())


ROUTES = [("/", Hello), ("/work", Work)]
app = Application(ROUTES)
"""For gunicorn's worker for Tornado."""


class Web(TornadoHTTPTask):
    """The same as a task."""

    OPT_PREFIX = "http"
    DEFAULT_HOST = "127.0.0.1"

    def getApplicationConfig(self) -> list[object]:  # noqa: N802
        """Return the routes."""
        return list(ROUTES)


class Service(VService):
    """Nothing but HTTP."""

    TASKS = [Web]


if __name__ == "__main__":
    Service.initFromCLI()
