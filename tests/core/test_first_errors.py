"""What a newcomer's first mistakes are answered with: the place, and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import TryLater
from sparts.options import option
from sparts.tasks.event import EventTask
from sparts.tasks.queue import QueueTask
from sparts.testing import running_task

from tests.core.commands import SCRIPT, make_mailer, sparts
from tests.core.scripts import ended

PLACES = {
    "P.INTERVAL = '5 s'": "error: P.INTERVAL: expected a duration such as 250ms, 5s, 2m or 1h, got"
    " '5 s'. See P.INTERVAL (bad.py:8).\n",
    "P.INTERVAL = [5]": "P.INTERVAL: expected a duration such as 250ms, 5s, 2m or 1h",
    "S.TASKS = [P]; S.INTERVAL = 'soon'": "S.INTERVAL: expected a duration",
    "S.TASKS = [P]; S.TIMEZONE = 'UTC'; S.JITTER = 'x'": "S.JITTER: expected a duration",
    "P.wait = option(type=int, default='x')": "got 'x'. See P.wait (bad.py:8).",
    "P.wait = option(type=int, default=lambda cls: cls.NO)": "'NO'. See P.wait (bad.py:8).",
    "P.mode = option(default='x', choices=['a'])": "got 'x'. See P.mode (bad.py:8).",
    "P.one = option('a-b'); P.two = option('a_b')": "See P.one (bad.py:8) and P.two (bad.py:8).",
    "P.RESTART = 'sometimes'": "from 0 up. See P.RESTART (bad.py:8).",
    "P.RESTART = RestartPolicy('always', first_wait='1s')": "0 up. See P.RESTART (bad.py:8).",
    "P.CRON = '* *'": "such as '*/5 * * * *'. See P.CRON (bad.py:8).",
    "P.CRON = '* * * * *'; P.TIMEZONE = 'Mars'": "or UTC. See P.TIMEZONE (bad.py:8).",
    "P.OPT_PREFIX = 'a b'": "P.OPT_PREFIX (bad.py:8) is 'a b'. Use letters",
    "P.workers = 4,": "P.workers (bad.py:8) is (4,). It must be a whole number.",
    "S.DEFAULT_LOGFILE = 'x',": "got ('x',). See S.DEFAULT_LOGFILE (bad.py:13).",
    "P.workers = -1": "P.workers (bad.py:8) is -1. It must not be negative.",
    "P.DEPS = ['Perodic']": "See P.DEPS (bad.py:8).",
    "P.DEPS = ['P']": "P -> P. Take one of them out: see P.DEPS (bad.py:8).",
    "S.TASKS = ['TornadoHTTTask']": "Did you mean 'TornadoHTTPTask'? See S.TASKS (bad.py:13).",
    "S.TASKS = ['json:Nothing']": "has no attribute 'Nothing'. See S.TASKS (bad.py:13).",
    "S.TASKS = ['other:P', P]": "of its own: 'other=P'. See other.py:7 and bad.py:7.",
    "S.TASKS = ['TornadoHTTPTask']; S.DEFAULT_HOST = [1]": "[1]. See S.DEFAULT_HOST (bad.py:13).",
}
PLACED = """
from sparts.options import option
from sparts.tasks.periodic import PeriodicTask
from sparts.vservice import VService
from sparts.vtask import RestartPolicy
class Base(PeriodicTask):
    INTERVAL = 1
class P(Base):
    {of_task}

    def execute(self):
        pass
class S(VService):
    {of_service}
if __name__ == "__main__":
    S.initFromCLI()
