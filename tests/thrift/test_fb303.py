"""FB303HandlerTask, asked over sockets by clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import pytest
from sparts.counters import CallbackCounter
from sparts.net.asking import Asking
from sparts.options import option
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.thrift import NBServerTask
from sparts.testing import check_task, log_of
from sparts.testing.running import make_service, running, service_of
from sparts.thrift.calls import Caller, current
from sparts.thrift.compiler import CompileContext
from sparts.thrift.fb303 import FacebookService
from sparts.thrift.fb303.ttypes import fb_status
from sparts.vservice import VService
from sparts.vtask import VTask
from thrift.Thrift import TApplicationException

from tests.thrift.clients import client_of, serving

LOCAL = ["--thrift-host", "127.0.0.1"]


class Monitored(VService):
    """A service that can be asked."""

    TASKS = [NBServerTask, FB303HandlerTask]
    VERSION = "1.2.3"

    batch = option(type=int, default=10, help="how many at once")
    fixed = option(default="x", reloadable=False)


def asked(**options: Any) -> AbstractContextManager[tuple[VService, Any]]:
    """Run the service; give it, and a client of its fb303 interface."""
    return serving(Monitored, FacebookService, **options)


def test_it_does_what_every_task_must() -> None:
    check_task(FB303HandlerTask)


@pytest.mark.parametrize("protocol", ["binary", "compact"])
def test_client_learns_what_service_tells_of_itself(protocol: str) -> None:
    with asked(protocol=protocol) as (service, client):
        assert client.getName() == "Monitored"
        assert client.getVersion() == "1.2.3"
        assert client.getStatus() == fb_status.ALIVE
        assert client.getStatusDetails() == ""
        service.registerWarning("disk is nearly full")
        assert client.getStatus() == fb_status.WARNING
        assert client.getStatusDetails() == "disk is nearly full"
        assert client.aliveSince() == int(service.start_time) <= time.time()
        service.setExportedValue("build", "abc")
        assert client.getExportedValues() == {"build": "abc"}
        assert client.getExportedValue("build") == "abc"
        assert client.getSelectedExportedValues(["build", "none"]) == {"build": "abc"}
        assert client.getRegexExportedValues("b.*d") == {"build": "abc"}


def test_a_client_reads_counters() -> None:
    with asked() as (_, client):
        accepted = client.getCounter("NBServerTask.n_accepted")
        counters = client.getCounters()
        assert counters["NBServerTask.n_accepted"] == accepted == 1
        assert client.getSelectedCounters(["NBServerTask.n_accepted", "no.such"]) == {
            "NBServerTask.n_accepted": 1
        }
        assert "NBServerTask.n_connections" in client.getRegexCounters("NBServerTask")
        assert client.getRegexCounters(r"([\w.]+)+-") == {}
        assert client.getCounter("no.such") == 0
        with pytest.raises(TApplicationException, match=r"'\(' is not a regular expression"):
            client.getRegexCounters("(")


def test_unencodable_text_is_reported() -> None:
    with asked() as (service, client):
        service.registerWarning("caf\udce9")
        service.setExportedValue("file\udce9", "x\udce9")
        assert client.getStatusDetails() == r"caf\udce9"
        assert client.getExportedValues() == {r"file\udce9": r"x\udce9"}
        assert client.getExportedValue("none") == ""


class Stuck(VTask):
    """Has a counter that does not tell its value until it is let go."""

    LOOPLESS = True
    let_go: ClassVar[threading.Event]

    @CallbackCounter
    def depth(self) -> float:
        return self.let_go.wait(30)


def test_hanging_counter_holds_up_neither_calls_nor_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asking, "TIMEOUT", 0.05)
    Stuck.let_go = threading.Event()

    class WithStuck(Monitored):
        TASKS = [*Monitored.TASKS, Stuck]

    thread = make_service(WithStuck, *LOCAL).startBG()
    with client_of(thread.service, FacebookService) as client:
        for _ in range(8):  # more than there are threads for calls
            with pytest.raises(TApplicationException, match="No answer about counters within"):
                client.getCounters()
        with pytest.raises(TApplicationException, match="No answer about counter Stuck.depth"):
            client.getCounter("Stuck.depth")
        monkeypatch.setattr(Asking, "TIMEOUT", 30.0)  # for a counter that answers
        assert client.getCounter("NBServerTask.n_accepted") == 1
        assert client.getStatus() == fb_status.ALIVE
    thread.service.shutdown()
    thread.join(30)
    assert thread.status == 0
    Stuck.let_go.set()
    for each in threading.enumerate():
        if each.name.startswith("asking"):
            each.join(30)


def test_client_on_this_machine_reads_and_sets_options() -> None:
    with asked() as (service, client):
        assert client.getOptions()["batch"] == client.getOption("batch") == "10"
        client.setOption("batch", "12")
        assert service.batch == 12  # type: ignore[attr-defined]
        for name, value, why in (
            ("batch", "many", "expected"),
            ("none", "1", "none"),
            ("fixed", "y", "fixed"),
        ):
            with pytest.raises(TApplicationException, match=f"setOption: .*{why}"):
                client.setOption(name, value)


def test_a_client_has_the_service_restart() -> None:
    with asked() as (service, client):
        with log_of(service) as log:
            client.reinitialize()
            log.wait_for_line("reinitialize was called from 127.0.0.1")
            log.wait_for_line("All tasks started")
        assert service.join(30)


def test_a_profile_is_taken_of_the_running_service() -> None:
    with asked() as (_, client):
        text = client.getCpuProfile(1)
        assert "ncall" in text
        assert "ttot" in text
        with pytest.raises(TApplicationException, match="1 to 600 seconds"):
            client.getCpuProfile(0)


@contextmanager
def called_from(address: Any) -> Iterator[None]:
    token = current.set(address if address is None else Caller(address))
    try:
        yield
    finally:
        current.reset(token)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (("127.0.0.1", 5), True),
        ("", True),
        (("192.0.2.1", 5), False),
        (None, False),
    ],
)
@pytest.mark.parametrize("allowed", [False, True])
def test_remote_client_controls_only_if_allowed(address: Any, local: bool, allowed: bool) -> None:
    with running(Monitored, *LOCAL, *(["--fb303-control"] if allowed else [])) as service:
        methods = service.requireTask(FB303HandlerTask).processor.methods
        with called_from(address), log_of(service) as log:
            assert methods["getName"].function() == "Monitored"
            if local or allowed:
                methods["setOption"].function("batch", "5")
                assert service.batch == 5
                methods["shutdown"].function()
                assert service.join(30)
                return
            for name, arguments in (
                ("setOption", ("batch", "5")),
                ("reinitialize", ()),
                ("shutdown", ()),
            ):
                with pytest.raises(TApplicationException, match="--fb303-control allows it"):
                    methods[name].function(*arguments)
                log.wait_for_line(f"{name} was refused to")
            assert service.batch == 10
            assert service.health.status == "ALIVE"


EXTENDED = """
include "fb303.thrift"
service Calculator extends fb303.FacebookService { i64 add(1: i64 a, 2: i64 b) }
"""


def test_an_interface_that_extends_it_is_served_whole() -> None:
    calculator = CompileContext().importThriftStr(EXTENDED, name="calculator.thrift")

    class CalculatorTask(FB303HandlerTask):
        MODULE = calculator

        def add(self, a: int, b: int) -> int:
            return a + b

        def getStatusDetails(self) -> str:  # noqa: N802
            return "adds well"

    with serving(service_of(NBServerTask, CalculatorTask), calculator) as (_, client):
        assert client.add(1, 2**62) == 2**62 + 1
        assert client.getName() == "Service"
        assert client.getStatusDetails() == "adds well"
