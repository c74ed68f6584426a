"""`sparts run`: services from names alone, and services of your own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.commands import MODULE, SCRIPT, make_task, sparts
from tests.processes import ServiceProcess, clean_environment

MINE = '''
from sparts.vservice import VService
from sparts.vtask import VTask

class Job(VTask):
    LOOPLESS = True

class MyService(VService):
    """Mine."""
    TASKS = [Job]

MyService.initFromCLI()
'''


@pytest.mark.parametrize("by", [MODULE, SCRIPT], ids=["python -m sparts", "sparts"])
def test_task_runs_by_its_name_with_its_options(by: list[str], tmp_path: Path) -> None:
    make_task(tmp_path / "site", "Greeter")
    with ServiceProcess(
        [*by, "run", "Greeter", "--greeter-greeting", "Ahoy", "--level", "INFO"],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(tmp_path / "site")),
    ) as service:
        service.read_until("INFO:Sparts.Greeter:Ahoy from Greeter")
        assert service.stop() == 0
    assert "DEBUG" not in service.output


def test_http_task_runs_by_name_with_its_loop(tmp_path: Path) -> None:
    command = [*SCRIPT, "run", "TornadoHTTPTask", "--http-port", "0"]
    with ServiceProcess(command, cwd=tmp_path) as service:
        service.read_until(r"TornadoHTTPTask Server Started on 0\.0\.0\.0:\d+")
        service.read_until_started()
        assert service.stop() == 0


def test_several_tasks_and_aliases_run_together(tmp_path: Path) -> None:
    make_task(tmp_path / "site", "Greeter")
    command = [*MODULE, "run", "Greeter", "second=Greeter@acme-jobs", "--second-greeting", "Hey"]
    environment = clean_environment(PYTHONPATH=str(tmp_path / "site"))
    with ServiceProcess(command, cwd=tmp_path, env=environment) as service:
        service.read_until_started()
        assert service.stop() == 0
    assert service.lines[:2] == [
        "INFO:Sparts.Greeter:Hello from Greeter",
        "INFO:Sparts.second:Hey from second",
    ]


@pytest.mark.parametrize("target", ["mine:MyService", "mine:Job"])
def test_class_of_current_folder_runs_despite_its_start(target: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    with ServiceProcess([*SCRIPT, "run", target, "--tasks", "Job"], cwd=tmp_path) as service:
        service.read_until_started()
        assert service.stop() == 0
    name = target.partition(":")[2] if target.endswith("Service") else "Sparts"
    assert service.lines[0] == f"DEBUG:{name}:All tasks started"


def test_help_after_names_is_that_of_service(tmp_path: Path) -> None:
    make_task(tmp_path / "site", "Greeter")
    done = sparts("run", "Greeter", "-h", cwd=tmp_path, path=tmp_path / "site")
    assert done.status == 0
    assert done.out.startswith("usage: sparts run Greeter [options]\n")
    assert "--greeter-greeting" in done.out
    assert "SPARTS_GREETER_GREETING" in done.out
    assert "What Greeter does." in done.out


def test_configuration_counts_as_for_any_service(tmp_path: Path) -> None:
    make_task(tmp_path / "site", "Greeter")
    (tmp_path / "c.toml").write_text('[Greeter]\ngreeting = "Moin"\n')
    words = ["run", "Greeter", "--config", "c.toml", "--show-config"]
    done = sparts(*words, cwd=tmp_path, path=tmp_path / "site", SPARTS_LEVEL="ERROR")
    assert 'greeting = "Moin"  # file:' in done.out
    assert 'level = "ERROR"  # environment: SPARTS_LEVEL' in done.out


def test_broken_task_fails_only_service_that_names_it(tmp_path: Path) -> None:
    make_task(tmp_path, "Boom", "acme-bombs", text="raise RuntimeError('no fuse')")
    make_task(tmp_path, "Greeter")
    done = sparts("run", "Boom", cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert "Task 'Boom' of acme-bombs 1.0 (acme_bombs_boom:Boom) could not be" in done.err
    assert "RuntimeError: no fuse" in done.err
    assert sparts("run", "Greeter", "--dryrun", cwd=tmp_path, path=tmp_path).status == 0


def test_missing_extra_is_shown_with_its_command(tmp_path: Path) -> None:
    make_task(
        tmp_path,
        "Mailer",
        text="import smtp_of_tomorrow",
        requires=["smtp-of-tomorrow>=2; extra == 'mail'"],
        extras=["mail"],
    )
    done = sparts("run", "Mailer", cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert "It needs acme-jobs[mail]: pip install 'acme-jobs[mail]'" in done.err
