"""The plain endpoints: probes, metrics, the whole status as JSON, stacks, the page's files."""

from __future__ import annotations

import json
from http.client import responses
from importlib import resources
from os.path import splitext
from typing import TYPE_CHECKING, Any, ClassVar

from prometheus_client.registry import Collector
from sparts.errors import describe, format_threads
from sparts.masking import encodable, masked
from sparts.tasks.tornado.access import wrong_host
from sparts.tasks.tornado.status.detail import describe_task
from sparts.tasks.tornado.status.peers import ask_peers, summary

from tornado.web import HTTPError, RequestHandler

if TYPE_CHECKING:
    from prometheus_client import Metric
    from sparts.tasks.tornado.status.base import StatusTask

STATIC = resources.files("sparts.tasks.tornado.status") / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
ENDPOINTS = "/, /livez, /readyz, /metrics, /status.json, /stacks"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class RefusedError(HTTPError):
    """A request that is not answered as it hopes; ``text`` says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status)
        self.text = text


class Handler(RequestHandler):
    """Answers GET and HEAD, only to callers who may ask, and sends errors in plain text."""

    METHODS: ClassVar[str] = "GET, HEAD"

    def initialize(self, task: StatusTask) -> None:
        """Take the task; called by Tornado for each request."""
        self.task = task

    def set_default_headers(self) -> None:
        """Nothing is cached, framed, or used by pages of other origins."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def compute_etag(self) -> None:
        """Nothing is cached, so nothing has to be distinguished."""

    def prepare(self) -> None:
        """Refuse a request by a name that is not ours."""
        name = wrong_host(self.request, self.task.allowed_host or ())
        if name:
            raise RefusedError(
                403,
                f"This server is not {name}. Address it as localhost, or allow the name with "
                f"{self.task.flag('allowed-host')} {name}.",
            )

    def head(self, *args: str) -> Any:
        """Answer as to GET, without the body."""
        if "GET" not in self.METHODS:
            raise RefusedError(405, "")
        return self.get(*args)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send what was wrong."""
        error = kwargs.get("exc_info", (None, None))[1]
        text = f"{responses.get(status_code, 'Unknown')}."
        if status_code == 405:
            self.set_header("Allow", self.METHODS)
            text = f"{self.request.path} takes {self.METHODS}, not {self.request.method}."
        elif isinstance(error, RefusedError):
            text = error.text
        elif isinstance(error, TimeoutError):
            self.set_status(503)
            text = f"{error}: /stacks and SIGUSR1 show where it waits."
        elif status_code == 500 and error is not None:
            text = describe(error)
        self.tell_error(masked(text))

    def tell_error(self, text: str) -> None:
        """Answer with what was wrong."""
        self.tell(text)

    def tell(self, text: str) -> None:
        """Answer with a line of text."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(encodable(text).rstrip("\n") + "\n")

    def tell_json(self, found: Any) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(found, indent=1, allow_nan=False) + "\n")


class NotFound(Handler):
    """Any other path."""

    def prepare(self) -> None:
        """Refuse it, and list those that exist."""
        super().prepare()
        if self.request.path.startswith("/control/"):
            raise RefusedError(404, f"Controls exist only with {self.task.flag('control')}.")
        raise RefusedError(404, f"There is no {self.request.path} here, but {ENDPOINTS}.")


class Probe(Handler):
    """``/livez`` and ``/readyz``: 200 or 503, and what each check says."""

    def initialize(self, task: StatusTask, question: str = "") -> None:
        """Take what is asked, too."""
        super().initialize(task)
        self.question = question

    async def get(self) -> None:
        """Ask the checks."""
        copies = self.task.copies if self.question == "readiness" else None
        try:
            found = await (copies.readiness() if copies else self.task.asker.ask(self.question))
        except TimeoutError as error:
            found = {"checks": str(error)}
        well = not any(found.values())
        self.set_status(200 if well else 503)
        checks = {
            name: {"ok": False, "reason": problem} if problem else {"ok": True}
            for name, problem in found.items()
        }
        self.tell_json(
            {"ok": well, "status": str(self.task._instance.health.status), "checks": checks}
        )


