"""The rules that let all distributions share the namespaces sparts and sparts.tasks."""

from __future__ import annotations

import re
import shutil
import tarfile
import zipfile
from collections import Counter
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT
from tests.ecosystem.conftest import build_all, find_wheels

OWNED = {
    "sparts-net": "net fb303 listeners tasks/asyncio_server",
    "sparts-tornado": "tasks/tornado",
    "sparts-thrift": "thrift gen/fb303 tasks/thrift tasks/fb303 tasks/tornado_thrift",
    "sparts-twisted": "tasks/twisted tasks/twisted_command",
    "sparts-dbus": "tasks/dbus",
    "sparts-asgi": "tasks/asgi",
    "sparts-grpc": "tasks/grpc",
    "sparts-amqp": "tasks/amqp",
    "sparts-otel": "otel",
    "sparts-rpc": "rpc",
    "sparts-dev": "testing dev",
}
"""The packages of each plugin, below sparts/."""


def packages_of(plugin: str) -> set[str]:
    return {f"sparts/{name}" for name in OWNED[plugin].split()}


def names_in(wheel: Path) -> list[str]:
    """Give the paths of the files in a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if ".dist-info/" not in name]


def metadata_file(wheel: Path, name: str) -> bytes:
    """Give one file of a wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [each for each in archive.namelist() if each.endswith(f".dist-info/{name}")]
        return archive.read(path)


def metadata_of(wheel: Path) -> Message:
    """Give a wheel's METADATA."""
    return message_from_bytes(metadata_file(wheel, "METADATA"))


def test_no_wheel_claims_a_shared_namespace(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        claimed = {"sparts/__init__.py", "sparts/tasks/__init__.py"} & set(names_in(wheel))
        assert not claimed, name


def test_no_path_is_in_two_wheels(wheels: dict[str, Path]) -> None:
    paths = Counter(path for wheel in wheels.values() for path in names_in(wheel))
    assert [path for path, count in paths.items() if count > 1] == []


@pytest.mark.parametrize("plugin", OWNED)
def test_a_plugin_owns_whole_typed_packages(wheels: dict[str, Path], plugin: str) -> None:
    names, owned = names_in(wheels[plugin]), packages_of(plugin)
    for package in owned:
        assert {f"{package}/__init__.py", f"{package}/py.typed"} <= set(names)
    for path in names:
        assert any(path.startswith(f"{package}/") for package in owned), path


def test_files_of_status_page_are_in_wheel(wheels: dict[str, Path]) -> None:
    folder = ROOT / "sparts-tornado/src/sparts/tasks/tornado/status/static"
    files = {f"sparts/tasks/tornado/status/static/{path.name}" for path in folder.iterdir()}
    assert "sparts/tasks/tornado/status/static/index.html" in files
    assert files <= set(names_in(wheels["sparts-tornado"]))


def test_core_alone_has_modules_in_the_namespaces_themselves(wheels: dict[str, Path]) -> None:
    names = names_in(wheels["sparts-core"])
    assert "sparts/py.typed" in names
    assert "sparts/vservice.py" in names
    others = {package for plugin in OWNED for package in packages_of(plugin)}
    assert not [path for path in names if path.rpartition("/")[0] in others]


def test_pluggy_is_all_that_the_core_depends_on(wheels: dict[str, Path]) -> None:
    requires = metadata_of(wheels["sparts-core"]).get_all("Requires-Dist", [])
    assert [line for line in requires if "extra ==" not in line] == ["pluggy<2,>=1.6"]


@pytest.mark.parametrize("plugin", OWNED)
def test_plugin_depends_on_range_of_core(wheels: dict[str, Path], plugin: str) -> None:
    requires = metadata_of(wheels[plugin]).get_all("Requires-Dist", [])
    assert any(re.fullmatch(r"sparts-core(\[rpc\])?<2,>=1\.0", each) for each in requires)


def test_every_distribution_tells_its_licence_and_its_python(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        metadata, licence = metadata_of(wheel), metadata_file(wheel, "licenses/LICENSE")
        assert metadata["License-Expression"] == "MIT", name
        assert metadata["Requires-Python"] == ">=3.11", name
        assert metadata["Summary"], name
        assert metadata["Description-Content-Type"] == "text/markdown", name
        assert licence.startswith(b"MIT License"), name


def test_every_sdist_holds_licence_readme_and_sources(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        (sdist,) = wheel.parent.glob(f"{name.replace('-', '_')}-*.tar.gz")
        with tarfile.open(sdist) as archive:
            inside = {path.partition("/")[2] for path in archive.getnames()}
        assert {"LICENSE", "README.md", "pyproject.toml"} <= inside, name
        assert {f"src/{path}" for path in names_in(wheel)} <= inside, name


def test_same_sources_give_same_bytes_in_any_folder(
    sources: Path, wheels: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(sources, tmp_path / "elsewhere")
    build_all(tmp_path / "elsewhere", tmp_path / "dist")
    for name, wheel in find_wheels(tmp_path / "dist").items():
        assert wheel.read_bytes() == wheels[name].read_bytes(), name
