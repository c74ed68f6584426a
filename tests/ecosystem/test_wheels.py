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

PLUGINS = (
    *("net", "tornado", "thrift", "twisted", "dbus", "asgi", "grpc", "amqp", "otel", "rpc", "dev"),
)
OWNED = {
    "sparts-net": {
        *("sparts/net", "sparts/fb303", "sparts/listeners", "sparts/tasks/asyncio_server")
    },
    "sparts-tornado": {"sparts/tasks/tornado"},
    "sparts-thrift": {
        "sparts/thrift",
        "sparts/gen/fb303",
        *("sparts/tasks/thrift", "sparts/tasks/fb303", "sparts/tasks/tornado_thrift"),
    },
    "sparts-twisted": {"sparts/tasks/twisted", "sparts/tasks/twisted_command"},
    "sparts-dbus": {"sparts/tasks/dbus"},
    "sparts-asgi": {"sparts/tasks/asgi"},
    "sparts-grpc": {"sparts/tasks/grpc"},
    "sparts-amqp": {"sparts/tasks/amqp"},
    "sparts-otel": {"sparts/otel"},
    "sparts-rpc": {"sparts/rpc"},
    "sparts-dev": {"sparts/testing", "sparts/dev"},
}


def names_in(wheel: Path) -> list[str]:
    """Give the paths of the files in a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if ".dist-info/" not in name]


def metadata_file(wheel: Path, name: str) -> bytes | None:
    """Give one file of a wheel's metadata, or None."""
    with zipfile.ZipFile(wheel) as archive:
        for path in archive.namelist():
            if path.endswith(f".dist-info/{name}"):
                return archive.read(path)
    return None


def metadata_of(wheel: Path) -> Message:
    """Give a wheel's METADATA."""
    contents = metadata_file(wheel, "METADATA")
    assert contents is not None
    return message_from_bytes(contents)


def test_no_wheel_claims_a_shared_namespace(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        claimed = {"sparts/__init__.py", "sparts/tasks/__init__.py"} & set(names_in(wheel))
        assert not claimed, name


def test_no_path_is_in_two_wheels(wheels: dict[str, Path]) -> None:
    paths = Counter(path for wheel in wheels.values() for path in names_in(wheel))
    assert [path for path, count in paths.items() if count > 1] == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_owns_whole_packages(wheels: dict[str, Path], plugin: str) -> None:
    name = f"sparts-{plugin}"
    names = names_in(wheels[name])
    packages = {path.removesuffix("/__init__.py") for path in names if "__init__" in path}
    assert packages >= OWNED[name]
    for path in names:
        assert any(path.startswith(f"{package}/") for package in OWNED[name]), path


@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_package_says_it_is_typed(wheels: dict[str, Path], plugin: str) -> None:
    name = f"sparts-{plugin}"
    typed = {f"{package}/py.typed" for package in OWNED[name]}
    assert typed <= set(names_in(wheels[name]))


def test_files_of_status_page_are_in_wheel(wheels: dict[str, Path]) -> None:
    folder = ROOT / "sparts-tornado/src/sparts/tasks/tornado/status/static"
    files = {f"sparts/tasks/tornado/status/static/{path.name}" for path in folder.iterdir()}
    assert "sparts/tasks/tornado/status/static/index.html" in files
    assert files <= set(names_in(wheels["sparts-tornado"]))


def test_core_alone_has_modules_in_the_namespaces_themselves(wheels: dict[str, Path]) -> None:
    names = names_in(wheels["sparts-core"])
    assert "sparts/py.typed" in names
    assert "sparts/vservice.py" in names
    others = {package for packages in OWNED.values() for package in packages}
    assert not [path for path in names if path.rpartition("/")[0] in others]


def test_pluggy_is_all_that_the_core_depends_on(wheels: dict[str, Path]) -> None:
    requires = metadata_of(wheels["sparts-core"]).get_all("Requires-Dist", [])
    assert [line for line in requires if "extra ==" not in line] == ["pluggy<2,>=1.6"]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_depends_on_range_of_core(wheels: dict[str, Path], plugin: str) -> None:
    requires = metadata_of(wheels[f"sparts-{plugin}"]).get_all("Requires-Dist", [])
    assert any(re.fullmatch(r"sparts-core(\[rpc\])?<2,>=1\.0", each) for each in requires)


def test_every_distribution_tells_its_licence_and_its_python(wheels: dict[str, Path]) -> None:
    for name, wheel in wheels.items():
        metadata = metadata_of(wheel)
        assert metadata["License-Expression"] == "MIT", name
        assert metadata["Requires-Python"] == ">=3.11", name
        assert metadata["Summary"], name
        assert metadata["Description-Content-Type"] == "text/markdown", name
        licence = metadata_file(wheel, "licenses/LICENSE")
        assert licence is not None, name
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
