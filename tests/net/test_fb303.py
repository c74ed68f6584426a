"""What the fb303 interface says about a service, before any transport."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

import pytest
from sparts.counters import CallbackCounter, counter
from sparts.errors import OptionError, SpartsError
from sparts.fb303 import CONTROLS, FB303, FB303Status
from sparts.kernel.health import Health
from sparts.options import option
from sparts.states import ServiceStatus
from sparts.testing.running import make_service, running
from sparts.testing.waiting import log_of
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.threads import in_threads


class Mailer(VTask):
    OPT_PREFIX = "mail"
    server = option(default="localhost")
    fast = option(default=False)
    batch = option(type=int, default=10)
    fixed = option(default="x", reloadable=False)
    password = option(type=str, secret=True)
    sent = counter()
    share = CallbackCounter(lambda: 1.75)
    nothing = CallbackCounter(lambda: float("nan"))
    endless = CallbackCounter(lambda: float("inf"))
    huge = CallbackCounter(lambda: 1e30)

    def _runloop(self) -> None:
        self.stop_event.wait()


class Service(VService):
    VERSION = "4.5"
    TASKS = [Mailer]


def test_status_is_numbered_as_fb303_numbers_it() -> None:
    numbers = {"DEAD": 0, "STARTING": 1, "ALIVE": 2, "STOPPING": 3, "STOPPED": 4, "WARNING": 5}
    assert {status.name: status.value for status in FB303Status} == numbers


@pytest.mark.parametrize("status", ServiceStatus)
def test_every_status_of_a_service_has_a_number(
    status: ServiceStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(Service)
    monkeypatch.setattr(Health, "status", status)
    expected = "STARTING" if status == "NEW" else str(status)
    assert FB303(service).getStatus().name == expected


def test_identity_status_and_details() -> None:
    service = make_service(Service)
    assert FB303(service).getStatus() is FB303Status.STARTING
    with running(Service) as service:
        facts = FB303(service)
        assert facts.getName() == "Service"
        assert facts.getVersion() == "4.5"
        assert facts.aliveSince() == int(service.start_time)
        assert facts.getStatus() is FB303Status.ALIVE
        assert facts.getStatusDetails() == ""
        service.registerWarning("disk is nearly full")
        assert facts.getStatus() is FB303Status.WARNING
        assert facts.getStatusDetails() == "disk is nearly full"


def test_counters_are_whole_numbers_of_64_bits() -> None:
    with running(Service) as service:
        service.requireTask(Mailer).sent.incrementBy(3)
        facts = FB303(service)
        counters = facts.getCounters()
        assert counters["Mailer.sent"] == 3
        assert counters["Mailer.share"] == 1
        assert counters["Mailer.huge"] == 2**63 - 1
        assert not counters.keys() & {"Mailer.nothing", "Mailer.endless"}
        assert facts.getCounter("Mailer.sent") == 3
        assert facts.getCounter("Mailer.nothing") == facts.getCounter("no.such") == 0
        assert facts.getSelectedCounters(["Mailer.sent", "no.such"]) == {"Mailer.sent": 3}
        assert set(facts.getRegexCounters(r"Mailer\.s")) == {"Mailer.sent", "Mailer.share"}
        with pytest.raises(SpartsError, match=r"'\(' is not a regular expression"):
            facts.getRegexCounters("(")


def test_exported_values_are_selected_by_name_and_pattern() -> None:
    with running(Service) as service:
        service.setExportedValue("build", "abc")
        service.setExportedValue("built_at", "today")
        facts = FB303(service)
        assert facts.getExportedValues() == {"build": "abc", "built_at": "today"}
        assert facts.getExportedValue("build") == "abc"
        assert facts.getExportedValue("none") == ""
        assert facts.getSelectedExportedValues(["build", "none"]) == {"build": "abc"}
        assert facts.getRegexExportedValues("built") == {"built_at": "today"}
        with pytest.raises(SpartsError, match="regular expression"):
            facts.getRegexExportedValues("[")


def test_options_are_texts_and_secrets_are_masked() -> None:
    with running(Service, "--mail-password", "hunter2") as service:
        facts = FB303(service)
        options = facts.getOptions()
        assert options["mail_server"] == "localhost"
        assert options["mail_fast"] == "false"
        assert options["mail_batch"] == "10"
        assert options["logfile"] == "__None__"
        assert "hunter2" not in str(options)
        assert facts.getOption("mail-batch") == "10"
        assert facts.getOption("no_such") == facts.getOption("logfile") == "__None__"
        assert all(isinstance(value, str) for value in options.values())


def test_options_are_set_from_texts() -> None:
    with running(Service) as service:
        facts = FB303(service)
        facts.setOption("mail_batch", "12")
        facts.setOption("mail-fast", "true")
        task = service.requireTask(Mailer)
        assert (task.batch, task.fast) == (12, True)
        for name, value in (("mail_batch", "many"), ("no_such", "1"), ("mail_fixed", "y")):
            with pytest.raises(OptionError):
                facts.setOption(name, value)
        assert task.batch == 12


def test_reinitialize_restarts_and_shutdown_stops() -> None:
    service = make_service(Service)
    thread = service.startBG()
    try:
        with log_of(service) as log:
            FB303(service).reinitialize()
            log.wait_for_line("All tasks started")
        FB303(service).shutdown()
        thread.join()
    finally:
        service.shutdown()
        thread.join()
    assert FB303(service).getStatus() is FB303Status.STOPPED


def test_what_changes_something_is_known() -> None:
    assert {"setOption", "reinitialize", "shutdown"} == CONTROLS
    assert all(callable(getattr(FB303, name)) for name in CONTROLS)


def burn(stop: threading.Event, busy: threading.Event) -> None:
    while not stop.is_set():
        sum(range(1000))
        busy.set()


def test_cpu_profile_names_functions_that_take_time() -> None:
    stop, busy = threading.Event(), threading.Event()
    with in_threads(partial(burn, stop, busy)):
        assert busy.wait(10)
        text = FB303(make_service(Service)).getCpuProfile(1)
        stop.set()
    assert "burn" in text or "sum" in text
    import yappi

    assert not yappi.is_running()
    assert yappi.get_func_stats().empty()


def test_one_profile_at_a_time_ends_with_service(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    class Told(Service):
        def initService(self) -> None:  # noqa: N802
            wait = self.health.wait_stopping

            def wait_stopping(timeout: float | None = None) -> bool:
                begun.set()
                return wait(timeout)

            monkeypatch.setattr(self.health, "wait_stopping", wait_stopping)

    texts: list[str] = []
    with contextlib.ExitStack() as threads, running(Told) as service:
        facts = FB303(service)
        threads.enter_context(in_threads(lambda: texts.append(facts.getCpuProfile(600))))
        assert begun.wait(10)
        with pytest.raises(SpartsError, match="Another CPU profile"):
            facts.getCpuProfile(1)
    assert texts


@pytest.mark.parametrize("seconds", [-1, 0, 601])
def test_a_profile_of_an_unreasonable_length_is_refused(seconds: int) -> None:
    with pytest.raises(SpartsError, match="1 to 600 seconds"):
        FB303(make_service(Service)).getCpuProfile(seconds)


def test_profile_without_yappi_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yappi", None)
    with pytest.raises(SpartsError, match="pip install yappi"):
        FB303(make_service(Service)).getCpuProfile(1)
