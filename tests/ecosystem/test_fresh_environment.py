"""The wheels as users get them: in virtual environments that know nothing of the checkout."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT
from tests.ecosystem.conftest import Environment, make_environment, make_once
from tests.processes import ServiceProcess, clean_environment

BY_NAME = """
from sparts.vservice import VService

class MyService(VService):
    TASKS = ["TornadoHTTPTask", "AcmeGreeter"]

MyService.initFromCLI()
"""


def test_plugin_adds_tasks_to_the_core_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    environment = make_environment(tmp_path, ["--without-pip"])
    environment.uv_install(wheels["sparts-core"])
    assert environment.installed() == {"sparts-core", "pluggy"}
    first = [environment.python, str(ROOT / "examples" / "simple.py")]
    variables = clean_environment(MYSERVICE_RELOAD="1")
    with ServiceProcess(first, cwd=environment.work, env=variables) as service:
        service.read_until("The variable MYSERVICE_RELOAD is set")
        service.read_until_started()
        assert "It comes with sparts-dev: pip install sparts-dev" in service.output
        assert service.stop() == 0, service.output
        assert "INFO:MyService:Instance shut down gracefully" in service.lines

    third = [environment.python, str(ROOT / "examples" / "http_by_name.py"), "--http-port", "0"]
    with ServiceProcess(third, cwd=environment.work) as service:
        assert service.finish() == 2, service.output
        assert "pip install sparts-tornado" in service.output
        assert "Traceback" not in service.output

    environment.uv_install(wheels["sparts-tornado"])
    tornado_and_its_needs = {"sparts-tornado", "sparts-net", "tornado", "prometheus_client"}
    assert environment.installed() == {"sparts-core", "pluggy", *tornado_and_its_needs}
    with ServiceProcess(third, cwd=environment.work) as service:
        port = service.listening_port("TornadoHTTPTask")
        service.read_until_started()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
            assert response.read().decode().strip() == "Hello, world"
        assert service.stop() == 0, service.output


@pytest.fixture(scope="session")
def acme_environment(
    tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path], acme_wheel: Path
) -> Environment:
    """Give an environment where pip has installed a third party's wheel beside ours."""

    def make(folder: Path) -> None:
        environment = make_environment(folder, [])
        ours = [wheels[f"sparts-{name}"] for name in ("core", "net", "tornado")]
        environment.run("-m", "pip", "install", "--quiet", *ours, acme_wheel)

    return Environment(make_once(tmp_path_factory, "third_party", make))


def test_third_party_hooks_are_called(acme_environment: Environment) -> None:
    command = [acme_environment.python, str(ROOT / "examples" / "simple.py")]
    with ServiceProcess(command, cwd=acme_environment.work) as service:
        service.read_until("INFO:MyService:Acme sees the service ALIVE")
        assert service.stop() == 0, service.output
        assert "INFO:MyService:Acme sees the service STOPPED" in service.lines


@pytest.mark.parametrize("task", ["AcmeGreeter", "AcmeGreeter@acme-jobs"])
def test_third_party_task_runs_beside_ours(
    task: str, acme_environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "both.py").write_text(BY_NAME.replace("AcmeGreeter", task), encoding="utf-8")
    argv = ("--http-port", "0", "--acme-greeting", "Good morning")
    with ServiceProcess([acme_environment.python, "both.py", *argv], cwd=tmp_path) as service:
        service.wait_for_line("INFO:MyService.AcmeGreeter:Good morning from Acme")
        service.wait_for_line("TornadoHTTPTask Server Started")
        assert service.stop() == 0, service.output
