"""`sparts new service NAME --grpc FILE`: a project whose tests, style and types hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from sparts.errors import UsageError
from sparts.tasks.grpc.scaffold import write_grpc_service

from tests.ecosystem.conftest import Environment
from tests.ecosystem.test_scaffolds import check_project, projects_of

pytestmark = pytest.mark.timeout(300)  # it builds and checks a whole project

IDL = Path(__file__).parents[1] / "grpc" / "idl" / "greeter.proto"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Give an environment with a project."""
    commands = {"acme-greeter": ("service", "--grpc", str(IDL))}
    return projects_of(
        tmp_path_factory, "grpc-scaffold", wheels, [wheels["sparts-grpc"], "grpcio-tools"], commands
    )


def test_tests_style_and_types_of_grpc_service_hold(project: Environment) -> None:
    check_project("acme-greeter", project)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "cannot be compiled"),
        ('syntax = "proto3"; message Text {}', "has no service"),
        (None, "There is no file"),
    ],
)
def test_interface_without_a_service_is_refused(
    text: str | None, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "some.proto"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=reason):
        write_grpc_service("acme-greeter", file, tmp_path)
    assert not (tmp_path / "acme-greeter").exists()


def test_interface_that_imports_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.proto").write_text('syntax = "proto3"; message Text {}')
    file = tmp_path / "some.proto"
    file.write_text(
        'syntax = "proto3"; import "other.proto"; service S { rpc A(Text) returns (Text); }'
    )
    with pytest.raises(UsageError, match=r"imports other\.proto"):
        write_grpc_service("acme-greeter", file, tmp_path)
