"""Where the application comes from, and what is said when it cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError, SpartsError, StartError
from sparts.tasks.asgi import AsgiTask, WsgiTask
from sparts.testing import log_of, running, service_of

from tests.asgi.conftest import HERE, Served
from tests.processes import ServiceProcess

MAIN = """\
async def app(scope, receive, send):
    assert scope["type"] == "http"
    length = [(b"content-length", b"4")]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": b"mine"})

def make():
    return app

class Holder:
    app = app

def wsgi(environ, start_response):
    return []

broken = make_broken = None
def fails():
    raise ValueError("no settings")
"""


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the module ``mine_main`` importable."""
    (tmp_path / "mine_main.py").write_text(MAIN)
    (tmp_path / "mine_broken.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine_main", None)


def started(task: Any, *argv: str) -> bytes:
    """Serve a task, and return what it answers."""
    with running(service_of(task), *HERE, *argv) as service:
        return Served(service).get("/")[1]


@pytest.mark.parametrize("name", ["mine_main:app", "mine_main:make()", "mine_main:Holder.app"])
def test_option_and_attribute_name_the_application(main: Any, name: str) -> None:
    assert started(AsgiTask, "--asgi-app", name) == b"mine"
    named = type("AsgiTask", (AsgiTask,), {"APP": name, "__doc__": "Named."})
    assert started(named) == b"mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine_main", "--asgi-app: 'mine_main' is not of the form module:name"),
        (":app", "is not of the form module:name"),
        ("./mine_main.py:app", "'./mine_main.py:app' is not of the form module:name"),
        (
            "mine_main:make",
            "cannot be called with .*If it makes the application, .*: module:name()",
        ),
        ("mine_main:missing", "'mine_main:missing' cannot be used: .*missing"),
        ("nowhere_at_all:app", "cannot be used: .*No module named 'nowhere_at_all'"),
        ("mine_broken:app", "cannot be used: .*No module named 'nowhere_at_all'"),
        ("mine_main:broken", "is no application: it cannot be called"),
        ("mine_main:fails()", "cannot be used: .*no settings"),
    ],
)
def test_what_cannot_be_had_fails_the_start(main: Any, name: str, message: str) -> None:
    with pytest.raises(StartError, match=message):
        started(AsgiTask, "--asgi-app", name)


@pytest.mark.parametrize(
    ("task", "flag", "message"),
    [
        (AsgiTask, "--asgi-app", "scope, receive, send.*WsgiTask serves WSGI"),
        (WsgiTask, "--wsgi-app", "environ, start_response.*AsgiTask serves ASGI"),
    ],
)
def test_application_of_the_other_kind_fails(main: Any, task: Any, flag: str, message: str) -> None:
    name = "wsgi" if task is AsgiTask else "app"
    with (
        pytest.raises(StartError, match=message),
        running(service_of(task), flag, f"mine_main:{name}"),
    ):
        pass


def test_task_without_application_says_how_to_give_one() -> None:
    with pytest.raises(StartError, match="AsgiTask has no application: give --asgi-app"):
        started(AsgiTask)


def test_wsgi_needs_a_thread() -> None:
    with (
        pytest.raises(OptionError, match="--wsgi-threads must be 1 or more"),
        running(service_of(WsgiTask), "--wsgi-threads", "0"),
    ):
        pass


@pytest.mark.parametrize("proxy", ["proxy.test", "127.0.0.1,10.0.0.0/8", "10.0.0.1/8", "::1/129"])
def test_proxy_that_no_client_can_be_is_refused(proxy: str) -> None:
    with (
        pytest.raises(OptionError, match=f"--asgi-trusted: '?{proxy}"),
        running(service_of(AsgiTask), "--asgi-trusted", "*", "--asgi-trusted", proxy),
    ):
        pass


@pytest.mark.parametrize(
    ("how", "why"),
    [("raises", "it raised"), ("ends", "its lifespan had ended before"), ("fails", "no reason")],
)
def test_lifespan_that_fails_at_the_stop_is_logged(how: str, why: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        if how == "ends":
            return
        await receive()
        if how == "raises":
            raise RuntimeError
        await send({"type": "lifespan.shutdown.failed", "message": "no reason"})

    task = type("AsgiTask", (AsgiTask,), {"APP": staticmethod(app), "__doc__": "Fails."})
    with running(service_of(task), *HERE) as service, log_of(service) as log:
        service.shutdown()
        log.wait_for_line(f"ERROR:Service.AsgiTask:The application failed at its stop: {why}\\b")


@pytest.mark.parametrize("status", ["startup.failed", "raises", "ends"])
def test_lifespan_that_fails_ends_the_start(status: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if status == "raises":
            raise RuntimeError("no database here")
        await send({"type": f"lifespan.{status}", "message": "no database here"})

    task = type("AsgiTask", (AsgiTask,), {"APP": staticmethod(app), "__doc__": "Fails."})
    with pytest.raises(SpartsError):
        started(task)


def test_application_without_lifespan_is_served() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError("only HTTP is served here")
        length = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"mine"})

    assert started(type("AsgiTask", (AsgiTask,), {"APP": app, "__doc__": "One."})) == b"mine"


def test_sparts_run_serves_an_application_by_name(main: Path) -> None:
    command = [sys.executable, "-m", "sparts", "run", "AsgiTask", "--asgi-app", "mine_main:app"]
    with ServiceProcess([*command, "--asgi-port", "0"], cwd=main) as service:
        service.read_until_started()
        assert service.stop() == 0, service.output


def test_dryrun_finds_a_missing_application(main: Path) -> None:
    command = [sys.executable, "-m", "sparts", "run", "AsgiTask", "--dryrun"]
    with ServiceProcess([*command, "--asgi-app", "mine_main:missing"], cwd=main) as service:
        assert service.finish() != 0
        assert "mine_main:missing" in service.output
