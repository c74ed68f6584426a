"""`sparts new`: whole projects, whose tests, style and types hold at once."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from sparts import entry_points
from sparts.dev.new import KINDS, PARTS, main, write_plugin, write_service
from sparts.dev.scaffold import LONGEST, words_of
from sparts.errors import UsageError

from tests.ecosystem.conftest import Environment, make_environment, make_once
from tests.ecosystem.test_wheels import names_in
from tests.processes import clean_environment, output_of

PROJECTS = {
    "acme-clock": ("service",),
    "acme-shop": ("service", "--with", "http,queue,periodic,status"),
    **{f"acme-{kind}": ("plugin", "--kind", kind) for kind in KINDS},
}
"""What is written, by its name."""
TOOLS = ["hatchling", "mypy", "pytest", "ruff"]


def projects_of(
    factory: pytest.TempPathFactory,
    name: str,
    wheels: Mapping[str, Path],
    requirements: Sequence[str | Path],
    commands: Mapping[str, Sequence[str]],
    prepare: Callable[[Path], object] = lambda work: None,
) -> Environment:
    """Give an environment where the installed `sparts` has written projects, which are installed.

    Args:
        factory: pytest's, for folders.
        name: the name of the folder.
        wheels: our distributions, by their names.
        requirements: what is installed before, beside the core and sparts-dev.
        commands: what follows ``sparts new`` of each project, by its name.
        prepare: called with the working folder before they are written.
    """

    def make(folder: Path) -> None:
        environment = make_environment(folder, ["--without-pip"])
        ours = (wheels["sparts-core"], wheels["sparts-dev"])
        environment.uv_install(*ours, *requirements, *TOOLS)
        prepare(environment.work)
        for project, (kind, *options) in commands.items():
            environment.run("-m", "sparts", "new", kind, project, *options)
        folders = [environment.work / project for project in commands]
        environment.uv_install("--no-build-isolation", *folders)

    return Environment(make_once(factory, name, make))


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Give an environment with all projects."""
    return projects_of(tmp_path_factory, "scaffolds", wheels, [wheels["sparts-tornado"]], PROJECTS)


def check_project(name: str, projects: Environment) -> None:
    """Check that what the project's CI runs succeeds: tests, style and types."""
    project = projects.work / name
    path = f"{Path(projects.python).parent}:{os.environ['PATH']}"
    variables = clean_environment(PATH=path, MYPY_CACHE_DIR=str(projects.work / "mypy"))
    said = output_of([project / "check"], env=variables, stderr=subprocess.STDOUT)
    for expected in (" passed", "All checks passed!", "Success: no issues found"):
        assert expected in said


def check_style(folder: Path) -> None:
    """Check the style of all that is in a folder."""
    ruff = str(Path(sys.executable).with_name("ruff"))
    for command in (["check", "."], ["format", "--check", "."]):
        output_of([ruff, *command], cwd=folder)


@pytest.mark.one_python
@pytest.mark.parametrize("name", PROJECTS)
def test_new_project_passes_its_checks_at_once(name: str, projects: Environment) -> None:
    check_project(name, projects)
    assert "run: ./check" in (projects.work / name / ".github/workflows/ci.yml").read_text()


def test_the_command_of_a_new_service_runs_it(projects: Environment) -> None:
    command = str(Path(projects.python).with_name("acme-clock"))
    shown = output_of([command, "--dryrun"], env=clean_environment())
    assert shown.splitlines() == ["AcmeClockService would run, in this order:", "  AcmeClockTask"]


WRITERS: dict[str, Callable[[str, Path], Path]] = {"service": write_service, "plugin": write_plugin}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("service", {"service.py", "tasks.py", "hooks.py", "__main__.py", "py.typed"}),
        ("plugin", {"tasks.py", "hooks.py", "py.typed"}),
    ],
)
def test_a_new_project_is_whole(kind: str, expected: set[str], tmp_path: Path) -> None:
    folder = WRITERS[kind]("acme-jobs", tmp_path)
    names = {path.name for path in (folder / "src" / "acme_jobs").iterdir()}
    assert names == {"__init__.py", *expected}
    for name in ("README.md", "LICENSE", ".gitignore", "check", ".github/workflows/ci.yml"):
        assert (folder / name).is_file()
    assert list((folder / "tests").glob("test_*.py"))
    with (folder / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert project["name"] == "acme-jobs"
    assert project["dependencies"] == ["sparts-core>=1.0,<2"]
    assert project["entry-points"] == {
        "sparts.tasks": {"AcmeJobsTask": "acme_jobs.tasks:AcmeJobsTask"},
        "sparts.plugins": {"acme_jobs": "acme_jobs.hooks"},
    }
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in texts if "@@" in text]


def test_plugin_with_a_server_depends_on_sockets(tmp_path: Path) -> None:
    folder = write_plugin("acme-jobs", tmp_path, "server")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["sparts-core>=1.0,<2", "sparts-net>=1.0,<2"]


