"""docs/security.md: what it says that no other test holds, and that each of its tests exists."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

from sparts.net.listeners import Listening
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.running import running, service_of

from scripts.audit import find_pins
from scripts.build_distributions import ROOT
from tests.processes import ServiceProcess, captured, clean_environment, output_of

PAGE = ROOT / "docs" / "security.md"


def test_every_sentence_has_a_test_that_exists() -> None:
    rows = re.findall(r"^\| .*\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = [re.search(r"\| `(\w+)` \|$", row) for row in rows]
    assert [
        row for row, name in zip(rows, named, strict=True) if not name and "| test |" not in row
    ] == []
    files = [*(ROOT / "tests").rglob("*.py"), *ROOT.glob("sparts-dev/src/sparts/testing/**/*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    there = set(re.findall(r"^ *def test_(\w+)\(", "\n".join(sources), re.MULTILINE))
    assert {name[1] for name in named if name} - there == set()
    assert len(rows) > 25


def test_service_without_server_tasks_listens_nowhere(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "simple.py")]
    with ServiceProcess(command, cwd=tmp_path) as service:
        service.read_until_started()
        folder = f"/proc/{service.process.pid}/fd"
        opened = []
        for number in os.listdir(folder):
            with suppress(FileNotFoundError):  # closed meanwhile
                opened.append(os.readlink(f"{folder}/{number}"))
        assert [name for name in opened if name.startswith("socket:")] == []
        assert service.stop() == 0


def test_servers_listen_everywhere_but_status_on_loopback() -> None:
    servers = [
        entry.load()
        for entry in metadata.entry_points(group="sparts.tasks")
        if entry.name.endswith(("HTTPTask", "ServerTask"))
    ]
    assert len(servers) > 2
    for task in servers:
        assert issubclass(task, Listening)
        other = {StatusHTTPTask: ("127.0.0.1", 8081), RPCHTTPTask: ("", 8090)}
        default = other.get(task, ("", 0))
        assert default == (task.DEFAULT_HOST, task.DEFAULT_PORT), task


def test_http_serves_its_own_routes_and_nothing_else() -> None:

    class Web(TornadoHTTPTask):
        DEFAULT_HOST = "127.0.0.1"

    with running(service_of(Web)) as service:
        connection = http.client.HTTPConnection(*service.requireTask(Web).bound_addrs[0])
        answers = {}
        for path in ("/", "/status.json", "/metrics", "/stacks", "/act/shutdown", "/readyz"):
            connection.request("GET", path)
            with connection.getresponse() as answer:
                answers[path] = answer.status
                answer.read()
        connection.close()
    assert answers.pop("/") == 200
    assert set(answers.values()) == {404}


SECRET = """
from sparts.options import option
from sparts.vservice import VService

class Service(VService):
    token = option(secret=True, default="swordfish")

Service.initFromCLI()
"""


def test_secret_is_masked_wherever_options_are_shown(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SECRET)
    for flag in ("-h", "--show-config", "--write-config"):
        for given in ("", "opensesame"):
            env = clean_environment(**({"SERVICE_TOKEN": given} if given else {}))
            said = output_of([sys.executable, "service.py", flag], cwd=tmp_path, env=env)
            assert "token" in said
            assert "swordfish" not in said
            assert "opensesame" not in said


def test_every_version_of_the_lock_has_its_hash() -> None:
    entries = re.split(r"\n(?=[\w.-]+==)", (ROOT / "requirements.lock").read_text())[1:]
    assert len(entries) > 40
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_exceptions_from_the_security_rules_say_why() -> None:
    silent = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in ROOT.glob("sparts-*/src/**/*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"# noqa: S\d+\s*$", line)
    ]
    assert silent == []


KNOWN = [
    {"id": "PYSEC-1", "fixed_in": ["1.7"], "withdrawn": None},
    {"id": "PYSEC-2", "fixed_in": [], "withdrawn": "2026-01-01T00:00:00Z"},
]


@contextmanager
def registry(answers: dict[str, object]) -> Iterator[str]:
    """Run a registry whose answers are known by the name of the distribution."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.split("/")[1])
            self.send_response(200 if found is not None else 404)
            self.end_headers()
            if found is not None:
                self.wfile.write(json.dumps(found).encode())

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def audit(api: str) -> tuple[int, str]:
    env = {**os.environ, "SPARTS_AUDIT_API": api}
    done = captured([sys.executable, "-m", "scripts.audit"], cwd=ROOT, env=env)
    return done.returncode, done.stdout


def test_known_vulnerability_fails_the_audit() -> None:
    pins = find_pins((ROOT / "requirements.lock").read_text())
    with registry({"pluggy": {"vulnerabilities": KNOWN}}) as api:
        status, told = audit(api)
    assert status == 1
    assert told.splitlines() == [
        f"pluggy {dict(pins)['pluggy']}: PYSEC-1, mended in 1.7",
        f"audit: {len(pins)} versions, 1 known vulnerabilities",
    ]


def test_audit_without_such_a_registry_says_so() -> None:
    with registry({"pluggy": {"info": {}}}) as api:
        assert audit(api)[0] == 0
    status, told = audit(api)  # nobody is there any more
    assert status == 0
    assert told == f"audit: left out, since {api} does not report vulnerabilities here\n"
