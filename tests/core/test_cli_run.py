"""`sparts run`: services from names alone, and services of your own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def runs(folder: Path, *words: str, by: list[str] = SCRIPT) -> Iterator[ServiceProcess]:
    """Run a service by `sparts run`, and stop it in order when it has started."""
    environment = clean_environment(PYTHONPATH=str(folder / "site"))
    with ServiceProcess([*by, "run", *words], cwd=folder, env=environment) as service:
        yield service
        service.read_until_started()
        assert service.stop() == 0


@pytest.mark.parametrize("by", [MODULE, SCRIPT], ids=["python -m sparts", "sparts"])
def test_task_runs_by_its_name_with_its_options(by: list[str], tmp_path: Path) -> None:
    make_task(tmp_path / "site", "Greeter")
    with runs(tmp_path, "Greeter", "--greeter-greeting", "Ahoy", by=by) as service:
        service.read_until("INFO:Sparts.Greeter:Ahoy from Greeter")


def test_http_task_runs_by_name_with_its_loop(tmp_path: Path) -> None:
    with runs(tmp_path, "TornadoHTTPTask", "--http-port", "0") as service:
        service.read_until(r"TornadoHTTPTask Server Started on 0\.0\.0\.0:\d+")


def test_several_tasks_and_aliases_run_together(tmp_path: Path) -> None:
    make_task(tmp_path / "site", "Greeter")
    words = ("Greeter", "second=Greeter@acme-jobs", "--second-greeting", "Hey")
    with runs(tmp_path, *words, by=MODULE) as service:
        service.read_until("INFO:Sparts.Greeter:Hello from Greeter")
        service.read_until("INFO:Sparts.second:Hey from second")


@pytest.mark.parametrize("target", ["mine:MyService", "mine:Job"])
def test_class_of_current_folder_runs_despite_its_start(target: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    with runs(tmp_path, target, "--tasks", "Job") as service:
        pass
    name = target.partition(":")[2] if target.endswith("Service") else "Sparts"
    assert service.lines[0] == f"DEBUG:{name}:All tasks started"


def test_help_after_names_is_that_of_service(tmp_path: Path) -> None:
    make_task(tmp_path / "site", "Greeter")
    done = sparts("run", "Greeter", "-h", cwd=tmp_path, path=tmp_path / "site")
    assert done.status == 0
    assert done.out.startswith("usage: sparts run Greeter [options]\n")
    for part in ("--greeter-greeting", "SPARTS_GREETER_GREETING", "What Greeter does."):
        assert part in done.out


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
