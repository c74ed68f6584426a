"""What services of sparts 0.7 do with VService and VTask, as processes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from sparts.testing import make_service, running, service_of
from sparts.vservice import VService
from sparts.vtask import REGISTERED, SkipTask, VTask

from tests.compat.scripts import script


class Idle(VTask):
    LOOPLESS = True


class Other(VTask):
    LOOPLESS = True


class Needs(VTask):
    LOOPLESS = True
    DEPS = [Idle]


PLAIN_LOOP = """
class Loops(VTask):
    def _runloop(self):
        say("looping")
        while not self.service._stop:
            time.sleep(0.01)
        say("left the loop")

class S(VService):
    TASKS = [Loops]
"""


def test_plain_task_loops_until_the_service_must_stop(tmp_path: Path) -> None:
    with script(tmp_path, PLAIN_LOOP) as process:
        process.read_until("looping")
        process.process.send_signal(signal.SIGTERM)
        assert process.finish() == 0
        assert "left the loop" in process.lines


@pytest.mark.parametrize("how", ["shutdown", "stop", "restart"])
def test_stop_is_known_at_once(how: str) -> None:
    service = make_service(service_of(Idle))
    assert not service._stop
    getattr(service, how)()
    assert service._stop


def test_setting_stop_stops_the_service() -> None:
    service = make_service(service_of(Idle))
    thread = service.startBG()
    service._stop = True
    thread.join()
    assert not thread.is_alive()


TELL_JOINED = """
import signal, threading

def tell(number, before):
    while signal.getsignal(number) is before:
        time.sleep(0.01)
    say("is joined")

def tell_when_joined():
    number = signal.SIGINT
    threading.Thread(target=tell, args=(number, signal.getsignal(number))).start()

service = S.from_args([])
"""
BACKGROUND = """
thread = service.startBG()
tell_when_joined()
thread.join()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
say("joined")
"""
APPLICATION = """
signal.signal(signal.SIGTERM, lambda *_: (say("mine"), service.shutdown()))
thread = service.startBG()
tell_when_joined()
thread.join()
"""
TIMEOUTS = """
thread = service.startBG()
thread.join(0.01)
say("still alive:", thread.is_alive())
tell_when_joined()
thread.join(timeout=60)
say("alive:", thread.is_alive())
"""


@pytest.mark.parametrize(
    ("end", "number", "said"),
    [
        (BACKGROUND, signal.SIGTERM, ["left the loop", "joined"]),
        (BACKGROUND, signal.SIGINT, ["left the loop", "joined"]),
        (APPLICATION, signal.SIGTERM, ["mine", "left the loop"]),
        (TIMEOUTS, signal.SIGTERM, ["still alive: True", "left the loop", "alive: False"]),
    ],
    ids=["SIGTERM", "SIGINT", "a handler of its own", "time limits"],
)
def test_signal_stops_a_service_that_is_joined(
    end: str, number: signal.Signals, said: list[str], tmp_path: Path
) -> None:
    with script(tmp_path, PLAIN_LOOP, end=TELL_JOINED + end) as process:
        process.read_until("is joined")
        process.process.send_signal(number)
        assert process.finish() == 0
        assert [line for line in process.lines if line in said] == said


OWN_ARGUMENTS = """
class Greets(VTask):
    LOOPLESS = True

    @classmethod
    def _addArguments(cls, ap):
        super()._addArguments(ap)
        ap.add_argument("--greeting", default="hello", help="what to say")

    def start(self):
        say(self.service.getOption("greeting"), self.service.getOption("whom"))

class S(VService):
    TASKS = [Greets]

    @classmethod
    def _addArguments(cls, ap):
        super()._addArguments(ap)
        ap.add_argument("--whom", default="world")
"""


def test_services_and_tasks_add_arguments_of_their_own(tmp_path: Path) -> None:
    with script(tmp_path, OWN_ARGUMENTS, "--greeting", "goodbye") as process:
        process.read_until("goodbye world")
        assert process.stop() == 0
    with script(tmp_path, OWN_ARGUMENTS, "--help") as process:
        assert process.finish() == 0
        assert any("--greeting" in line for line in process.lines)


def test_argument_of_name_that_is_taken_ends_start(tmp_path: Path) -> None:
    body = OWN_ARGUMENTS.replace("--whom", "--level")
    with script(tmp_path, body) as process:
        assert process.finish() == 2
        assert "S._addArguments: argument --level: conflicting option" in process.lines[-1]


@pytest.mark.parametrize(
    ("code", "status"), [("0", 0), ("", 0), ("None", 0), ("3", 3), ("'no licence'", 1)]
)
def test_exit_before_the_start_keeps_its_status(tmp_path: Path, code: str, status: int) -> None:
    body = f"""
class S(VService):
    def preprocessOptions(self):
        super().preprocessOptions()
        say("leaving")
        sys.exit({code})
