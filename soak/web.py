"""What the clients of the soaked service reach by HTTP: every job, and every fault to ask for."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from typing import Any

from sparts.errors import TaskStoppedError
from sparts.tasks.queue import QueueTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.client import TornadoHTTPClientTask
from sparts.tasks.tornado.status import StatusHTTPTask
from tornado.web import HTTPError, RequestHandler

from soak import ledger
from soak.jobs import JOBS
from soak.on_dbus import Peers
from soak.on_twisted import Commands, Site


class Handler(RequestHandler):
    """Has the service at hand."""

    def initialize(self, service: Any) -> None:
        """Take the service."""
        self.service = service

    def number(self) -> int:
        """The number that the client sent."""
        return int(self.get_query_argument("n", "1"))


class Submit(Handler):
    """Hands an item to a queue, and answers with what became of it."""

    async def post(self, name: str) -> None:
        """Answer with twice the number."""
        if name != "Once":  # which does less than it is asked for
            ledger.handed(name)
        try:
            waiting = self.service.requireTask(name).submit(self.number())
        except TaskStoppedError:
            ledger.refused(name)
            raise HTTPError(503) from None
        self.finish({"result": await waiting})


class Put(Handler):
    """Hands an item to a queue of which nobody waits for the outcome."""

    def post(self, name: str) -> None:
        """Answer at once."""
        ledger.handed(name)
        try:
            self.service.requireTask(name).queue.put(self.number(), block=False)
        except (TaskStoppedError, queue.Full):
            ledger.refused(name)
            raise HTTPError(503) from None


class Call(Handler):
    """Calls a function, and answers with what it returns."""

    def initialize(self, service: Any, function: Callable[..., Any] | None = None) -> None:
        """Take the service and the function: it is given the service and what the path names."""
        super().initialize(service)
        self.function = function

    async def post(self, *words: str) -> None:
        """Answer with the result."""
        assert self.function is not None
        result = self.function(self.service, *words)
        self.finish({"result": await result if isinstance(result, Awaitable) else result})


class Ledger(Handler):
    """Tells what was handed to the service and what became of it."""

    async def get(self) -> None:
        """Answer with the ledger once every item that was handed in is done."""
        for task in self.service.tasks:
            if isinstance(task, QueueTask):
                await asyncio.to_thread(task.queue.join)
        self.finish(ledger.read())


class Body(Handler):
    """Answers with what was sent."""

    def post(self) -> None:
        """Answer with the body."""
        self.finish(self.request.body)


def run_program(service: Any) -> Any:
    """Run a program by SelectTask."""
    done = service.requireTask("Programs").popen_communicate(["cat"], input="meow", text=True)
    return _stdout(asyncio.wrap_future(done))


def run_command(service: Any) -> Any:
    """Run a program by CommandTask."""
    done = service.requireTask("Commands").run(["cat"], input="meow", encoding="utf-8")
    return _stdout(asyncio.wrap_future(done))


async def fetch(service: Any) -> str:
    """Fetch by TornadoHTTPClientTask what Twisted serves."""
    port = service.requireTask("Site").bound_addrs[0][1]
    answer = await service.requireTask("Fetcher").fetch(f"http://127.0.0.1:{port}/")
    return str(answer.body.decode())


def call_bus(service: Any) -> Any:
    """Call the service itself by DBusClientTask."""
    return asyncio.wrap_future(service.requireTask("Peers").slowly("by bus"))


async def _stdout(done: Awaitable[Any]) -> str:
    return str((await done).stdout)


def fail(service: Any, name: str) -> None:
    """Have a restartable task fail."""
    task = service.requireTask(name)
    if name == "Fragile":
        task.fail.release()
    else:
        task.loop_task.call(lambda: task.fail.set())


class Fetcher(TornadoHTTPClientTask):
    """Fetches from others."""


class Web(TornadoHTTPTask):
    """Serves the clients."""

    OPT_PREFIX = "web"
    DEFAULT_HOST = "127.0.0.1"
    DEPS = (*JOBS, Fetcher, Site, Commands, Peers)

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return the routes."""
        own: dict[str, Any] = {"service": self.service}
        calls = {
            "/signal": lambda service: service.requireTask("Signal").trigger(),
            "/program": run_program,
            "/command": run_command,
            "/fetch": fetch,
            "/bus": call_bus,
            "/restart": lambda service: service.restart(),
            "/instance": lambda service: {"id": id(service), "ready": service.ready},
            "/port/(\\w+)": lambda service, name: service.requireTask(name).bound_addrs[0][1],
            "/fail/(\\w+)": fail,
        }
        return [
            ("/submit/(\\w+)", Submit, own),
            ("/put/(\\w+)", Put, own),
            ("/ledger", Ledger, own),
            ("/echo", Body, own),
            *((path, Call, {**own, "function": function}) for path, function in calls.items()),
        ]


class Status(StatusHTTPTask):
    """Shows the service."""
