"""The public names of services and tasks: how many there are, and that subclasses may use them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import pytest
from sparts.errors import StartError
from sparts.shown import ours, overwritten, public_names
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import make_service, running, service_of
from sparts.vservice import VService
from sparts.vtask import VTask

OF_SERVICES = """
    TASKS VERSION DEFAULT_LOGLEVEL DEFAULT_LOGFILE DEFAULT_PID REGISTER_SIGNAL_HANDLERS
    level logfile dryrun daemon pidfile kill runit_install loglevel name logger options start_time
    initService initLogging preprocessOptions check check_options reload on_options_changed
    initFromCLI initFromOptions from_args startBG shutdown stop restart join
    tasks getTask requireTask getChild getChildren getOption setOption getOptions
    health add_check registerWarning getWarnings clearWarning clearWarnings warnings
    stats counters getCounter getCounters exported_values setExportedValue getExportedValue
    getExportedValues getSelectedExportedValues getRegexExportedValues
    hooks listeners
"""
OF_TASKS = """
    OPT_PREFIX LOOPLESS DEPS DEPS_OPTIONAL RESTART STOP_TIMEOUT CALL_KIND PROCESSES workers
    name service logger threads stop_event supervisor state running ready set_ready healthy
    seconds_to_stop initTask initTaskThread start stop join reload check check_options
    on_options_changed on_dependency_restarted getTaskOption setTaskOption register
    counters getCounter getCounters getChild getChildren
"""


#: Where services of before import from.
STAY = """
    sparts.loops:LoopBoundTask.start_in_loop sparts.loops:LoopBoundTask.stop_in_loop
    sparts.tasks.asyncio_loop:AsyncioLoopTask sparts.listeners:Listening
    sparts.net.listeners:Listening.take_sockets sparts.net.listeners:Listening.close_sockets
    sparts.vservice:VService.add_check sparts.vtask:VTask.stop_event
    sparts.options.types:duration sparts.options.types:size sparts.options.types:endpoint
    sparts.options.types:listof sparts.options.types:path sparts.options.types:port
"""


@pytest.mark.parametrize("name", STAY.split())
def test_names_stay_where_they_were(name: str) -> None:
    assert resolve_name(name) is not None


class Stays(VTask):
    LOOPLESS = True


@pytest.mark.parametrize(
    ("listed", "make", "most"),
    [
        (OF_SERVICES, lambda: made(), 60),
        (OF_TASKS, lambda: made().requireTask(Stays), 40),
    ],
    ids=["service", "task"],
)
def test_public_names_are_these_and_few(listed: str, make: Callable[[], Any], most: int) -> None:
    names = {name for name in dir(make()) if not name.startswith("_")}
    assert names == set(listed.split())
    assert len(names) <= most


def made() -> VService:
    """Return a service whose tasks are made, and not initialised."""
    service = make_service(service_of(Stays))
    service.tasks.create(service)
    return service


def overwrite(owner: Any) -> None:
    """Assign nonsense to every public name."""
    cls: Any = type(owner)
    for name in public_names(cls):
        setattr(owner, name, object())


class Early:
    """Overwrites every name when it is made."""

    def __init__(self, made_from: Any) -> None:
        super().__init__(made_from)  # type: ignore[call-arg]
        overwrite(self)


class Late:
    """Overwrites every name when it is initialised."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()  # type: ignore[misc]
        overwrite(self)

    def initService(self) -> None:  # noqa: N802
        overwrite(self)


class Waits(VTask):
    def _runloop(self) -> None:
        ours(self).stop_event.wait()


