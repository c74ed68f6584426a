"""Entry points are found without importing anything; hooks are called or refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sparts import plugins
from sparts.dispatch.through_pluggy import PluginHooks
from sparts.hookspecs import hookimpl
from sparts.plugins import defaults
from sparts.testing.running import running
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.processes import run_to_end

ROOT = Path(__file__).parents[2]
HOOKS = """
from sparts.hookspecs import hookimpl
@hookimpl
def sparts_service_change(service, old, new):
    print(f"hook: {old} to {new}", flush=True)
"""


class Recorder:
    """A hook plugin that notes what it learns."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @hookimpl
    def sparts_service_create(self, service: VService) -> None:
        self.calls.append("create")

    @hookimpl
    def sparts_service_change(self, service: VService, old: str, new: str) -> None:
        self.calls.append(f"service {old} {new}")

    @hookimpl
    def sparts_task_change(self, task: VTask, old: str, new: str) -> None:
        self.calls.append(f"{task.name} {old} {new}")

    def _around(self, step: str) -> Any:
        self.calls.append(f"before {step}")
        result = yield
        self.calls.append(f"after {step}")
        return result

    @hookimpl(wrapper=True)
    def sparts_task_init(self, task: VTask) -> Any:
        return (yield from self._around("init"))

    @hookimpl(wrapper=True)
    def sparts_task_start(self, task: VTask) -> Any:
        return (yield from self._around("start"))

    @hookimpl(wrapper=True)
    def sparts_task_stop(self, task: VTask) -> Any:
        return (yield from self._around("stop"))


class Quiet(VTask):
    LOOPLESS = True


class Service(VService):
    TASKS = [Quiet]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Install an object as the only hook plugin of every service."""

    def install(plugin: object) -> None:
        def load(tolerant: bool = False) -> PluginHooks:
            hooks = PluginHooks(plugins={"sparts": defaults})
            hooks.register(plugin, "the test's")
            return hooks

        monkeypatch.setattr(plugins, "load_hooks", load)

    return install


def test_hooks_hear_of_the_whole_life_in_order(plug: Callable[[object], None]) -> None:
    recorder = Recorder()
    plug(recorder)
    with running(Service):
        pass
    assert recorder.calls == [
        "service NEW STARTING",
        "create",
        "Quiet NEW STARTING",
        "before init",
        "after init",
        "before start",
        "after start",
        "Quiet STARTING ALIVE",
        "service STARTING ALIVE",
        "service ALIVE STOPPING",
        "Quiet ALIVE STOPPING",
        "before stop",
        "after stop",
        "Quiet STOPPING STOPPED",
        "service STOPPING STOPPED",
    ]


def test_nothing_is_imported_before_it_is_needed(tmp_path: Path) -> None:
    script = (
        "import sys, typing\n"
        "compiled = []\n"
        "typing.ForwardRef.__init__ = lambda self, *words, **named: compiled.append(words)\n"
        "from sparts.vservice import VService\n"
        "class S(VService):\n"
        "    def initService(self):\n"
        "        print(sorted(sys.modules), flush=True)\n"
        "        print('compiled:', compiled, flush=True)\n"
        "        self.shutdown()\n"
        "S.initFromCLI()\n"
    )
    status, output = run_to_end([sys.executable, "-c", script], cwd=tmp_path)
    assert status == 0
    modules = next(line for line in output.splitlines() if line.startswith("["))
    unwanted = ("pluggy", "importlib.metadata", "tornado", "asyncio", "tomllib", "json", "difflib",
                "concurrent.futures", "inspect", "subprocess", "dataclasses", "sparts.vtask",
                "sparts.net")  # fmt: skip
    assert [name for name in unwanted if f"'{name}'" in modules] == []
    assert "compiled: []" in output  # a TypeVar with a string costs 4 % of a start


def test_collector_pauses_while_tasks_are_imported(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(
        "import gc\n"
        "from sparts.vtask import VTask\n"
        "print(f'enabled at import: {gc.isenabled()}', flush=True)\n"
        "class T(VTask):\n"
        "    def _runloop(self):\n"
        "        print(f'enabled at work: {gc.isenabled()}', flush=True)\n"
        "        self.service.shutdown()\n"
    )
    script = (
        "import gc, sys\n"
        "from sparts.vservice import VService\n"
        "class S(VService):\n"
        "    TASKS = ['slow_import:T']\n"
        "gc.isenabled() and sys.argv[1:] and gc.disable()\n"
        "del sys.argv[1:]\n"
        "S.initFromCLI()\n"
    )
    for words, after in (([], "True"), (["off"], "False")):
        status, output = run_to_end([sys.executable, "-c", script, *words], cwd=tmp_path)
        assert status == 0, output
        assert "enabled at import: False" in output
        assert f"enabled at work: {after}" in output
