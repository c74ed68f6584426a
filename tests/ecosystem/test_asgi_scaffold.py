"""`sparts new service NAME --asgi FRAMEWORK`: projects whose tests, style and types hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sparts.cli.new import main
from sparts.tasks.asgi.scaffold import FRAMEWORKS, write_asgi_service

from scripts.build_distributions import build
from tests.ecosystem.conftest import Environment, make_environment, make_once
from tests.ecosystem.test_scaffolds import TOOLS, run_check

pytestmark = pytest.mark.timeout(300)  # it builds and checks whole projects


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Give an environment where a project for each framework was written and installed."""

    def make(folder: Path) -> None:
        environment = make_environment(folder, ["--without-pip"])
        ours: list[str | Path] = [wheels["sparts-core"], wheels["sparts-asgi"]]
        environment.uv_install(*ours, "fastapi", *TOOLS)
        for name in FRAMEWORKS:
            command = ["new", "service", f"acme-{name}", "--asgi", name]
            environment.run("-m", "sparts", *command)
            build(environment.work / f"acme-{name}", folder / "dist")
        environment.uv_install(*sorted((folder / "dist").glob("*.whl")))

    return Environment(make_once(tmp_path_factory, "asgi-scaffolds", make))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_tests_style_and_types_of_asgi_service_hold(name: str, projects: Environment) -> None:
    status, output = run_check(projects.work / f"acme-{name}", projects.python)
    assert status == 0, output
    assert " passed" in output
    assert "All checks passed!" in output
    assert "Success: no issues found" in output


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_style_of_asgi_service_holds_for_long_names(framework: str, tmp_path: Path) -> None:
    for name in ("z", "a" * 30):
        folder = write_asgi_service(name, framework, tmp_path)
        for command in (["check", "."], ["format", "--check", "."]):
            ruff = [str(Path(sys.executable).with_name("ruff")), *command]
            done = subprocess.run(ruff, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


def test_unknown_framework_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["service", "acme", "--asgi", "rails", "--in", str(tmp_path)])
    assert "fastapi" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
