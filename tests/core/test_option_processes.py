"""Options and logging of services that run as processes: status 2, no traceback, one sentence."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.processes import ServiceProcess, captured, clean_environment, run_to_end

SCRIPT = '''
import logging
from sparts.options import option
from sparts.option_types import duration, port, regex
from sparts.vservice import VService
from sparts.vtask import VTask

class Web(VTask):
    """Serves."""
    OPT_PREFIX = "web"
    LOOPLESS = True
    port = option(type=port, default=80)
    match = option(type=regex)
    token = option(secret=True)

    def start(self):
        logging.getLogger("asyncio").debug("Using selector")
        logging.getLogger("library").warning("the token is %s", self.token)

    def on_options_changed(self, names):
        self.logger.info("told of %s: %s", ", ".join(sorted(names)), self.port)

class Other(VTask):
    OPT_PREFIX = "other"
    LOOPLESS = True
    port = option(type=port, default=81)
    def initTask(self):
        self.logger.info("INITIALISED")

class MyService(VService):
    """My service."""
    TASKS = [Web, Other]
    pause = option(type=duration, required=@required@)
    mode = option(choices=["fast", "slow"], default="fast")

MyService.initFromCLI()
'''


def script(folder: Path, required: bool = False) -> list[str]:
    """The command that runs the service."""
    (folder / "myservice.py").write_text(SCRIPT.replace("@required@", str(required)))
    return [sys.executable, str(folder / "myservice.py")]


def refusal(command: list[str], folder: Path) -> str:
    """Run a command, which ends with status 2 after one sentence, and give the sentence."""
    status, output = run_to_end(command, cwd=folder)
    assert status == 2, output
    assert output.startswith("myservice.py: error: ")
    assert len(output.splitlines()) == 1
    return output


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--web-port", "http"], "--web-port: expected a port from 0 to 65535, got 'http'"),
        (["--reload"], "unrecognized arguments: --reload. It comes with sparts-dev, which"),
        (["--web-prot=1"], "unrecognized arguments: --web-prot=1. Did you mean '--web-port'?"),
        (["--nonsense", "x"], "unrecognized arguments: --nonsense x"),
        (["start"], "unrecognized arguments: start"),
        (["--level", "LOUD"], "--level: expected a log level (DEBUG, INFO,"),
        (["--log-format", "xml"], "--log-format: expected one of text, json"),
        (["--log-level-for", "x"], "--log-level-for: expected NAME=LEVEL"),
        (["--config", "absent.toml"], "absent.toml: cannot be read: No such file or directory."),
        (["--logfile", "absent/log"], "absent/log: No such file or directory"),
    ],
)
def test_bad_command_line_ends_with_2(tmp_path: Path, argv: list[str], said: str) -> None:
    output = refusal([*script(tmp_path), *argv], tmp_path)
    assert said in output
    assert argv != ["start"] or "Did you mean" not in output  # no flag was meant


@pytest.mark.parametrize(
    "argv",
    [
        ["--web-tokn=hunter2"],
        ["--web_token", "hunter2"],
        ["-token", "hunter2", "--web-port", "1"],
        ["--WEB-TOKEN", "hunter2"],
        ["--web-token:hunter2"],
        ["--web-token=", "hunter2"],
    ],
)
def test_value_of_misspelt_secret_flag_is_masked(tmp_path: Path, argv: list[str]) -> None:
    output = refusal([*script(tmp_path), *argv], tmp_path)
    assert "unrecognized arguments: " in output
    assert "********" in output
    assert "hunter2" not in output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[web]\nprot = 1\n", "[web] prot: no such key. Did you mean 'port'?"),
        ("[web]\nport = 'x'\n", "[web] port: expected a port from 0 to 65535, got 'x'"),
        ("a = 1\nb = = 2\n", "line 2: not valid TOML"),
        ("logfile = '/absent/log'\n", "logfile: cannot log to /absent/log: No such file"),
    ],
)
def test_bad_file_ends_with_2(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    output = refusal([*script(tmp_path), "--config", "x.toml"], tmp_path)
    assert f"{tmp_path}/x.toml: {said}" in output


def test_missing_required_option_ends_with_status_2(tmp_path: Path) -> None:
    output = refusal(script(tmp_path, required=True), tmp_path)
    assert "--pause is required" in output
    assert "MYSERVICE_PAUSE" in output


NEEDY = """
from sparts.options import option
from sparts.vservice import VService
from sparts.vtask import VTask

class Plain(VTask):
    def _runloop(self):
        self.stop_event.wait()

class Needy(Plain):
    key = option(required=True)

class MyService(VService):
    TASKS = [Plain, Needy]

