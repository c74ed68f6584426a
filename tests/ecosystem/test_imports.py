"""Nothing is imported before it is needed: what a service that does nothing has not imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.processes import run_to_end

NEEDLESS = """
    argparse asyncio concurrent.futures dataclasses difflib email gettext http importlib.metadata
    inspect ipaddress json multiprocessing pathlib random shutil socket ssl subprocess tempfile
    tomllib tornado urllib
    zipfile mmap pluggy sparts.calls sparts.cli sparts.counters.sampling sparts.dev
    sparts.dispatch.through_pluggy sparts.entry_points.extras sparts.loops sparts.net sparts.places
    sparts.rpc sparts.testing sparts.vtask
"""

#: What Tornado itself imports is no matter here.
NEEDLESS_FOR_HTTP = """
    argparse difflib importlib.metadata mmap pluggy prometheus_client shutil tempfile termios
    tomllib uvloop zipfile
    sparts.calls sparts.places sparts.rpc sparts.net.hosts sparts.net.inherited sparts.net.serving
    sparts.net.sharing sparts.net.tls sparts.net.unix_sockets sparts.tasks.tornado.access
    sparts.tasks.tornado.calls sparts.tasks.tornado.client sparts.tasks.tornado.console
    sparts.tasks.tornado.status
"""

SCRIPT = """
import sys, typing
compiled = []
typing.ForwardRef.__init__ = lambda self, *words, **named: compiled.append(words)
from sparts.vservice import VService

class MyService(VService):
    def initService(self):
        self.shutdown()

try:
    MyService.initFromCLI()
finally:
    print("imported:", *sys.modules)
    assert not compiled, compiled  # a TypeVar with a string costs 4 % of a start
"""


HTTP = """
import logging, sys
from sparts.vservice import VService

class MyService(VService):
    TASKS = ['TornadoHTTPTask']
    DEFAULT_HOST = '127.0.0.1'

def look(record):
    if record.msg == 'All tasks started':
        print('imported:', *sys.modules, flush=True)
        service.shutdown()
    return True

logging.getLogger('MyService').addFilter(look)
service = MyService.from_args(['--http-port', '0'])
service.startBG().join()
"""


@pytest.mark.parametrize(
    ("script", "needed", "needless"),
    [(SCRIPT, "sparts.vservice", NEEDLESS), (HTTP, "sparts.tasks.tornado.http", NEEDLESS_FOR_HTTP)],
    ids=["nothing", "HTTP"],
)
def test_service_imports_nothing_extra(
    script: str, needed: str, needless: str, tmp_path: Path
) -> None:
    status, output = run_to_end([sys.executable, "-c", script], cwd=tmp_path)
    assert status == 0, output
    (line,) = [line for line in output.splitlines() if line.startswith("imported:")]
    imported = set(line.split())
    assert needed in imported
    assert sorted(imported.intersection(needless.split())) == []


def test_sparts_dev_imports_little_without_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service.py").write_text(SCRIPT, encoding="utf-8")
    found: list[set[str]] = []
    for blocked in ("otel,reload", "otel"):
        monkeypatch.setenv("SPARTS_DISABLE_PLUGINS", blocked)
        _, output = run_to_end([sys.executable, "service.py"], cwd=tmp_path)
        found.append({name for name in output.split() if name.startswith(("sparts.", "watch"))})
    plugin = {"sparts.dev", "sparts.dev.reload", "sparts.dev.reload.plugin"}
    assert found[1] - found[0] == {*plugin, "sparts.dispatch.through_pluggy"}
