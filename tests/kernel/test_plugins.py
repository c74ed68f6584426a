"""Entry points are found without importing anything; hooks are called or refused."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sparts import entry_points, plugins
from sparts.dispatch.through_pluggy import PluginHooks
from sparts.hookspecs import hookimpl
from sparts.plugins import defaults
from sparts.testing.distributions import make_distribution
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


def entry(name: str) -> dict[str, dict[str, str]]:
    return {"sparts.tasks": {name: f"{name.lower()}_module:{name}"}}


def found(name: str) -> list[tuple[str, str, str]]:
    entries = entry_points.find(entry_points.TASKS)
    return [(e.value, e.distribution, e.version) for e in entries if e.name == name]


def test_distributions_in_a_folder_are_read_directly(site: Path) -> None:
    make_distribution(site, "Acme_Jobs", "2.0", entry_points=entry("Job"))
    assert found("Job") == [("job_module:Job", "acme-jobs", "2.0")]


def test_first_distribution_hides_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(tmp_path / "old", "acme-jobs", "1.0", entry_points=entry("Job"))
    make_distribution(tmp_path / "new", "acme.jobs", "2.0", entry_points=entry("Job"))
    monkeypatch.syspath_prepend(tmp_path / "old")
    monkeypatch.syspath_prepend(tmp_path / "new")
    assert found("Job") == [("job_module:Job", "acme-jobs", "2.0")]


def test_development_install_tells_its_version_in_pkg_info(site: Path) -> None:
    info = site / "acme_jobs.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme-jobs\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[sparts.tasks]\nJob = job_module:Job\n")
    assert found("Job") == [("job_module:Job", "acme-jobs", "3.1")]


def test_zip_file_is_left_to_importlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_distribution(tmp_path / "f", "zipped-jobs", "1.1", entry_points=entry("Job"))
    with zipfile.ZipFile(tmp_path / "jobs.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    monkeypatch.syspath_prepend(tmp_path / "jobs.zip")
    assert found("Job") == [("job_module:Job", "zipped-jobs", "1.1")]


def test_foreign_finder_is_left_to_importlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    make_distribution(tmp_path, "hidden-jobs", "1.0", entry_points=entry("Job"))

    class Finder:
        @staticmethod
        def find_spec(*_: object) -> None:
            return None

        @staticmethod
        def find_distributions(context: Any = None) -> Any:
            return metadata.MetadataPathFinder.find_distributions(
                metadata.DistributionFinder.Context(path=[str(tmp_path)])
            )

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.setattr(entry_points, "_scanned", {})
    assert found("Job") == [("job_module:Job", "hidden-jobs", "1.0")]
    entry_points._scanned.clear()


def test_scan_agrees_with_importlib_metadata_on_this_environment() -> None:
    from importlib import metadata

    ours = {(e.name, e.value) for e in entry_points.find(entry_points.TASKS)}
    assert ours == {(e.name, e.value) for e in metadata.entry_points(group="sparts.tasks")}
    assert ("TornadoHTTPTask", "sparts.tasks.tornado:TornadoHTTPTask") in ours


@pytest.mark.parametrize(
    ("variable", "value", "left"),
    [
        ("SPARTS_DISABLE_PLUGINS", "acme-jobs", ["Other"]),
        ("SPARTS_DISABLE_PLUGINS", "Acme_Jobs", ["Other"]),
        ("SPARTS_DISABLE_PLUGINS", "Other", ["Job"]),
        ("SPARTS_LOAD_PLUGINS", "acme-jobs", ["Job"]),
        ("SPARTS_LOAD_PLUGINS", "", []),
    ],
)
def test_environment_blocks_by_distribution_or_name(
    variable: str, value: str, left: list[str], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(site, "acme-jobs", entry_points=entry("Job"))
    make_distribution(site, "beta-jobs", entry_points=entry("Other"))
    monkeypatch.setenv(variable, value)
    assert [name for name in ("Job", "Other") if found(name)] == left


def test_garbage_in_entry_points_is_passed_over(site: Path) -> None:
    texts = [b"\xff\xfe sparts.", b"[sparts.tasks\n=x\nJob", b"[sparts.tasks]\n#a=b"]
    for number, text in enumerate(texts):
        info = site / f"garbage{number}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_bytes(text)
    assert found("#a") == found("Job") == []


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


def test_search_runs_no_command_line(tmp_path: Path) -> None:
    """Finding imports nothing: a plugin whose module would fail is still listed."""
    make_distribution(
        tmp_path,
        "broken",
        entry_points={"sparts.tasks": {"Boom": "boom_module:Boom"}},
        modules={"boom_module": "raise SystemExit('imported')"},
    )
    script = "from sparts.entry_points import *; print([e.name for e in find(TASKS)])"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'Boom'" in result.stdout
