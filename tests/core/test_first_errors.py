"""What a newcomer's first mistakes are answered with: the place, and what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sparts.options import option

from tests.core.commands import SCRIPT, make_task, sparts
from tests.processes import ServiceProcess, clean_environment

SERVICE = """
from sparts.tasks.periodic import PeriodicTask
from sparts.vservice import VService

class P(PeriodicTask):
    INTERVAL = {interval}

    def execute(self):
        pass

class S(VService):
    TASKS = [P]
    {more}

S.initFromCLI()
"""


@pytest.mark.parametrize(
    ("interval", "more", "error"),
    [
        ("'5 s'", "", "P.INTERVAL: expected a duration such as 250ms, 5s, 2m or 1h, got '5 s'"),
        ("1", "INTERVAL = 'soon'", "S.INTERVAL: expected a duration"),
        (
            "[5]",
            "",
            "P.INTERVAL: expected a duration such as 250ms, 5s, 2m or 1h",
        ),
        ("1", "TIMEZONE = 'UTC'; JITTER = 'x'", "S.JITTER: expected a duration"),
    ],
)
def test_wrong_default_names_the_class_attribute(
    interval: str, more: str, error: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text(SERVICE.format(interval=interval, more=more))
    done = sparts(cwd=tmp_path, by=[sys.executable, "bad.py"])
    assert done.status == 2
    assert done.err.startswith(f"bad.py: error: {error}")
    assert len(done.err.splitlines()) == 1


def test_run_with_a_file_suggests_module_and_class(tmp_path: Path) -> None:
    source = "from sparts.vservice import VService\nclass S(VService): pass\nclass T(S): pass\n"
    (tmp_path / "bad14.py").write_text(source)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "deep.py").write_text("raise ValueError\nclass D(web.WebService): pass\n")
    for argv, text in (
        (["bad14.py"], "`sparts run bad14:S` or `sparts run bad14:T`."),
        (["./bad14.py", "--level", "INFO"], "`sparts run bad14:S`"),
        (["bad14.py:T"], "`sparts run bad14:T`."),
        (["inner/deep.py"], "`sparts run inner.deep:D`."),
        (["missing.py"], "There is no file 'missing.py'"),
    ):
        done = sparts("run", *argv, cwd=tmp_path, by=SCRIPT)
        assert done.status == 2, argv
        assert text in done.err
    outside = sparts("run", "../bad14.py", cwd=tmp_path / "inner", by=SCRIPT)
    assert "`python ../bad14.py`" in outside.err


@pytest.mark.parametrize("kind", ["named as its module", "named otherwise"])
def test_missing_dependency_is_no_missing_extra(kind: str, tmp_path: Path) -> None:
    dependency = "mail-of-tomorrow" if kind == "named as its module" else "what-else"
    make_task(
        tmp_path,
        "Mailer",
        text="import mail_of_tomorrow.client",
        requires=[f"{dependency}>=1", "curl-of-tomorrow; extra == 'curl'"],
        extras=["curl"],
    )
    done = sparts("run", "Mailer", cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert f"It needs {dependency}: pip install '{dependency}'" in done.err
    assert "[curl]" not in done.err


SPAWNS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from sparts.tasks.event import EventTask
from sparts.vservice import VService

def square(number):
    return number * number

class Pool(EventTask):
    def start(self):
        super().start()
        self.trigger()

    def execute(self):
        context = multiprocessing.get_context("{method}")
        with ProcessPoolExecutor(1, context) as pool:
            print("squared:", pool.submit(square, 3).result(), flush=True)
        self.service.shutdown()

class S(VService):
    TASKS = [Pool]

S.initFromCLI()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_child_of_multiprocessing_starts_no_service(method: str, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SPAWNS.format(method=method))
    command = [sys.executable, "service.py"]
    with ServiceProcess(command, cwd=tmp_path, env=clean_environment()) as process:
        assert process.finish() == 0
    assert "squared: 9" in process.lines
    assert [line for line in process.lines if "All tasks started" in line] == [
        "DEBUG:S:All tasks started"
    ]
    assert "Traceback" not in process.output


def test_child_of_multiprocessing_may_be_a_service(tmp_path: Path) -> None:
    child = """
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=S.initFromCLI)
    child.start()
    child.join()
    print("status", child.exitcode)
"""
    source = SPAWNS.format(method="spawn").replace("S.initFromCLI()", child)
    (tmp_path / "service.py").write_text(source)
    command = [sys.executable, "service.py", "--tasks"]
    with ServiceProcess(command, cwd=tmp_path, env=clean_environment()) as process:
        assert process.finish() == 0
    assert process.lines == ["Pool", "status 0"]


def test_name_of_a_type_is_no_type() -> None:
    with pytest.raises(TypeError, match="give a class or function, such as int"):
        option(type="int", default=3)  # type: ignore[call-overload]