class Metrics(Handler):
    """``/metrics``: for Prometheus, in the format that it asks for."""

    async def get(self) -> None:
        """Read all counters; those who ask meanwhile share what was read."""
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(self.request.headers.get("Accept", ""))
        copies = self.task.copies
        read = _Read(await (copies.metrics() if copies else self.task.asker.ask("metrics")))
        text = await self.task.asker.run("encode", lambda: encode(read))
        self.set_header("Content-Type", kind)
        self.finish(text)


class _Read(Collector):
    """Metrics that have been read, as an encoder takes them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Give them; called by the encoder."""
        return self._families


class StatusJSON(Handler):
    """``/status.json``: everything that the service says about itself."""

    async def get(self) -> None:
        """Describe the service."""
        told = await self.task.asker.ask("describe")
        copies = self.task.copies
        self.tell_json(await copies.described(told) if copies else told)


class TaskJSON(Handler):
    """``/task.json?name=NAME&copy=NUMBER``: everything about one task, in this or another copy."""

    async def get(self) -> None:
        """Describe the task."""
        name = self.get_query_argument("name", "")
        copy, copies = self.get_query_argument("copy", ""), self.task.copies
        if copies and copy.isdecimal() and len(copy) < 6 and int(copy) != copies.number:
            found = await copies.task(name, int(copy))
        else:
            found = await self.task.asker.run("task", lambda: describe_task(self.task, name))
        if found is None:
            raise RefusedError(404, f"No task is named {name!r}.")
        self.tell_json(found)


class LogJSON(Handler):
    """``/log.json?after=NUMBER``: the last log lines, of all copies if there are several."""

    async def get(self) -> None:
        """Give those after a number."""
        if self.task.copies:
            self.tell_json(await self.task.copies.lines())
            return
        after = self.get_query_argument("after", "0")
        number = int(after) if after.isdecimal() and len(after) < 16 else 0
        self.tell_json([each._asdict() for each in self.task.recent.after(number)])


class Peers(Handler):
    """``/peers.json``: a summary of each instance that ``--status-peers`` names, and of this."""

    async def get(self) -> None:
        """Ask them all."""
        if self.task.copies:
            mine = await self.task.copies.summaries()
        else:
            mine = [summary(await self.task.asker.ask("describe"), "")]
        self.tell_json([*mine, *await ask_peers(self.task.peers or ())])


class Stacks(Handler):
    """``/stacks``: where each thread and coroutine is now."""

    async def get(self) -> None:
        """Look at them from a thread of its own, so that the loop's is where it is otherwise."""
        copies = self.task.copies
        self.tell(masked(await (copies.stacks() if copies else self.task.asker.ask("stacks"))))


class Page(Handler):
    """``/`` and the files that it needs."""

    def initialize(self, task: StatusTask, file: str = "") -> None:
        """Take the name of the file, too."""
        super().initialize(task)
        self.file: str = file

    def get(self) -> None:
        """Give the file."""
        self.set_header("Content-Type", TYPES[splitext(self.file)[1]])
        self.finish((STATIC / self.file).read_bytes())


def page_routes(task: StatusTask) -> list[Any]:
    """Return a route for each file of the page, and ``/`` for the page itself."""
    names = sorted(each.name for each in STATIC.iterdir() if splitext(each.name)[1] in TYPES)
    files = [(f"/static/{name}", Page, {"task": task, "file": name}) for name in names]
    return [("/", Page, {"task": task, "file": "index.html"}), *files]


def format_stacks(task: StatusTask) -> str:
    """Return the stacks of all threads, and of the coroutines of loop tasks."""
    loops = (
        each._format_stacks() for each in task.service.getChildren().values() if each is not task
    )
    return format_threads() + "".join(loops)
