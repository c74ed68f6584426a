"""Every hook is documented, implemented by the example plugin, and does what its page says."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sparts import hookspecs, plugins
from sparts import plugins as defaults
from sparts.dispatch.through_pluggy import PluginHooks
from sparts.hookspecs import hookimpl
from sparts.testing.distributions import make_distribution
from sparts.testing.running import running, service_of
from sparts.vtask import VTask

from tests.core.commands import make_plugin, sparts
from tests.core.queue_tasks import Echo
from tests.processes import ServiceProcess, clean_environment

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "hook_plugin"
PAGE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
HOOKS: dict[str, Any] = {
    name: value for name, value in vars(hookspecs).items() if name.startswith("sparts_")
}
SERVICE = """
import json
from sparts.vservice import VService
from sparts.vtask import VTask

class Fragile(VTask):
    RESTART = "on-failure"
    failed = False

    def _runloop(self):
        if not Fragile.failed:
            Fragile.failed = True
            raise RuntimeError("once")
        assert self.service.health.wait_ready(60)
        print(json.dumps(self.service.stats.describe()), flush=True)
        print(self.service.hooks.collect("sparts_status_panels", task=self), flush=True)
        self.service.setOption("start_timeout", "1m")
        self.service.health.request_reload()

class MyService(VService):
    TASKS = [Fragile]

    def reload(self):
        try:
            super().reload()
        finally:
            self.shutdown()

MyService.initFromCLI()
"""
BY = [sys.executable, "-c", SERVICE]
SEEN = {
    "sparts_options_add": r'"pulse_max_failures": 3',
    "sparts_tasks_add": r'"name": "Heartbeat"',
    "sparts_classes_check": r'"pulse.tasks": 2',
    "sparts_counters_add": r'"pulse.failures": 1',
    "sparts_checks_add": r'"checks": {"pulse.failures": ""}',
    "sparts_status_panels": r"\('title', 'Pulse'\), \('data', {'Failures in the service': 1}\)",
    "sparts_service_create": r"INFO:MyService:pulse: MyService is felt",
    "sparts_service_check": r"Wrong: .*must be 0 or more",
    "sparts_service_change": r"INFO:MyService:pulse: \w+ to STOPPING",
    "sparts_task_init": r'"pulse.start_seconds": [0-9.e-]+',
    "sparts_task_start": r"INFO:MyService.Fragile:pulse: started",
    "sparts_task_stop": r"INFO:MyService.Fragile:pulse: told to stop",
    "sparts_call_wrap": r"INFO:MyService.Heartbeat:pulse: counts each periodic call",
    "sparts_task_change": r"INFO:MyService.Fragile:pulse: NEW to STARTING",
    "sparts_task_failure": r"pulse: failed with RuntimeError\('once'\), again in 0.\d s",
    "sparts_sources_add": r'"heartbeat_interval": 60.0',
    "sparts_service_run": r"acme-pulse 1.0.0 feels MyService",
    "sparts_process_wrap": r'"pulse.process_seconds": [0-9.e-]+',
    "sparts_logging_configure": r"pulse: the log begins\n(.*\n)+.*pulse: the log ends",
    "sparts_sockets_bind": r"INFO:MyService:pulse: sockets are opened",
    "sparts_privileges_drop": r"INFO:MyService:pulse: runs as user \d+",
    "sparts_service_ready": r"pulse: ready\n(.*\n)+.*pulse: not ready",
    "sparts_service_reload": r"INFO:MyService:pulse: the failures so far are forgotten",
    "sparts_options_change": r"INFO:MyService:pulse: start_timeout changed",
}
"""What each hook of the example plugin leaves in the output of the service above."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Give a folder in which the example plugin is installed as its pyproject.toml says."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    sources = {
        ".".join(path.relative_to(PLUGIN / "src").with_suffix("").parts): path.read_text()
        for path in (PLUGIN / "src").rglob("*.py")
    }
    return make_distribution(
        tmp_path / "fakes",
        project["name"],
        project["version"],
        entry_points=project["entry-points"],
        modules=sources,
        requires=project["dependencies"],
    )


def run(folder: Path, *argv: str, status: int = 0) -> list[str]:
    """Run the service to its end, with what is installed in `folder`; its lines."""
    command = [*BY, *argv]
    environment = clean_environment(PYTHONPATH=str(folder))
    with ServiceProcess(command, cwd=folder, env=environment) as service:
        assert service.finish() == status, service.output
        return service.lines


