"""`make release`: refuses what cannot be one, and makes the rest ready for the upload."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT, find_projects
from scripts.release import COMBINATIONS
from tests.ecosystem.conftest import make_once
from tests.processes import captured, output_of

GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]


def copy_checkout(folder: Path) -> None:
    """Copy what git knows of, as a repository of its own."""
    listed = output_of(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "All"]):
        output_of([*GIT, *command], cwd=folder)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, "checkout", copy_checkout)


def release(checkout: Path, version: str) -> tuple[int, str]:
    done = captured(
        [sys.executable, "-m", "scripts.release", version], cwd=checkout, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("", "'' is no version: give one such as RELEASE=1.2.0"),
        ("next", "'next' is no version"),
        ("1.2", "'1.2': write it with three numbers"),
        ("v1.2.0", "'v1.2.0': write it with three numbers"),
        ("2.0.0", "sparts-amqp needs sparts-core>=1.0,<2: change that first"),
    ],
)
def test_what_is_no_version_to_come_is_refused(checkout: Path, version: str, message: str) -> None:
    status, told = release(checkout, version)
    assert status == 1
    assert message in told
    assert output_of(["git", "status", "--porcelain"], cwd=checkout) == ""


@pytest.mark.timeout(600)  # an environment for each combination, also on a busy machine
def test_release_is_made_ready_and_nothing_is_uploaded(tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    (tmp_path / "forgotten").write_text("")
    status, told = release(tmp_path, "1.7.0rc1")
    assert status == 1
    assert "Commit or put aside what is changed first:\n?? forgotten\n" in told
    (tmp_path / "forgotten").unlink()
    status, told = release(tmp_path, "1.7.0rc1")
    assert status == 0, told
    assert told.count("installed in a clean environment and well: ") == len(COMBINATIONS)
    assert "git tag v1.7.0rc1" in told
    built = sorted(path.name for path in (tmp_path / "dist").iterdir())
    assert len(built) == 2 * len(find_projects())
    assert all("-1.7.0rc1" in name for name in built)
    log = (tmp_path / "CHANGELOG.md").read_text()
    assert "\n## 1.7.0rc1 (" in log
    assert sorted(path.name for path in (tmp_path / "changes").iterdir()) == ["README.md"]
    output_of([*GIT, "commit", "--all", "--quiet", "-m", "Release"], cwd=tmp_path)
    status, told = release(tmp_path, "1.6.9")
    assert status == 1
    assert "1.6.9 does not come after 1.7.0rc1, the last in CHANGELOG.md" in told
