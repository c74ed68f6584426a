"""Sources of options that plugins add: the one of the documentation, asking a real server."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sparts.testing.processes import ServiceProcess as Process

from tests.core.commands import make_plugin, sparts
from tests.ecosystem.documentation import find_blocks
from tests.processes import clean_environment

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "option-source.md"
SERVICE = """
from sparts.hookspecs import hookimpl
from sparts.options import option
from sparts.vservice import VService
from sparts.vtask import VTask

class Worker(VTask):
    OPT_PREFIX = "worker"
    limit = option(type=int, default=1)
    fixed = option(type=int, default=1, reloadable=False)
    token = option(secret=True)

    def _runloop(self):
        self.logger.info("limit %d", self.limit)
        self.stop_event.wait()

    def on_options_changed(self, names):
        self.logger.info("limit %d %s", self.limit, *sorted(names))

class Svc(VService):
    TASKS = [Worker]

    def initService(self):
        self.hooks.register(self)

    @hookimpl
    def sparts_service_change(self, new):
        self.logger.info("status %s", new)

Svc.initFromCLI()
"""
BY = [sys.executable, "-c", SERVICE]


class Server(ThreadingHTTPServer):
    """A key-value server: values by name under each path, and who waits learns of changes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.changed = threading.Condition()
        self.body = "{}"
        self.version = 0
        self.waiting = 0
        self.url = f"http://127.0.0.1:{self.server_port}/svc"

    def put(self, body: str | None = None, **values: Any) -> None:
        """Give other values, and wake the threads that wait."""
        with self.changed:
            self.body = json.dumps(values) if body is None else body
            self.version += 1
            self.changed.notify_all()

    def wait_watched(self) -> None:
        """Wait until somebody waits for changes."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.waiting, 60)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        with server.changed:
            if self.headers["Prefer"]:
                seen = self.headers["If-None-Match"]
                server.waiting += 1
                server.changed.notify_all()
                server.changed.wait_for(lambda: f'"{server.version}"' != seen, 60)
                server.waiting -= 1
            version, body = server.version, server.body.encode()
        self.send_response(200 if body else 503)
        self.send_header("ETag", f'"{version}"')
        self.send_header("Content-Length", str(len(body)))
        with suppress(OSError):  # who waited is gone
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.put()
            server.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder in which the plugin of the page is installed."""
    blocks = find_blocks(PAGE, PAGE.read_text(encoding="utf-8"))
    return make_plugin(tmp_path, "values", next(b.code for b in blocks if b.kind == "python"))


def started(folder: Path, source: str = SERVICE, **variables: str) -> Process:
    environment = clean_environment(PYTHONPATH=str(folder), **variables)
    return Process([sys.executable, "-c", source], cwd=folder, env=environment)


def shown(folder: Path, *argv: str, **variables: str) -> str:
    done = sparts("--show-config", *argv, by=BY, cwd=folder, path=folder, **variables)
    assert done.status == 0, done.err
    return done.out


def test_source_counts_after_files_and_before_classes(folder: Path, server: Server) -> None:
    server.put(worker_limit="7", worker_fixed=3)
    url = {"SVC_VALUES_URL": server.url}
    assert f"limit = 7  # values: {server.url}: worker_limit" in shown(folder, **url)
    assert f"fixed = 3  # values: {server.url}: worker_fixed" in shown(folder, **url)
    (folder / "c.toml").write_text("[Worker]\nlimit = 8\n")
    assert "limit = 8  # file: " in shown(folder, "--config", "c.toml", **url)
    assert "limit = 9  # environment: " in shown(folder, **url, SVC_WORKER_LIMIT="9")
    assert "limit = 1  # task class: Worker" in shown(folder)


def test_secret_of_a_source_is_masked(folder: Path, server: Server) -> None:
    server.put(worker_token="hunter2")
    output = shown(folder, SVC_VALUES_URL=server.url)
    assert "hunter2" not in output
    assert f"# values: {server.url}: worker_token" in output


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"worker_limit": "many"}', "worker_limit: expected a whole number, got 'many'"),
        ("", "values: cannot be read: HTTPException: "),
    ],
    ids=["wrong value", "no answer"],
)
def test_source_that_fails_at_the_start_ends_it(
    body: str, message: str, folder: Path, server: Server
) -> None:
    server.put(body)
    done = sparts(by=BY, cwd=folder, path=folder, SVC_VALUES_URL=server.url)
    assert done.status == 2
    assert message in done.err