def warned(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    """Return the names that were warned of, as often as that was."""
    records = [record for record in caplog.records if record.name == logger]
    return sorted(str(r.args[1]) for r in records if "a name of sparts" in r.msg and r.args)  # type: ignore[index]


@pytest.mark.parametrize("when", [Early, Late])
def test_service_runs_with_every_name_overwritten(
    when: type, caplog: pytest.LogCaptureFixture
) -> None:
    task = type("Job", (when, Waits), {})
    service_class: Any = type("Service", (when, VService), {"TASKS": [task]})
    service = make_service(service_class)
    thread = ours(service).startBG()
    instance = service._instance
    assert instance.health.ready
    assert type(service.stats) is object
    assert instance.tasks.require(task)._supervisor.ready
    ours(service).shutdown()
    thread.join()
    assert (instance.health.status, thread.status) == ("STOPPED", 0)
    assert warned(caplog, "Service") == public_names(VService)
    assert warned(caplog, "Service.Job") == public_names(VTask)


OF_BEFORE = [
    "state",
    "ready",
    "running",
    "threads",
    "stop_event",
    "logger",
    "name",
    "options",
    "clock",
    "stopping",
]
SHOWN = ["health", "hooks", "listeners", "options", "stats", "tasks"]


async def execute(*_: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    "kind",
    [PeriodicTask, AsyncioServerTask, QueueTask, AsyncQueueTask, TornadoHTTPTask, NBServerTask],
)
def test_task_types_work_with_names_of_before_overwritten(
    kind: type[VTask], caplog: pytest.LogCaptureFixture
) -> None:
    def init(self: Any) -> None:
        kind.initTask(self)
        for name in OF_BEFORE:
            setattr(self, name, "idle")

    does = execute if kind is AsyncQueueTask else lambda *_: None
    body = {"initTask": init, "INTERVAL": 0.01, "execute": does, "OPT_PREFIX": "it"}
    tasks = [type("Own", (kind,), body), *([FB303HandlerTask] if kind is NBServerTask else ())]

    def assign(self: Any) -> None:
        for name in SHOWN:
            setattr(self, name, {})

    argv = ("--it-port", "0") if hasattr(kind, "DEFAULT_PORT") else ()
    with running(service_of(*tasks, initService=assign), *argv) as service:
        assert service._instance.health.ready
    assert service._instance.health.status == "STOPPED"
    assert warned(caplog, "Service") == SHOWN
    assert warned(caplog, "Service.Own") == sorted({*OF_BEFORE} & {*OF_TASKS.split()})


@pytest.mark.parametrize("form", [property, lambda method: method])
def test_methods_take_no_place_of_data(form: Any, caplog: pytest.LogCaptureFixture) -> None:
    def mine(self: object) -> str:
        return "mine"

    of_task = ["name", "running", "service", "state", "stop_event", "supervisor", "threads"]
    task: Any = type("Own", (PeriodicTask,), dict.fromkeys(of_task, form(mine)))
    task.INTERVAL, task.execute = 0.01, lambda self: None
    with running(service_of(task, **dict.fromkeys(SHOWN, form(mine)))) as service:
        assert service._instance.health.ready
    assert warned(caplog, "Service") == SHOWN
    shadowed = of_task if form is property else ["running", "state", "supervisor"]
    assert warned(caplog, "Service.Own") == shadowed


def test_options_of_ours_may_be_assigned_early() -> None:
    class Service(VService):
        def __init__(self, ns: argparse.Namespace) -> None:
            self.daemon = "mine"
            super().__init__(ns)

    service: Any = make_service(Service)
    assert (service.daemon, service.getOption("daemon")) == ("mine", False)


class Equal:
    """Equals every other one, and has no hash, as a dataclass."""

    def __eq__(self, other: object) -> bool:
        return True


class Incomparable:
    """Raises when it is compared with anything."""

    def __eq__(self, other: object) -> bool:
        raise TypeError("no such comparison")


@pytest.mark.parametrize("base", [Equal, Incomparable])
def test_services_and_tasks_need_no_hash(base: type, caplog: pytest.LogCaptureFixture) -> None:
    tasks = [type(name, (base, Waits), {}) for name in ("One", "Other")]
    service_class: Any = type("Service", (base, VService), {"TASKS": tasks})
    with running(service_class) as service:
        assert ours(service).health.ready
        service.state = service.tasks.One.state = service.tasks.Other.state = "idle"
    assert service._instance.health.status == "STOPPED"
    assert [warned(caplog, f"Service.{task.__name__}") for task in tasks] == [["state"], ["state"]]


def test_name_is_warned_about_though_start_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(VTask):
        def initTask(self) -> None:  # noqa: N802
            self.state = "idle"  # type: ignore[misc, assignment]
            raise ValueError

    with pytest.raises(StartError), running(service_of(Fails)):
        pass
    assert warned(caplog, "Service.Fails") == ["state"]


def test_names_of_before_on_services_are_free(caplog: pytest.LogCaptureFixture) -> None:
    class Service(VService):
        TASKS = [Stays]

        def initService(self) -> None:  # noqa: N802
            self.process = self.inbox = self.instances = self.status = "mine"
            self.listeners = self.tasks = ["mine"]  # type: ignore[assignment,misc]

    with running(Service) as service:
        assert service._instance.health.ready
        assert service.listeners == service.tasks == ["mine"]  # type: ignore[comparison-overlap]
    assert warned(caplog, "Service") == ["listeners", "tasks"]


def test_name_put_into_a_class_may_be_deleted() -> None:
    class Patched(VTask):
        LOOPLESS = True

    Patched.__module__ = VTask.__module__
    Patched.extra = 1  # type: ignore[attr-defined]
    service = make_service(service_of(Patched))
    service.tasks.create(service)
    task = service.requireTask(Patched)
    assert "extra" in public_names(Patched)
    del Patched.extra  # type: ignore[attr-defined]
    assert "extra" not in set(overwritten(task))


def test_what_services_may_set_counts(caplog: pytest.LogCaptureFixture) -> None:
    class Service(VService):
        TASKS = [Stays]

        def preprocessOptions(self) -> None:  # noqa: N802
            self.name = "renamed"
            self.logger = logging.getLogger("elsewhere")  # type: ignore[misc]
            self.options = argparse.Namespace(**{**vars(self.options), "stop_timeout": 7.0})  # type: ignore[misc]

    with running(Service) as service:
        assert service.getOption("stop_timeout") == 7.0
        assert service._instance.settings.stop_timeout == 7.0
        service.registerWarning("low on memory")
        assert service.requireTask(Stays).logger.name == "renamed.Stays"
    assert warned(caplog, "elsewhere") == []
    messages = [record.message for record in caplog.records if record.name == "elsewhere"]
    assert messages == ["low on memory"]


def test_parts_are_read_by_short_names() -> None:
    with running(service_of(Stays)) as service:
        old: Any = service
        assert (old.status, old.ready, old.restarting) == ("ALIVE", True, False)
        assert old.describe()["name"] == old.name
        assert old.stop_timeout == 25.0
        assert old.requireTask(Stays).failed is None
    with pytest.raises(AttributeError, match="'Service' object has no attribute 'nonsense'"):
        _ = old.nonsense
