"""The test kit runs services as processes: ready by event, lines, signals, exit status."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sparts.options import option
from sparts.tasks.event import EventTask, ExecuteContext
from sparts.testing import Leftovers, ProcessFactory, ServiceProcess
from sparts.vservice import VService

SOON = 0.01


class Speaks(EventTask):
    """Says a word when it is reloaded."""

    word = option(default="Hello", help="what to say")

    def execute(self, context: ExecuteContext | None = None) -> None:
        self.logger.info("%s", self.word)

    def reload(self) -> None:
        self.trigger()


class MyService(VService):
    TASKS = [Speaks]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[ProcessFactory]:
    factory = ProcessFactory(tmp_path)
    yield factory
    factory.close()  # fails the test if one of them ends badly


def test_class_runs_as_process_and_ends_in_order(processes: ProcessFactory) -> None:
    process = processes(MyService, "--Speaks-word", "Good morning")
    process.wait_for_line("DEBUG:MyService:All tasks started")
    process.send(signal.SIGHUP)
    process.wait_for_line("INFO:MyService.Speaks:Good morning")
    assert not process.ended
    assert process.stop() == 0
    process.wait_for_notification("STOPPING=1")
    assert process.ended
    assert process.lines[-1] == "INFO:MyService:Instance shut down gracefully"


def test_nth_line_of_kind_can_be_waited_for(processes: ProcessFactory) -> None:
    process = processes(MyService)
    for count in (1, 2, 3):
        process.send(signal.SIGHUP)
        assert process.wait_for_line("Speaks:(Hello)$", count)[1] == "Hello"
    assert process.output.count("Speaks:Hello") == 3


@pytest.mark.parametrize("form", ["script", "name", "command"])
def test_scripts_names_and_commands_run(
    form: str, processes: ProcessFactory, tmp_path: Path
) -> None:
    text = "from sparts.vservice import VService\nclass Mine(VService): pass\n"
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "script.py").write_text(text + "Mine.initFromCLI()\n")
    target = {
        "script": str(tmp_path / "script.py"),
        "name": "mine:Mine",
        "command": [sys.executable, "script.py"],
    }[form]
    process = processes(target, env={"PYTHONPATH": str(tmp_path)} if form == "name" else None)
    assert process.stop(signal.SIGINT) == 0
    assert "KeyboardInterrupt Received!" in process.output


def test_class_within_function_cannot_run_and_is_told(processes: ProcessFactory) -> None:
    class Inner(VService):
        pass

    with pytest.raises(ValueError, match="defined inside of a function"):
        processes(Inner)
    with pytest.raises(ValueError, match="neither the path of a script nor 'module:Class'"):
        processes("mine")


def test_what_does_not_come_is_told_with_output(processes: ProcessFactory) -> None:
    process = processes(MyService)
    process.wait_for_line("All tasks started")
    with pytest.raises(AssertionError) as caught:
        process.wait_for_line("no such line", timeout=SOON)
    assert str(caught.value).startswith("Waited 0.01 s for the line 'no such line'; it still runs.")
    assert "DEBUG:MyService:All tasks started" in str(caught.value)


def test_ended_process_is_not_waited_for(processes: ProcessFactory) -> None:
    process = processes(MyService, "--no-such", wait_ready=False)
    with pytest.raises(AssertionError, match="ended with 2, and did not come: the service to be"):
        process.wait_ready()
    assert process.wait() == 2
    assert "--no-such" in process.output
    with pytest.raises(AssertionError, match="ended with 2 before it got SIGTERM"):
        process.stop()


def test_long_output_that_nobody_reads_holds_nothing_up(processes: ProcessFactory) -> None:
    code = "for n in range(100000): print('line', n)\nprint('no end of line', end='')"
    process = processes([sys.executable, "-c", code], wait_ready=False)
    assert process.wait() == 0
    assert len(process.lines) == 100001
    assert process.lines[-2:] == ["line 99999", "no end of line"]


def test_factory_ends_all_and_reports_bad_ends(processes: ProcessFactory) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
        "print('up', flush=True)\n"
        "signal.pause()"
    )
    well, badly = processes(MyService), processes([sys.executable, "-c", code], wait_ready=False)
    badly.wait_for_line("up")
    with pytest.raises(AssertionError, match="SIGTERM ended it with 7:\nup"):
        processes.close()
    assert (well.wait(), badly.wait()) == (0, 7)


def test_process_is_killed_at_the_end_of_block() -> None:
    before = Leftovers()
    with ServiceProcess(
        [sys.executable, "-c", "input()\nimport time\ntime.sleep(1000)"]
    ) as process:
        assert process.pid > 0
    assert process.ended
    with ServiceProcess([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        pass
    assert process.wait() == -signal.SIGKILL
    assert before.find() == []
    assert not [t for t in threading.enumerate() if t.name == "sparts.testing"]


def test_a_command_that_does_not_exist_leaves_nothing() -> None:
    before = Leftovers()
    with pytest.raises(FileNotFoundError):
        ServiceProcess(["/no/such/command"])
    assert before.find() == []


@pytest.mark.linux  # elsewhere, a thread and its pipe belong to each process
def test_processes_do_not_count_as_leftovers(processes: ProcessFactory) -> None:
    before = Leftovers()
    process = processes(MyService)
    assert before.find() == []
    assert process.stop() == 0