"""
    with script(tmp_path, body) as process:
        assert process.finish() == status
        assert "leaving" in process.lines
        assert not any("Traceback" in line for line in process.lines)
        assert any("no licence" in line for line in process.lines) is (status == 1)


def test_tasks_are_registered_before_they_are_made() -> None:
    class Chooses(VService):
        TASKS = [Idle]

        def __init__(self, ns: object) -> None:
            super().__init__(ns)  # type: ignore[arg-type]
            self.tasks.register_all([Other, Needs])
            self.tasks.unregister(Other)

    with running(Chooses) as service:
        assert [task.name for task in service.tasks.tasks] == ["Idle", "Needs"]


def test_removed_task_does_not_run() -> None:
    class Removes(VService):
        TASKS = [Idle, Other]

        def initService(self) -> None:  # noqa: N802
            self.tasks.remove(self.requireTask(Idle))

    with running(Removes) as service:
        assert [task.name for task in service.tasks] == ["Other"]
        with pytest.raises(KeyError):
            service.tasks.remove(make_service(service_of(Idle)))  # type: ignore[arg-type]


def test_registry_holds_the_tasks_of_every_service() -> None:
    before = list(REGISTERED)
    try:
        Idle.register()
        REGISTERED.register_all([Other, Idle])
        assert list(REGISTERED) == [*before, Idle, Other]
        with running(VService) as service:
            assert service.getTask("Idle") is not None
        REGISTERED.unregister(Other)
        assert list(REGISTERED) == [*before, Idle]
    finally:
        REGISTERED[:] = before


def test_warnings_and_exported_values_show_the_present() -> None:
    service = make_service(service_of(Idle))
    warnings, values = service.warnings, service.exported_values
    warning = service.registerWarning("low on memory")
    assert dict(warnings) == {warning: "low on memory"}
    assert service.clearWarning(warning)
    assert len(warnings) == 0
    values["city"] = "Ulm"
    assert service.getExportedValues() == {"city": "Ulm"} == dict(service.exported_values)
    del values["city"]
    assert service.getExportedValue("city") == ""
    with pytest.raises(KeyError):
        del values["city"]


def test_service_may_use_these_names_for_itself() -> None:
    class Own(VService):
        def __init__(self, ns: object) -> None:
            super().__init__(ns)  # type: ignore[arg-type]
            self.warnings = ["mine"]  # type: ignore[assignment,misc]
            self.exported_values = {}  # type: ignore[assignment,misc]
            self.counters = {}  # type: ignore[assignment,misc]

    with running(Own) as service:
        warning = service.registerWarning("low on memory")
        assert service.getWarnings() == {warning: "low on memory"}
        assert list(service.warnings) == ["mine"]  # type: ignore[comparison-overlap]


def test_function_among_counters_of_task_is_counted() -> None:
    class Counts(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            self.depth = 3
            self.counters["depth"] = lambda: self.depth

    with running(service_of(Counts)) as service:
        task: Any = service.requireTask("Counts")
        assert service.getCounters()["Counts.depth"]() == task.getCounter("depth")() == 3
        task.depth = 4
        assert task.counters["depth"]() == task.getCounters()["depth"] == 4
        assert (task.getChildren(), list(service.getChildren())) == ({}, ["Counts"])
        with pytest.raises(KeyError):
            task.getCounter("width")
        with pytest.raises(KeyError):
            service.getChild("Depth")
        assert service.getChild("Counts") is task


LEFT_OUT = """
class A(VTask):
    LOOPLESS = True
    def initTask(self):
        super().initTask()
        raise SkipTask("no licence")

class B(VTask):
    LOOPLESS = True
    DEPS = [A]
    DEPS_OPTIONAL = False

class C(VTask):
    LOOPLESS = True
    DEPS = [A]
    def start(self):
        say("C without A:", self.service.getTask(A))

class S(VService):
    TASKS = [A, B, C]
"""


def test_task_stays_without_what_was_left_out(tmp_path: Path) -> None:
    with script(tmp_path, LEFT_OUT) as process:
        process.read_until("C without A: None")
        assert process.stop() == 0
    assert [line for line in process.lines if "left out" in line] == [
        "WARNING:S.A:A left out: no licence",
        "WARNING:S.B:B left out: A: no licence",
    ]


def test_skip_without_a_reason_is_named() -> None:
    class Skips(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            raise SkipTask

    with running(service_of(Skips, Idle)) as service:
        assert service.getTask(Skips) is None


def test_selected_values_are_empty_where_there_is_none() -> None:
    service = make_service(service_of(Idle))
    service.setExportedValue("city", "Ulm")
    assert service.getSelectedExportedValues(["city", "none"]) == {"city": "Ulm", "none": ""}
    service.name = "Renamed"
    assert service._name == "Renamed"


def test_options_of_built_in_plugins_are_attributes() -> None:
    service = make_service(service_of(Idle), "--level", "INFO", "--logfile", "here.log")
    assert (service.level, service.logfile, service.dryrun) == ("INFO", "here.log", False)
    assert (service.daemon, service.kill, service.runit_install) == (False, False, False)
    service.level = "ERROR"
    assert service.getOption("level") == "ERROR"
