"""The core's own hook plugins: listed, blocked by their own names alone, and missed by nobody."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from sparts import plugins

from tests.core.commands import sparts
from tests.processes import ServiceProcess, clean_environment

SERVICE = """
from sparts.vservice import VService
from sparts.vtask import VTask

class Worker(VTask):
    def _runloop(self):
        print("works", flush=True)
        self.stop_event.wait()

class Svc(VService):
    TASKS = [Worker]

Svc.initFromCLI()
"""
WEB = """
from sparts.vservice import VService

class Svc(VService):
    TASKS = ["TornadoHTTPTask"]

Svc.initFromCLI()
"""
SET = {
    "daemon": ("--user", "nobody"),
    "logs": ("--level", "INFO"),
    "config": ("--config", "c.toml"),
    "dryrun": ("--dryrun",),
    "runit": ("--runit-install",),
    "processes": ("--processes", "2"),
    "systemd": ("--systemd-install",),
}
"""An option of each built-in plugin that has any."""


def run(folder: Path, source: str, *argv: str, **environment: str) -> tuple[int, str]:
    """Run a service that ends by itself or by SIGTERM; its status and output."""
    command = [sys.executable, "-c", source, *argv]
    with ServiceProcess(command, cwd=folder, env=clean_environment(**environment)) as process:
        return process.finish(), process.output


@pytest.mark.parametrize("name", plugins.BUILT_IN)
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_service_runs_without_a_built_in_plugin(name: str, by: str, tmp_path: Path) -> None:
    argv = ["--no-plugin", name] if by == "flag" else []
    variables = {} if by == "flag" else {"SPARTS_DISABLE_PLUGINS": name}
    command = [sys.executable, "-c", SERVICE, *argv]
    environment = clean_environment(**variables)
    with ServiceProcess(command, cwd=tmp_path, env=environment) as process:
        process.read_until("works")
        assert process.stop() == 0, process.output


@pytest.mark.parametrize("value", ["sparts-core", "sparts_core"])
def test_name_of_the_distribution_blocks_no_built_in(value: str, tmp_path: Path) -> None:
    status, output = run(tmp_path, SERVICE, "--dryrun", SPARTS_DISABLE_PLUGINS=value)
    assert (status, output.splitlines()[0]) == (0, "Svc would run, in this order:")


@pytest.mark.parametrize("value", ["", "other"])
def test_list_of_plugins_blocks_no_built_in(value: str, tmp_path: Path) -> None:
    status, output = run(tmp_path, SERVICE, "--dryrun", SPARTS_LOAD_PLUGINS=value)
    assert (status, output.splitlines()[0]) == (0, "Svc would run, in this order:")


@pytest.mark.parametrize("name", SET)
def test_option_of_a_blocked_plugin_ends_the_start(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("")
    status, output = run(tmp_path, SERVICE, "--no-plugin", name, *SET[name])
    assert status == 2, output
    assert f"{SET[name][0]} is set (command line: {SET[name][0]})" in output
    assert f"the built-in plugin '{name}' is blocked" in output
    assert "works" not in output


def test_variable_of_a_blocked_plugin_ends_the_start(tmp_path: Path) -> None:
    status, output = run(tmp_path, SERVICE, "--no-plugin", "daemon", SVC_USER="nobody")
    assert status == 2
    assert "--user is set (environment: SVC_USER), but the built-in plugin 'daemon'" in output
    status, output = run(tmp_path, SERVICE, "--no-plugin", "config", SVC_CONFIG="x.toml")
    assert status == 2
    assert "--config is set (environment: SVC_CONFIG)" in output


def test_file_that_sets_option_of_blocked_plugin(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('user = "nobody"\n')
    status, output = run(tmp_path, SERVICE, "--no-plugin", "daemon", "--config", "c.toml")
    assert status == 2
    assert "--user is set (file: " in output


@pytest.mark.parametrize("argv", [(), ("--tasks", "AsgiTask", "--asgi-app", "builtins:print")])
def test_server_task_without_listeners_is_wrong_use(argv: tuple[str, ...], tmp_path: Path) -> None:
    text = WEB.replace('"TornadoHTTPTask"', '"TornadoHTTPTask", "AsgiTask"')
    status, output = run(tmp_path, text if argv else WEB, *argv, "--no-plugin", "listeners")
    assert status == 2, output
    assert "the built-in plugin 'listeners' opens. It is blocked" in output
    assert "Traceback" not in output


def test_without_logs_lines_are_loggings_last_resort(tmp_path: Path) -> None:
    source = SERVICE.replace('print("works", flush=True)', 'self.logger.warning("works")')
    command = [sys.executable, "-c", source, "--no-plugin", "logs"]
    with ServiceProcess(command, cwd=tmp_path, env=clean_environment()) as process:
        process.read_until("works")
        assert process.stop() == 0


def test_without_config_there_are_flags_and_variables(tmp_path: Path) -> None:
    argv = ("--no-plugin", "config", "--drain-time", "1s")
    source = SERVICE.replace("works", "{self.service.drain_time} {self.service.stop_timeout}")
    source = source.replace('print("', 'print(f"')
    command = [sys.executable, "-c", source, *argv]
    environment = clean_environment(SVC_STOP_TIMEOUT="9s")
    with ServiceProcess(command, cwd=tmp_path, env=environment) as process:
        process.read_until("1.0 9.0")
        assert process.stop() == 0


def test_listing_shows_the_built_in_plugins(tmp_path: Path) -> None:
    done = sparts("plugins", "--json", cwd=tmp_path)
    found = {each["distribution"]: each for each in json.loads(done.out)}
    names = [each["name"] for each in found["sparts-core"]["hooks"]]
    assert sorted(names) == sorted(plugins.BUILT_IN)
    assert all(each["built_in"] for each in found["sparts-core"]["hooks"])
    assert "memory (built-in)" in sparts("plugins", cwd=tmp_path).out


def test_listing_shows_a_blocked_built_in_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARTS_DISABLE_PLUGINS", "systemd")
    done = sparts("plugins", cwd=tmp_path)
    assert "systemd (built-in, blocked)" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("option", "flag"), [("user", "--user"), ("status", "--status"), ("kill", "--kill")]
)
def test_own_option_takes_flag_of_built_in(option: str, flag: str, tmp_path: Path) -> None:
    source = SERVICE.replace(
        "    TASKS = [Worker]", f"    TASKS = [Worker]\n    mine = option({option!r})"
    ).replace("from sparts.vservice", "from sparts.options import option\nfrom sparts.vservice")
    source = source.replace('print("works"', 'print(f"mine is {self.service.mine}"')
    command = [sys.executable, "-c", source, flag, "yes"]
    with ServiceProcess(command, cwd=tmp_path, env=clean_environment()) as process:
        process.read_until("mine is yes")
        assert process.stop() == 0, process.output
    status, output = run(tmp_path, source, "--help-all")
    assert status == 0
    assert f"{flag} is Svc's own, not that of sparts." in output
