"""A service and all that it needs in one file, as the page on deployment makes it."""

from __future__ import annotations

import shlex
import shutil
import urllib.request
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT
from tests.ecosystem.conftest import Environment, make_environment, make_once
from tests.ecosystem.documentation import find_blocks
from tests.processes import ServiceProcess

PAGE = ROOT / "docs" / "how-to" / "deploy.md"
STATUS = ("--http-port", "0", "--status-port", "0")
INCLUDES = """
from sparts.thrift.compiler.sources import Sources
text = 'include "fb303.thrift"\\nservice Mine extends fb303.FacebookService {}'
for source in Sources([]).text("mine.thrift", text).in_order():
    print(source.stem, "service FacebookService" in source.text)
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Give an environment without any package, whose folder ``work`` has the file of the page."""

    def make(folder: Path) -> None:
        environment = make_environment(folder, ["--without-pip"])
        blocks = list(find_blocks(PAGE, PAGE.read_text(encoding="utf-8")))
        (environment.work / "myservice.py").write_text(blocks[0].code, encoding="utf-8")
        (steps,) = [each for each in blocks if "zipapp" in each.code and each.kind == "text"]
        install, copy, pack = map(shlex.split, steps.code.splitlines())
        assert install[:6] == ["python", "-m", "pip", "install", "--target", "app"]
        needed = [wheels[each] for each in (*install[6:], "sparts-thrift")]
        environment.uv_install("--target", environment.work / "app", *needed)
        assert copy == ["cp", "myservice.py", "app/__main__.py"]
        shutil.copy(environment.work / copy[1], environment.work / copy[2])
        assert pack[0] == "python"
        environment.run(*pack[1:])

    return Environment(make_once(tmp_path_factory, "zip_application", make))


def test_service_runs_from_one_file(made: Environment) -> None:
    with ServiceProcess([made.python, "myservice.pyz", *STATUS], cwd=made.work) as service:
        port = service.listening_port("StatusHTTPTask")
        service.read_until_started()
        for path in ("", "static/app.js", "metrics", "status.json", "readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as response:
                assert response.read()
        assert service.stop() == 0, service.output


def test_copies_run_from_one_file(made: Environment) -> None:
    command = [made.python, "myservice.pyz", *STATUS, "--processes", "2"]
    with ServiceProcess(command, cwd=made.work) as service:
        service.read_until("Copies ready: 2 of 2")
        assert service.stop() == 0, service.output


def test_one_file_says_what_it_lacks(made: Environment) -> None:
    archive = made.work / "myservice.pyz"
    code = "from sparts.references import resolve; resolve('AsgiTask')"
    command = f"import sys; sys.path.insert(0, {str(archive)!r}); {code}"
    with ServiceProcess([made.python, "-c", command], cwd=made.work) as process:
        assert process.finish() == 1
    assert "It comes with sparts-asgi: pip install sparts-asgi" in process.lines[-1]


def test_interfaces_in_one_file_are_included(made: Environment) -> None:
    archive = made.work / "myservice.pyz"
    code = f"import sys; sys.path.insert(0, {str(archive)!r})\n{INCLUDES}"
    assert made.run("-c", code).splitlines() == ["fb303 True", "mine False"]