def combinations() -> Iterator[tuple[str, ...]]:
    """Give every choice of parts of a service."""
    for count in range(1, len(PARTS) + 1):
        yield from itertools.combinations(PARTS, count)


def test_style_holds_for_every_choice_and_name(tmp_path: Path) -> None:
    for length, name in enumerate(("z", "a" * LONGEST, "-".join("a" * (LONGEST // 2)))):
        for kind in KINDS:
            write_plugin(name, _made(tmp_path / f"plugin-{kind}-{length}"), kind)
        for parts in combinations():
            write_service(name, _made(tmp_path / f"service-{'-'.join(parts)}-{length}"), parts)
    check_style(tmp_path)
    files = [*tmp_path.rglob("*.py"), *tmp_path.rglob("*.toml"), *tmp_path.rglob("*.md")]
    assert [path for path in files if "@@" in path.read_text()] == []


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["service", "acme", "--with", "http,mail"], "--with knows no 'mail': use queue"),
        (["service", "acme", "--with", ""], "--with knows no ''"),
        (["service", "acme", "--kind", "loop"], "--kind is for plugins"),
        (["plugin", "acme", "--with", "http"], "--with is for services"),
        (["service", "acme", "--with", "http", "--asgi", "plain"], "leave out --kind and --with"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=problem):
        main([*words, "--in", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_service_has_the_parts_that_were_asked_for(tmp_path: Path) -> None:
    main(["service", "acme", "--with", "status, http,queue", "--in", str(tmp_path)])
    source = (tmp_path / "acme" / "src" / "acme" / "service.py").read_text()
    (listed,) = re.findall(r"TASKS = \((.*?)\)", source, re.S)
    assert listed.split() == ["AcmeQueueTask,", "AcmeWebTask,", '"StatusHTTPTask",']
    assert not (tmp_path / "acme" / "src" / "acme" / "tasks.py").exists()
    project = tomllib.loads((tmp_path / "acme" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["sparts-core>=1.0,<2", "sparts-tornado>=1.0,<2"]
    assert list(project["entry-points"]["sparts.tasks"]) == ["AcmeQueueTask", "AcmeWebTask"]


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    mine = tmp_path / "acme-jobs" / "README.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match=r"acme-jobs exists already, and is left as it is\."):
        main(["plugin", "acme-jobs", "--in", str(tmp_path)])
    assert list(mine.parent.iterdir()) == [mine]
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_whatever_has_the_name_is_left_alone(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "acme-jobs")
    with pytest.raises(UsageError, match="exists already"):
        write_service("acme-jobs", tmp_path)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["acme-jobs"]


def test_a_parent_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        write_service("acme-jobs", tmp_path / "nowhere")


@pytest.mark.parametrize("words", [[], ["service"], ["servic", "acme-jobs"]])
def test_wrong_words_without_a_plugin_are_refused(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARTS_LOAD_PLUGINS", "")
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage: sparts new" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["thrift", "tasks.asgi", "tasks.grpc"])
def test_projects_of_plugins_name_what_they_need(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_points, "installed", list)
    scaffold = importlib.import_module(f"sparts.{module}.scaffold")
    with pytest.raises(UsageError, match="It comes with sparts-dev: pip install sparts-dev"):
        scaffold.main(["service", "acme", "plain"])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "letters and digits"),
        ("2fast", "a letter first"),
        ("acme jobs", "letters and digits"),
        ("acme--jobs", "single dashes"),
        ("../acme", "letters and digits"),
        ("acme/jobs", "letters and digits"),
        ("ümlaut", "letters and digits"),
        ("acme\n", "letters and digits"),
        ("acme-", "single dashes"),
        ("class", "a word of the language"),
        ("match", "a word of the language"),
        ("queue", "would hide 'queue'"),
        ("Json", "would hide 'json'"),
        ("sparts", "would hide 'sparts'"),
        ("pytest", "would hide 'pytest'"),
        ("a" * (LONGEST + 1), f"at most {LONGEST} characters"),
    ],
)
def test_a_bad_name_is_told_and_nothing_written(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_service(name, tmp_path)
    assert why in str(caught.value)
    assert repr(name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "task", "service"),
    [
        ("acme-jobs", "AcmeJobsTask", "AcmeJobsService"),
        ("my-service", "MyTask", "MyService"),
        ("my_plugin", "MyTask", "MyService"),
        ("MailQueue", "MailQueueTask", "MailQueueService"),
        ("service", "ServiceTask", "ServiceService"),
    ],
)
def test_classes_are_named_after_the_project(name: str, task: str, service: str) -> None:
    words = words_of("service", name)
    assert (words["Task"], words["Service"]) == (task, service)


def test_the_wheel_has_every_template(wheels: dict[str, Path]) -> None:
    packed = sum("/templates/" in name for name in names_in(wheels["sparts-dev"]))
    templates = Path(__file__).parents[2] / "sparts-dev" / "src" / "sparts" / "dev" / "templates"
    assert packed == sum(path.is_file() for path in templates.rglob("*")) > 15
