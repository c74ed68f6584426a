"""How a service sets up its logging: by its options, by an override, or not at all."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from tests.core.log_helpers import FakeStderr
from tests.core.option_owners import made, service_of
from tests.processes import ServiceProcess, run_to_end


def test_init_logging_follows_the_options(stderr: FakeStderr, tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = f"--level info --logfile {log} --log-format json --log-level-for x=ERROR".split()
    service = made(service_of(), *argv)
    service.initLogging()
    service.logger.debug("hidden")
    service.logger.info("shown")
    logging.getLogger("x").warning("hidden")
    service._instance.close_logging()
    assert stderr.getvalue() == ""
    assert '"shown"' in log.read_text()
    assert "hidden" not in log.read_text()


def test_class_attributes_give_the_defaults(stderr: FakeStderr, tmp_path: Path) -> None:
    service = made(service_of(DEFAULT_LOGLEVEL="WARNING", DEFAULT_LOGFILE=str(tmp_path / "log")))
    assert service.loglevel == logging.WARNING
    service.initLogging()
    service.logger.info("hidden")
    service.logger.warning("shown")
    service._instance.close_logging()
    assert (tmp_path / "log").read_text().endswith(" WARNING:MyService:shown\n")


def test_changed_level_takes_effect_at_once(stderr: FakeStderr) -> None:
    service = made(service_of())
    service.initLogging()
    service.setOption("level", "error")
    service.logger.warning("hidden")
    service.setOption("log_level_for", ["MyService.Task=DEBUG"])
    logging.getLogger("MyService.Task").debug("shown")
    service.setOption("level", "INFO")
    service.logger.info("shown too")
    service._instance.close_logging()
    assert stderr.getvalue() == "DEBUG:MyService.Task:shown\nINFO:MyService:shown too\n"


OVERRIDE = """
import logging, sys
from sparts.vservice import VService

class MyService(VService):
    def initLogging(self):
        logging.basicConfig(format="mine %(message)s", level=logging.DEBUG, stream=sys.stderr)

MyService.initFromCLI()
"""


@pytest.mark.parametrize("level", ["DEBUG", "ERROR"])
def test_overridden_init_logging_is_all_there_is(tmp_path: Path, level: str) -> None:
    (tmp_path / "s.py").write_text(OVERRIDE)
    command = [sys.executable, "s.py", "--level", level]
    with ServiceProcess(command, cwd=tmp_path) as service:
        service.read_until("mine All tasks started")
        assert service.stop() == 0
    assert all(line.startswith("mine ") for line in service.lines)


CONFIGURED = """
import logging, sys
logging.basicConfig(format="theirs %(message)s", level=logging.INFO, stream=sys.stderr)
logging.getLogger().addHandler(logging.FileHandler("audit"))
from sparts.vservice import VService

class MyService(VService):
    def initService(self):
        self.logger.info("shown")
        self.shutdown()

MyService.initFromCLI()
"""


def test_configured_logging_keeps_its_form_and_levels(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text(CONFIGURED)
    status, output = run_to_end([sys.executable, "s.py", "--level", "DEBUG"], cwd=tmp_path)
    lines = output.splitlines()
    assert (status, lines[0]) == (0, "theirs shown")
    assert all(line.startswith("theirs ") for line in lines)
    assert not any("All tasks started" in line for line in lines)  # which is at DEBUG


@pytest.mark.parametrize(
    ("flags", "to_file"),
    [
        (("--logfile", "log"), True),
        (("--log-format", "json"), False),
        (("--log-time", "always"), False),
        (("--logfile", "log", "--log-format", "json"), True),
    ],
)
def test_log_options_count_where_an_application_configured_logging(
    tmp_path: Path, flags: tuple[str, ...], to_file: bool
) -> None:
    (tmp_path / "s.py").write_text(CONFIGURED)
    status, output = run_to_end([sys.executable, "s.py", *flags], cwd=tmp_path)
    assert status == 0
    log = (tmp_path / "log").read_text() if to_file else output
    assert "shown" in log
    assert "theirs" not in output
    assert (output == "") == to_file
    assert all(line[0] in "{2" for line in log.splitlines())
    assert "shown\n" in (tmp_path / "audit").read_text()  # which is no standard output
