"""The checkout: its setup, its system packages, its lock, its changelog, its licence."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import system_packages
from scripts.build_distributions import ROOT, find_projects
from scripts.system_packages import SystemPackage
from tests.needs import (
    require,
    require_module,
    require_namespace,
    require_root,
    why_no_namespace,
)
from tests.processes import captured, output_of

HERE = SystemPackage("here", sys.executable, "nothing")
MISSING = SystemPackage("missing", "/no/such/file", "a good deal")
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-glib.lock"]
TABLE = {"here": HERE, "missing": MISSING}


def test_what_is_there_lets_a_test_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    require(["here"], TABLE)
    require_module(["sys"])
    require_root()


@pytest.fixture
def refused_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let the system refuse namespaces."""
    refuses = write_program(tmp_path / "unshare", "echo 'unshare: cannot change it' >&2\nexit 1")
    monkeypatch.setenv("PATH", f"{refuses}{os.pathsep}{os.environ['PATH']}")
    why_no_namespace.cache_clear()
    yield
    why_no_namespace.cache_clear()


@pytest.mark.usefixtures("refused_namespaces")
@pytest.mark.parametrize(
    ("need", "why"),
    [
        (lambda: require(["here", "missing"], TABLE), "needs the system package missing"),
        (lambda: require_module(["nothing_of_that_name"]), "the module nothing_of_that_name"),
        (require_root, "only root can"),
        (
            lambda: require_namespace(["mount"]),
            r"this machine allows no mount namespaces \(unshare: cannot change it\)",
        ),
    ],
)
def test_what_is_missing_skips_or_fails_its_test(
    need: Callable[[], None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.delenv("SPARTS_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match=why):
        need()
    monkeypatch.setenv("SPARTS_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="allows no skip"):
        need()


def test_system_package_that_table_lacks_fails_test() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"not in scripts/system_packages\.toml"):
        require(["missing"], {})


def test_every_needed_system_package_is_listed() -> None:
    named = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for found in re.findall(r"mark\.needs\(([^)]*)\)", path.read_text(encoding="utf-8")):
            named |= set(re.findall(r'"([^"]+)"', found))
    assert named <= set(system_packages.read_table())


def test_uninstallable_packages_are_named_with_the_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_packages, "read_table", lambda: TABLE)
    monkeypatch.setenv("SPARTS_INSTALL_PACKAGES", "0")
    system_packages.main()
    said = capsys.readouterr().out
    assert "missing is missing (SPARTS_INSTALL_PACKAGES=0 forbids it)" in said
    assert "skipped: a good deal" in said
    assert "here" not in said


def test_root_installs_only_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    write_program(tmp_path / "apt-get", f'echo "$@" >> {log}')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("SPARTS_INSTALL_PACKAGES", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(system_packages, "read_table", lambda: TABLE)
    system_packages.main()
    update, install = log.read_text(encoding="utf-8").splitlines()
    assert update.split()[0] == "update"
    assert install.split()[0] == "install"
    assert install.split()[-1] == "missing"
    assert "here" not in install


def write_program(path: Path, text: str) -> Path:
    """Write a program of the shell, and return the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path.parent


def run_setup(folder: Path, script: str = "setup", **variables: str) -> tuple[int, str]:
    """Run a setup for a new environment, where `sh` and the like are all that is on PATH."""
    for tool in ("sh", "sed", "touch", "env", "cmp"):
        write_program(folder / tool, f'exec {shutil.which(tool)} "$@"')
    command = [str(folder / "sh"), f"scripts/{script}", str(folder / "venv")]
    env = {"PATH": str(folder), **variables}
    done = captured(command, cwd=ROOT, env=env, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


WITHOUT_VENV = f'case "$*" in *ensurepip*) exit 1;; esac\nexec {shlex.quote(sys.executable)} "$@"'


@pytest.mark.parametrize(
    ("python", "variables", "told"),
    [
        ("", {}, ["no Python 3.11 or later is on PATH", "apt-get install python3 python3-venv"]),
        ("", {"PYTHON": "python3.99"}, ["PYTHON=python3.99 does not start"]),
        (WITHOUT_VENV, {}, ["apt-get install python3-venv"]),
    ],
    ids=["no Python", "broken", "no venv"],
)
def test_setup_without_python_says_what_to_install(
    python: str, variables: dict[str, str], told: list[str], tmp_path: Path
) -> None:
    if python:
        write_program(tmp_path / "python3", python)
    status, said = run_setup(tmp_path, **variables)
    assert status == 1
    assert [text for text in told if text not in said] == []


def test_lock_pins_all_that_is_asked_for() -> None:
    lock = "".join(path.read_text(encoding="utf-8") for path in LOCKS)
    pinned = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)
    }
    ours = {project.name for project in find_projects()}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    asked = [line for group in groups.values() for line in group]
    for project in find_projects():
        settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        asked += settings["project"]["dependencies"]
        for extra in settings["project"].get("optional-dependencies", {}).values():
            asked += extra
    for requirement in map(Requirement, asked):
        if requirement.name not in ours:
            version = pinned.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement} is not locked: make lock"
            assert requirement.specifier.contains(version), f"{requirement}, {version}: make lock"


def test_every_extra_that_message_or_page_names_exists() -> None:
    known = set()
    for project in find_projects():
        settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        extras = settings["project"].get("optional-dependencies", {})
        known |= {f"{project.name}[{extra}]" for extra in extras}
    for path in [*ROOT.glob("sparts-*/src/**/*.py"), *ROOT.glob("docs/**/*.md")]:
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"sparts-\w+\[[\w-]+\]", text))
        assert named <= known, path


def test_the_lock_names_no_index() -> None:
    for path in LOCKS:
        lock = path.read_text(encoding="utf-8")
        assert "://" not in lock
        assert "--index" not in lock
        assert "--find-links" not in lock


def test_headers_of_the_interpreter_are_a_system_package() -> None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
    package = system_packages.read_table()[name]
    assert Path(package.provides) == Path(sysconfig.get_config_var("INCLUDEPY"), "Python.h")


def test_hypothesis_is_imported_before_the_summary() -> None:
    code = "import sys, tests.conftest; print('hypothesis' in sys.modules)"
    assert output_of([sys.executable, "-c", code], cwd=ROOT) == "True\n"


def test_built_packages_are_not_in_the_lock() -> None:
    built = re.findall(r"^([\w.-]+)==", LOCKS[1].read_text(encoding="utf-8"), re.MULTILINE)
    assert "pygobject" in built
    everywhere = LOCKS[0].read_text(encoding="utf-8")
    assert not [name for name in built if f"\n{name}==" in everywhere]


def test_setup_of_glib_names_missing_packages(tmp_path: Path) -> None:
    status, said = run_setup(tmp_path, "setup_glib")
    assert status == 0
    assert "libgirepository1.0-dev, libcairo2-dev or pkg-config is missing; skipped" in said
    write_program(tmp_path / "pkg-config", "exit 0")
    write_program(tmp_path / "venv/bin/python", "echo /no/such/folder")
    status, said = run_setup(tmp_path, "setup_glib")
    assert status == 0
    assert "/no/such/folder/Python.h is missing" in said


def test_all_have_one_version_and_licence_of_whole() -> None:
    versions = set()
    for project in find_projects():
        settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        versions.add(settings["project"]["version"])
        assert (project / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert len(versions) == 1


def test_every_change_is_in_a_changelog_file() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    kinds = {kind["directory"] for kind in settings["tool"]["towncrier"]["type"]}
    for path in (ROOT / "changes").glob("*.md"):
        if path.name != "README.md":
            assert re.fullmatch(rf"(\d+|\+[\w-]+)\.({'|'.join(sorted(kinds))})\.md", path.name)
            assert path.read_text(encoding="utf-8").strip(), path
    output_of([sys.executable, "-m", "towncrier", "build", "--draft", "--version=next"], cwd=ROOT)


def test_make_without_target_lists_what_can_be_made() -> None:
    listed = output_of(["make"], cwd=ROOT)
    for target in ("setup", "serve", "test", "check", "bench", "dist"):
        assert re.search(rf"^{target} +\S", listed, re.MULTILINE), target


def test_clean_room_refuses_an_unknown_option() -> None:
    script = ROOT / "scripts" / "clean_room"
    done = captured([script, "--kep"])
    assert done.returncode == 2
    assert "no option --kep" in done.stderr


def test_no_service_of_a_package_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    seen: list[str] = []
    monkeypatch.setattr(system_packages, "POLICY", policy)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: seen.append(policy.read_text()))
    system_packages.install(["rabbitmq-server"])
    assert seen == ["#!/bin/sh\nexit 101\n"] * 2
    assert not policy.exists()