def description(lines: list[str]) -> dict[str, Any]:
    """What the service told of itself."""
    found: dict[str, Any] = json.loads(next(line for line in lines if line.startswith("{")))
    return found


def test_every_hook_is_exercised_by_the_example_plugin(installed: Path) -> None:
    assert SEEN.keys() == HOOKS.keys()
    output = "\n".join([*run(installed), *run(installed, "--pulse-version")])
    output += "\n".join(run(installed, "--dryrun", "--pulse-max-failures=-1", status=1))
    missing = [name for name, pattern in SEEN.items() if not re.search(pattern, output)]
    assert missing == [], output
    assert '"healthy": true' in output  # while the check of the plugin holds


def test_example_plugin_implements_every_hook() -> None:
    source = (PLUGIN / "src" / "acme_pulse" / "hooks.py").read_text()
    for name, hook in HOOKS.items():
        arguments = ", ".join(inspect.signature(hook).parameters)
        found = re.search(rf"@hookimpl(\(\w+=True\))?\ndef {name}\((.*?)\) ->", source, re.S)
        assert found, name
        assert ", ".join(re.findall(r"(\w+): ", found[2])) == arguments


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented(name: str) -> None:
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))
    assert sections.keys() == HOOKS.keys()
    signature = f"{name}({', '.join(inspect.signature(HOOKS[name]).parameters)})"
    section = sections[name]
    assert f"`{signature}`" in section
    for word in ("Called", "Thread", "Order", "An exception"):
        assert re.search(rf"^- \*\*{word}\*\*.{{12,}}", section, re.M), word
    assert HOOKS[name].__doc__
    assert re.fullmatch(r"sparts_[a-z]+_[a-z]+", name)  # a noun and a verb


def test_doctor_finds_nothing_wrong_with_the_example_plugin(installed: Path) -> None:
    done = sparts("doctor", cwd=installed, path=installed)
    assert done.status == 0, done.out
    assert re.search(r"hook modules [1-3]", " ".join(done.out.split()))