def test_change_at_the_source_reaches_the_running_service(folder: Path, server: Server) -> None:
    server.put(worker_limit=2, worker_fixed=1)
    with started(folder, SVC_VALUES_URL=server.url) as service:
        service.wait_for_line(":limit 2$")
        server.wait_watched()
        server.put(worker_limit=3, worker_fixed=5)
        service.wait_for_line(":limit 3 worker_limit$")
        service.wait_for_line("--worker-fixed changed: it takes effect at the next start")
        server.put()
        service.wait_for_line(":limit 1 worker_limit$")
        assert service.stop() == 0, service.output


def test_wrong_change_is_warning_until_next_success(folder: Path, server: Server) -> None:
    with started(folder, SVC_VALUES_URL=server.url) as service:
        service.wait_for_line("status ALIVE")
        server.wait_watched()
        server.put(worker_limit="many")
        service.wait_for_line("Reload of options failed: .*/svc: worker_limit: .* got 'many'")
        service.wait_for_line("status WARNING")
        server.put(worker_limit=4)
        service.wait_for_line(":limit 4 worker_limit$")
        service.wait_for_line("status ALIVE", count=2)
        assert service.stop() == 0, service.output


def test_watch_ends_with_instance_and_begins_with_next(folder: Path, server: Server) -> None:
    source = SERVICE.replace("*sorted(names))", "*names)\n        self.service.restart()")
    with started(folder, source, SVC_VALUES_URL=server.url) as service:
        service.wait_for_line("All tasks started")
        server.wait_watched()
        server.put(worker_limit=2)
        service.wait_for_line("All tasks started", count=2)
        server.wait_watched()
        server.put(worker_limit=3)
        service.wait_for_line(":limit 3 worker_limit$")
        service.wait_for_line("All tasks started", count=3)
        assert service.stop() == 0, service.output


PLUGIN = """
import threading
from sparts.hookspecs import hookimpl
from sparts.options import MISSING

class Source:
    name = "mine"
    value = 1

    def get(self, option):
        return self.value if option.dest == "worker_limit" else MISSING

    def watch(self, changed):
        {watch}

@hookimpl
def sparts_sources_add():
    {add}
"""


def plugin(folder: Path, watch: str = "pass", add: str = "return [Source()]") -> Path:
    return make_plugin(folder, "mine", PLUGIN.format(watch=watch, add=add))


def test_single_source_gives_none_for_what_it_lacks(tmp_path: Path) -> None:
    add = "Source.get = lambda self, option: dict(worker_limit=4).get(option.dest); return Source()"
    assert re.search("^limit = 4 +# mine: worker_limit$", shown(plugin(tmp_path, add=add)), re.M)


def test_what_changes_before_the_watch_is_not_missed(tmp_path: Path) -> None:
    plugin(tmp_path, "self.value = 5")
    with started(tmp_path) as service:
        service.wait_for_line(":limit 5 worker_limit$")
        assert service.stop() == 0, service.output


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        ("raise OSError('no stream')", "Reload of mine failed: no stream"),
        ("return lambda: 1 / 0", "A watch of an option source could not end"),
    ],
    ids=["begin", "end"],
)
def test_watch_that_fails_ends_nothing(watch: str, said: str, tmp_path: Path) -> None:
    with started(plugin(tmp_path, watch)) as service:
        service.wait_for_line("All tasks started")
        service.wait_for_line(":limit")
        assert service.stop() == 0, service.output
    assert said in service.output


@pytest.mark.parametrize(
    ("add", "said"),
    [
        ("raise OSError('vault is down')", "OSError: vault is down"),
        ("return [object()]", "is no source of options: it needs a 'name' and a method 'get'"),
        ("return object()", "is no source of options: it needs a 'name' and a method 'get'"),
    ],
    ids=["exception", "no source", "no list"],
)
def test_plugin_that_cannot_give_its_source_ends_start(add: str, said: str, tmp_path: Path) -> None:
    plugin(tmp_path, add=add)
    done = sparts(by=BY, cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert "Hook plugin 'mine' of mine 4.2 (mine_module) failed in sparts_sources_add" in done.err
    assert said in done.err
    assert sparts("--help", by=BY, cwd=tmp_path, path=tmp_path).status == 0
