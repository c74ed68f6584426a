"""`sparts new service NAME --asgi FRAMEWORK`: projects whose tests, style and types hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from sparts.dev.new import main
from sparts.tasks.asgi.scaffold import FRAMEWORKS, write_asgi_service

from tests.ecosystem.conftest import Environment
from tests.ecosystem.test_scaffolds import check_project, check_style, projects_of

pytestmark = pytest.mark.timeout(300)  # it builds and checks whole projects


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Give an environment with a project for each framework."""
    commands = {f"acme-{name}": ("service", "--asgi", name) for name in FRAMEWORKS}
    return projects_of(
        tmp_path_factory, "asgi-scaffolds", wheels, [wheels["sparts-asgi"], "fastapi"], commands
    )


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_tests_style_and_types_of_asgi_service_hold(name: str, projects: Environment) -> None:
    check_project(f"acme-{name}", projects)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_style_of_asgi_service_holds_for_long_names(framework: str, tmp_path: Path) -> None:
    for name in ("z", "a" * 30):
        check_style(write_asgi_service(name, framework, tmp_path))


def test_unknown_framework_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["service", "acme", "--asgi", "rails", "--in", str(tmp_path)])
    assert "fastapi" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