""".lstrip()


def write(folder: Path, of_task: str = "pass", of_service: str = "TASKS = [P]") -> None:
    text = PLACED.format(of_task=of_task, of_service=of_service)
    (folder / "bad.py").write_text(text)
    (folder / "other.py").write_text(text)


@pytest.mark.parametrize("mistake", PLACES)
def test_error_names_attribute_file_and_line(mistake: str, tmp_path: Path) -> None:
    line = mistake.replace("P.", "").replace("S.", "")
    write(tmp_path, **{"of_service" if mistake.startswith("S.") else "of_task": line})
    done = sparts(cwd=tmp_path, by=[sys.executable, "bad.py"])
    assert done.status == 2, done.err
    assert PLACES[mistake] in done.err
    assert len(done.err.splitlines()) == (2 if "ended with status 2" in done.err else 1)


def test_wrong_variable_and_flag_of_cron_are_named(tmp_path: Path) -> None:
    write(tmp_path)
    command = [sys.executable, "bad.py"]
    by_flag = sparts("--P-cron", "x", cwd=tmp_path, by=command)
    by_variable = sparts(cwd=tmp_path, by=command, S_P_CRON="x")
    for done, where in ((by_flag, "See --P-cron."), (by_variable, "See S_P_CRON.")):
        assert (done.status, where in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    "flag",
    ["pidfile", "logfile", "chdir", "config", "http-sock", "http-tls-cert", "http-sock-group"],
)
def test_path_that_cannot_be_used_ends_with_2(flag: str, tmp_path: Path) -> None:
    write(tmp_path, of_service="TASKS = ['TornadoHTTPTask']")
    (tmp_path / "file").touch()
    more: dict[str, list[str]] = {"http-sock": [], "http-sock-group": ["--http-sock", "s"]}
    for path in ("missing/inner", "file/inner"):
        argv = [f"--{flag}", path, *more.get(flag, ["--http-port", "0"])]
        done = sparts(*argv, cwd=tmp_path, by=[sys.executable, "bad.py"])
        assert done.status == 2, done.err
        assert flag == "config" or f"--{flag}" in done.err
        assert path in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize("base", [EventTask, QueueTask], ids=lambda base: base.__name__)
def test_plain_execute_that_returns_a_coroutine(base: Any) -> None:
    async def work() -> None:
        """Stand for what would never run."""

    task: Any = type("Mine", (base,), {"ON_ERROR": "log", "execute": lambda self, *args: work()})
    with running_task(task) as mine:
        future = mine.submit(1) if base is QueueTask else mine.execute_async()
        with pytest.raises(TypeError, match="of Mine returned a coroutine.*AsyncQueueTask"):
            future.result(30)


def test_try_later_takes_no_number_as_message() -> None:
    for wrong in ("5s", float("nan"), [5]):
        with pytest.raises(TypeError, match=r"TryLater\(after=.*\): give a number of seconds"):
            TryLater("busy", after=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"TryLater\(5\): give seconds as after=5"):
        TryLater(5)  # type: ignore[arg-type]
    assert TryLater("busy", after=5).after == 5


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
        (["bad14"], "`sparts run bad14:S` or `sparts run bad14:T`."),
        (["bad14.T"], "`sparts run bad14:T`."),
    ):
        done = sparts("run", *argv, cwd=tmp_path, by=SCRIPT)
        assert done.status == 2, argv
        assert text in done.err
    bare = sparts("bad14:S", cwd=tmp_path, by=SCRIPT)
    assert "Did you mean 'sparts run bad14:S'?" in bare.err
    outside = sparts("run", "../bad14.py", cwd=tmp_path / "inner", by=SCRIPT)
    assert "`python ../bad14.py`" in outside.err


@pytest.mark.parametrize(
    ("requires", "needed"),
    [
        ("mail-of-tomorrow>=1", "mail-of-tomorrow: pip install 'mail-of-tomorrow'"),
        ("what-else>=1", "what-else: pip install 'what-else'"),
        ("mail-of-tomorrow; extra == 'mail'", "acme-jobs[mail]: pip install 'acme-jobs[mail]'"),
    ],
)
def test_missing_dependency_or_extra_is_named(requires: str, needed: str, tmp_path: Path) -> None:
    make_mailer(tmp_path, requires, "curl-of-tomorrow; extra == 'other'")
    done = sparts("run", "Mailer", cwd=tmp_path, path=tmp_path)
    assert done.status == 2
    assert f"It needs {needed}" in done.err
    assert "[other]" not in done.err


SPAWNS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from sparts.tasks.event import EventTask

def square(number):
    return number * number

class Pool(EventTask):
    def start(self):
        super().start()
        self.trigger()

    def execute(self):
        context = multiprocessing.get_context("METHOD")
        with ProcessPoolExecutor(1, context) as pool:
            say("squared:", pool.submit(square, 3).result())
        self.service.shutdown()

class S(VService):
    TASKS = [Pool]

if __name__ == "__main__" and "--tasks" in sys.argv:
    child = multiprocessing.get_context("spawn").Process(target=S.initFromCLI)
    child.start()
    child.join()
    say("status", child.exitcode)
    sys.exit()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_child_of_multiprocessing_starts_no_service(method: str, tmp_path: Path) -> None:
    process = ended(tmp_path, SPAWNS.replace("METHOD", method), status=0)
    assert "squared: 9" in process.lines
    started = [line for line in process.lines if "All tasks started" in line]
    assert started == ["DEBUG:S:All tasks started"]
    assert "Traceback" not in process.output


def test_child_of_multiprocessing_may_be_a_service(tmp_path: Path) -> None:
    assert ended(tmp_path, SPAWNS, "--tasks", status=0).lines == ["Pool", "status 0"]


def test_name_of_a_type_is_no_type() -> None:
    with pytest.raises(TypeError, match="give a class or function, such as int"):
        option(type="int", default=3)  # type: ignore[call-overload]