def test_options_of_a_plugin_are_like_all_others(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[pulse]\nmax_failures = 8\n")
    run = functools.partial(sparts, by=BY, cwd=tmp_path, path=installed)
    shown = run("--help").out
    assert "What acme-pulse does in this service." in shown
    assert "--pulse-max-failures NUMBER" in shown.replace("FAILURES", "NUMBER")
    configured = ("--show-config", "--config", "c.toml")
    assert "[PulseOptions]\nmax_failures = 8  # file:" in run(*configured).out
    shown = run(*configured, MYSERVICE_PULSE_MAX_FAILURES="9").out
    assert "max_failures = 9  # environment: MYSERVICE_PULSE_MAX_FAILURES" in shown
    wrong = run("--pulse-max-failures", "x")
    assert (wrong.status, "--pulse-max-failures" in wrong.err) == (2, True)
    written = run("--write-config").out
    assert "# What acme-pulse does in this service.\n[PulseOptions]" in written


def test_options_of_a_plugin_steer_its_hooks(installed: Path) -> None:
    lines = run(installed, "--no-pulse-beat", "--pulse-max-failures", "0")
    told = description(lines)
    assert [task["name"] for task in told["tasks"]] == ["Fragile"]
    assert told["options"]["pulse_max_failures"] == 0
    assert told["healthy"] is False
    assert told["checks"] == {"pulse.failures": "it says so"}
    assert "pulse.failures is unhealthy: it says so" in told["status_details"]


class Told:
    """Notes changes: a hook that only tells is called past what watches the others."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    @hookimpl
    def sparts_service_create(self) -> None:
        self.calls.append("create")

    @hookimpl
    def sparts_service_change(self, old: str, new: str) -> None:
        self.calls.append(f"service {old} {new}")

    @hookimpl
    def sparts_task_change(self, old: str, new: str) -> None:
        self.calls.append(f"task {old} {new}")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hooks that services call, and those that have ended."""
    calls: list[str] = []
    hooks = PluginHooks(plugins={"sparts": defaults})
    hooks.register(Told(calls))
    hooks.manager.add_hookcall_monitoring(
        lambda name, *_: calls.append(name), lambda _, name, *__: calls.append(f"end of {name}")
    )
    monkeypatch.setattr(plugins, "load_hooks", lambda tolerant=False: hooks)
    return calls


def test_hooks_hear_of_the_whole_life_in_order(called: list[str]) -> None:
    with running(service_of(type("Quiet", (VTask,), {"LOOPLESS": True}))):
        pass
    steps = "service |task |create|(end of )?sparts_task_(init|start|stop)"
    assert [call for call in called if re.match(steps, call)] == [
        "service NEW STARTING",
        "create",
        "task NEW STARTING",
        *("sparts_task_init", "end of sparts_task_init"),
        *("sparts_task_start", "end of sparts_task_start"),
        "task STARTING ALIVE",
        "service STARTING ALIVE",
        "service ALIVE STOPPING",
        "task ALIVE STOPPING",
        *("sparts_task_stop", "end of sparts_task_stop"),
        "task STOPPING STOPPED",
        "service STOPPING STOPPED",
    ]


def test_no_hook_is_called_per_queue_item(called: list[str]) -> None:
    seen: list[list[str]] = []
    for items in (1, 200):
        with running(service_of(Echo)) as service:
            assert service.requireTask(Echo).map(range(items), 60) == [*range(items)]
        seen.append(called[:])
        called.clear()
    assert "sparts_task_start" in seen[0]
    assert seen[1] == seen[0]


HOOK = "from sparts.hookspecs import hookimpl\n@hookimpl"
CHECKS = f"""
{HOOK}
def sparts_checks_add(service):
    def raises():
        raise OSError("disk full")
    return {{"w.raises": raises, "w.says": lambda: False, "w.none": lambda: None}}
"""


def test_check_fails_by_false_or_exception(tmp_path: Path) -> None:
    told = description(run(make_plugin(tmp_path, "watcher", CHECKS)))
    assert told["healthy"] is False
    checks = {"w.raises": "OSError: disk full", "w.says": "it says so", "w.none": ""}
    assert told["checks"] == checks


@pytest.mark.parametrize("name", ["Fragile.n_failures", "twice"])
def test_counter_of_name_that_is_taken_fails_start(name: str, tmp_path: Path) -> None:
    for owner in ("one", "two"):
        text = f"{HOOK}\ndef sparts_counters_add(service): return {{{name!r}: lambda: 1}}\n"
        make_plugin(tmp_path, owner, text)
    done = sparts(by=BY, cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert f"failed in sparts_counters_add: the name {name!r} is taken" in done.err
    assert "Hook plugin 'two' of two 4.2" in done.err or name == "twice"


def test_plugins_are_called_in_reverse_name_order(tmp_path: Path) -> None:
    for owner, mark in (("a", ""), ("b", ""), ("c", "(trylast=True)"), ("d", "")):
        does = f"print('order', {owner!r})"
        make_plugin(tmp_path, owner, f"{HOOK}{mark}\ndef sparts_service_create(): {does}\n")
    lines = run(tmp_path)
    assert [line for line in lines if line.startswith("order")] == [
        *("order d", "order b", "order a", "order c")
    ]


TELLING = {
    "sparts_service_change": "Hook plugin {} failed in sparts_service_change",
    "sparts_service_ready": "Hook plugin {} failed in sparts_service_ready",
    "sparts_task_change": "Hook plugin {} failed in sparts_task_change",
    "sparts_task_failure": "Hook plugin {} failed in sparts_task_failure",
    "sparts_service_reload": "Reload of {} failed",
    "sparts_options_change": "Hook plugin {} could not take changed options",
}
"""The hooks that only tell, and what is logged of an implementation that fails."""


@pytest.mark.parametrize("hook", TELLING)
def test_failing_hook_is_logged_by_name(hook: str, tmp_path: Path) -> None:
    for owner, does in (("a", "print('told', flush=True)"), ("b", "raise LookupError('mine')")):
        make_plugin(tmp_path, owner, f"{HOOK}\ndef {hook}(): {does}\n")
    lines = run(tmp_path)
    assert "told" in "\n".join(lines)
    said = TELLING[hook].format("'b' of b 4.2 (b_module)")
    assert any(said in line for line in lines), lines


def test_task_stops_although_a_hook_fails(tmp_path: Path) -> None:
    make_plugin(tmp_path, "a", f"{HOOK}\ndef sparts_task_stop(): raise LookupError('mine')\n")
    lines = run(tmp_path, status=1)
    assert any("Fragile failed while stopping: LookupError: mine" in line for line in lines), lines


def test_wrapper_that_returns_nothing_is_named(tmp_path: Path) -> None:
    wrapper = HOOK + "(wrapper=True)\ndef {}(): yield\n"
    written = [wrapper.format(f"sparts_{name}") for name in ("process_wrap", "logging_configure")]
    make_plugin(tmp_path, "a", "".join(written))
    assert (
        "sparts_process_wrap gave None, not what its `yield` gives." in run(tmp_path, status=2)[-1]
    )