MyService.initFromCLI()
"""


def test_requirement_holds_only_where_task_runs(tmp_path: Path) -> None:
    (tmp_path / "myservice.py").write_text(NEEDY)
    command = [sys.executable, str(tmp_path / "myservice.py")]
    assert "--Needy-key is" in refusal([*command, "--tasks", "Needy"], tmp_path)
    assert run_to_end([*command, "--tasks"], cwd=tmp_path) == (0, "Plain\nNeedy")
    status, text = run_to_end([*command, "--tasks", "Plain", "--dryrun"], cwd=tmp_path)
    assert (status, text.split()[-1]) == (0, "Plain")
    pid_file = ["--pidfile", str(tmp_path / "none.pid")]
    status, text = run_to_end([*command, "--status", *pid_file], cwd=tmp_path)
    assert status == 1
    assert "required" not in text
    with ServiceProcess([*command, "--tasks", "Plain"], cwd=tmp_path) as process:
        process.read_until_started()
        process.process.send_signal(signal.SIGHUP)
        process.read_until("Reloaded")
        assert process.stop(signal.SIGTERM) == 0


# -- logging ---------------------------------------------------------------------------------------


def test_json_log_is_json_to_its_end(tmp_path: Path) -> None:
    argv = ["--log-format", "json", "--log-level-for", "asyncio=DEBUG", "--web-token", "t0ken-1"]
    command = [*script(tmp_path), *argv]
    with ServiceProcess(command, cwd=tmp_path) as service:
        service.read_until_started()
        assert service.stop(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in service.lines]
    assert {line["service"] for line in lines} == {"MyService"}
    messages = [line["message"] for line in lines]
    assert messages[:3] == ["INITIALISED", "Using selector", "the token is ********"]
    assert messages[-1] == "Instance shut down gracefully"


def test_log_after_logrotate_goes_to_the_new_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    command = [*script(tmp_path), "--logfile", str(log)]
    follow = ["tail", "-n", "+1", "-F", str(log)]
    with (
        ServiceProcess(command, cwd=tmp_path) as service,
        ServiceProcess(follow, cwd=tmp_path) as tail,
    ):
        tail.read_until("All tasks started")
        log.rename(tmp_path / "log.1")
        service.process.send_signal(signal.SIGHUP)
        tail.read_until("Reloaded")
        assert service.stop(signal.SIGTERM) == 0
        assert service.lines == []
    assert "All tasks started" in (tmp_path / "log.1").read_text()
    assert log.read_text().endswith(" INFO:MyService:Instance shut down gracefully\n")


# -- completion ------------------------------------------------------------------------------------


def complete(command: list[str], line: str, folder: Path, **variables: str) -> list[str]:
    """What the shell is offered for a command line, through argcomplete's protocol."""
    answers = folder / "answers"
    environment = clean_environment(
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_SUPPRESS_SPACE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(answers),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        _ARGCOMPLETE_IFS="\n",
        **variables,
    )
    process = captured(command, cwd=folder, env=environment)
    assert process.returncode == 0, process.stderr
    return answers.read_text().split()


def test_shell_completes_flags_and_choices_through_argcomplete(tmp_path: Path) -> None:
    command = script(tmp_path)
    assert complete(command, "myservice.py --web-p", tmp_path) == ["--web-port"]
    assert sorted(complete(command, "myservice.py --mode ", tmp_path)) == ["fast", "slow"]


def test_completion_without_argcomplete_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "argcomplete.py").write_text("raise ImportError('not installed')\n")
    command = [*script(tmp_path), "--show-config"]
    environment = clean_environment(_ARGCOMPLETE="1", COMP_LINE="myservice.py ", COMP_POINT="13")
    with ServiceProcess(command, cwd=tmp_path, env=environment) as process:
        assert process.finish() == 0
    assert process.lines[0] == "# The options of MyService, and where each value came from."


def test_deprecated_option_works_and_tells_whoever_gives_it(tmp_path: Path) -> None:
    text = """
from sparts.options import option
from sparts.vservice import VService

class Painter(VService):
    colour = option(deprecated="use --color")
    old = option(deprecated="leave it out", default="x")

    def initService(self):
        print("colour", self.colour, flush=True)
        self.shutdown()

Painter.initFromCLI()
"""
    (tmp_path / "painter.py").write_text(text)
    variables = clean_environment(PAINTER_COLOUR="red")
    with ServiceProcess([sys.executable, "painter.py"], cwd=tmp_path, env=variables) as service:
        assert service.finish() == 0
    told = [line for line in service.lines if "deprecated" in line]
    assert told == ["WARNING:Painter:PAINTER_COLOUR is deprecated: use --color"]
    assert "colour red" in service.lines
    _, helped = run_to_end([sys.executable, "painter.py", "-h"], cwd=tmp_path)
    assert "[deprecated: use --color; env: PAINTER_COLOUR]" in " ".join(helped.split())
