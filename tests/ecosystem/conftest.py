"""Wheels of the five, built once, and virtual environments that know nothing of the checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT, build, find_projects
from tests.processes import clean_environment


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, and a folder to run things in."""

    folder: Path
    work: Path

    @property
    def python(self) -> str:
        """The path of the interpreter."""
        return str(self.folder / "bin" / "python")

    def run(self, *command: str | Path) -> str:
        """Run the interpreter with arguments, from outside the checkout, and give its output."""
        done = subprocess.run(
            [self.python, *command],
            cwd=self.work,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def uv_install(self, *what: str | Path) -> None:
        """Install as a user would, only faster; what is not ours in the versions of the lock."""
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "pip", "install", "--quiet", "--python", self.python]
        command += ["--constraint", str(ROOT / "requirements.lock")]
        done = subprocess.run(
            [*command, *map(str, what)],
            cwd=self.work,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def installed(self) -> set[str]:
        """Give the names of the installed distributions."""
        code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
        return set(self.run("-c", code).split())


def make_environment(folder: Path, options: Sequence[str] = ()) -> Environment:
    """Make a fresh virtual environment of this Python in `folder`."""
    work = folder / "work"
    work.mkdir(parents=True)
    command = [sys.executable, "-m", "venv", *options, str(folder / "venv")]
    subprocess.run(command, env=clean_environment(), check=True)
    return Environment(folder / "venv", work)


def build_all(folder: Path) -> dict[str, Path]:
    """Build everything into `folder`, and give the wheels by their distribution's name."""
    for project in find_projects():
        build(project, folder)
    wheels = {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}
    assert len(wheels) == 5
    return wheels


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give the five wheels, by name; the sdists lie beside them."""
    return build_all(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def acme_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of a third party's distribution."""
    folder = tmp_path_factory.mktemp("acme")
    build(Path(__file__).with_name("fixtures") / "acme_jobs", folder)
    (wheel,) = folder.glob("*.whl")
    return wheel
