"""Wheels of all distributions, and virtual environments that know nothing of the checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT, build, find_projects
from tests.processes import clean_environment, output_of


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, and a folder to run things in."""

    folder: Path

    @property
    def python(self) -> str:
        """The path of the interpreter."""
        return str(self.folder / "venv" / "bin" / "python")

    @property
    def work(self) -> Path:
        """The folder to run things in."""
        return self.folder / "work"

    def run(self, *command: str | Path) -> str:
        """Run the interpreter with arguments, from outside the checkout, and give its output."""
        env = clean_environment()
        return output_of([self.python, *command], cwd=self.work, env=env, stderr=subprocess.STDOUT)

    def uv_install(self, *what: str | Path) -> None:
        """Install as a user would, only faster; what is not ours in the versions of the lock.

        What a wheel of ours needs of ours is taken from beside it.
        """
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "pip", "install", "--quiet", "--python", self.python]
        command += ["--constraint", str(ROOT / "requirements.lock")]
        for folder in {str(Path(each).parent) for each in what if ".whl" in str(each)}:
            command += ["--find-links", folder]
        output_of([*command, *what], cwd=self.work, env=clean_environment())

    def installed(self) -> set[str]:
        """Give the names of the installed distributions."""
        code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
        return set(self.run("-c", code).split())


def make_environment(folder: Path, options: Sequence[str] = ()) -> Environment:
    """Make a fresh virtual environment of this Python in `folder`."""
    (folder / "work").mkdir()
    command = [sys.executable, "-m", "venv", *options, str(folder / "venv")]
    subprocess.run(command, env=clean_environment(), check=True)
    return Environment(folder)


def build_all(sources: Path, folder: Path) -> None:
    """Build all of `sources` into `folder`."""
    for project in sorted(sources.glob("sparts-*")):
        build(project, folder)


def find_wheels(folder: Path) -> dict[str, Path]:
    """Give the wheels in `folder` by their distribution's name."""
    wheels = {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}
    assert len(wheels) == len(list(ROOT.glob("sparts-*/pyproject.toml")))
    return wheels


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Give the folder `name`, which `make` filled once for all processes of this test run."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, finished = base / name, base / f"{name}.finished"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder


def copy_sources(folder: Path) -> None:
    """Copy the folders of all distributions, without what Python puts beside the sources."""
    ignore = shutil.ignore_patterns("__pycache__")
    for project in find_projects():
        shutil.copytree(project, folder / project.name, ignore=ignore)
    shutil.copy(ROOT / ".gitignore", folder)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the folders of all distributions, in which nobody works meanwhile."""
    return make_once(tmp_path_factory, "sources", copy_sources)


@pytest.fixture(scope="session")
def wheels(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give all wheels, by name; the sdists lie beside them."""
    folder = make_once(tmp_path_factory, "dist", lambda folder: build_all(sources, folder))
    return find_wheels(folder)


@pytest.fixture(scope="session")
def acme_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of a third party's distribution."""
    project = Path(__file__).with_name("fixtures") / "acme_jobs"
    folder = make_once(tmp_path_factory, "acme", lambda folder: build(project, folder))
    (wheel,) = folder.glob("*.whl")
    return wheel
