"""The core's own hook plugins: listed, blocked by their own names alone, and missed by nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sparts import plugins

from tests.core.commands import sparts
from tests.core.scripts import ended, stopped

SERVICE = """
class Works(VTask):
    def _runloop(self):
        say("works")
        self.stop_event.wait()
"""
WEB = 'TASKS = ["TornadoHTTPTask"]'
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


@pytest.mark.parametrize("name", plugins.BUILT_IN)
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_service_runs_without_a_built_in_plugin(name: str, by: str, tmp_path: Path) -> None:
    argv = ["--no-plugin", name] if by == "flag" else []
    variables: Any = {} if by == "flag" else {"SPARTS_DISABLE_PLUGINS": name}
    stopped(tmp_path, SERVICE, *argv, until="works", status=0, **variables)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SPARTS_DISABLE_PLUGINS", "sparts-core"),
        ("SPARTS_DISABLE_PLUGINS", "sparts_core"),
        ("SPARTS_LOAD_PLUGINS", ""),
        ("SPARTS_LOAD_PLUGINS", "other"),
    ],
)
def test_only_its_own_name_blocks_a_built_in(variable: str, value: str, tmp_path: Path) -> None:
    process = ended(tmp_path, SERVICE, "--dryrun", status=0, **{variable: value})
    assert process.lines[0] == "S would run, in this order:"


@pytest.mark.parametrize("name", SET)
def test_option_of_a_blocked_plugin_ends_the_start(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").touch()
    output = ended(tmp_path, SERVICE, "--no-plugin", name, *SET[name], status=2).output
    assert f"{SET[name][0]} is set (command line: {SET[name][0]})" in output
    assert f"the built-in plugin '{name}' is blocked" in output
    assert "works" not in output


@pytest.mark.parametrize(
    ("name", "variables", "said"),
    [
        ("daemon", {"S_USER": "nobody"}, "--user is set (environment: S_USER), but the built-in"),
        ("config", {"S_CONFIG": "x.toml"}, "--config is set (environment: S_CONFIG)"),
        ("daemon", {"S_CONFIG": "c.toml"}, "--user is set (file: "),
    ],
)
def test_other_sources_of_blocked_options_end_start(
    name: str, variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text('user = "nobody"\n')
    output = ended(tmp_path, SERVICE, "--no-plugin", name, status=2, **variables).output
    assert said in output


@pytest.mark.parametrize("argv", [(), ("--tasks", "AsgiTask", "--asgi-app", "builtins:print")])
def test_server_task_without_listeners_is_wrong_use(argv: tuple[str, ...], tmp_path: Path) -> None:
    text = WEB.replace("]", ', "AsgiTask"]') if argv else WEB
    output = ended(tmp_path, text, *argv, "--no-plugin", "listeners", status=2).output
    assert "the built-in plugin 'listeners', which opens them, is blocked" in output
    assert "Traceback" not in output


def test_without_logs_lines_are_loggings_last_resort(tmp_path: Path) -> None:
    source = SERVICE.replace("say(", "self.logger.warning(")
    stopped(tmp_path, source, "--no-plugin", "logs", until="^works", status=0)


def test_without_config_there_are_flags_and_variables(tmp_path: Path) -> None:
    source = SERVICE.replace('"works"', "self.service.drain_time, self.service.stop_timeout")
    argv = ("--no-plugin", "config", "--drain-time", "1s")
    stopped(tmp_path, source, *argv, until="1.0 9.0", status=0, S_STOP_TIMEOUT="9s")


def test_listing_shows_the_built_in_plugins(tmp_path: Path) -> None:
    done = sparts("plugins", "--json", cwd=tmp_path)
    found = {each["distribution"]: each for each in json.loads(done.out)}
    names = [each["name"] for each in found["sparts-core"]["hooks"]]
    assert sorted(names) == sorted(plugins.BUILT_IN)
    assert all(each["built_in"] for each in found["sparts-core"]["hooks"])
    assert "memory (built-in)" in sparts("plugins", cwd=tmp_path).out


def test_listing_shows_a_blocked_built_in_plugin(tmp_path: Path) -> None:
    done = sparts("plugins", cwd=tmp_path, SPARTS_DISABLE_PLUGINS="systemd")
    assert "systemd (built-in, blocked)" in " ".join(done.out.split())


@pytest.mark.parametrize("option", ["user", "status", "kill"])
def test_own_option_takes_flag_of_built_in(option: str, tmp_path: Path) -> None:
    source = f"""
from sparts.options import option
{SERVICE.replace('"works"', '"mine is", self.service.mine')}
class S(VService):
    TASKS = [Works]
    mine = option({option!r})
"""
    stopped(tmp_path, source, f"--{option}", "yes", until="mine is yes", status=0)
    helped = ended(tmp_path, source, "--help-all", status=0)
    assert f"--{option} is S's own, not that of sparts." in helped.output
