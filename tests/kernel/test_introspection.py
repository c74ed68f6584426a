"""What a service says about itself: warnings, exported values, counters, and the whole."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from sparts.counters import CallbackCounter, counter, counters_of
from sparts.errors import SpartsError
from sparts.options import option
from sparts.testing.running import make_service, running, service_of
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.threads import run_in_threads


class Mailer(VTask):
    OPT_PREFIX = "mail"
    server = option(default="localhost")
    password = option(type=str, secret=True)
    sent = counter()
    broken = CallbackCounter(lambda: 1 / 0)

    def _runloop(self) -> None:
        self.stop_event.wait()


class Reader(VTask):
    LOOPLESS = True
    DEPS = [Mailer]


class Service(VService):
    VERSION = "4.5"
    TASKS = [Reader]
    restarts = counter()


def test_warning_is_registered_logged_shown_and_cleared(caplog: pytest.LogCaptureFixture) -> None:
    with running(Service) as service:
        first = service.registerWarning("disk is nearly full")
        second = service.registerWarning("clock is off")
        assert service.getWarnings() == {first: "disk is nearly full", second: "clock is off"}
        assert service.health.status == "WARNING"
        assert "disk is nearly full" in caplog.text
        assert service.clearWarning(first) is True
        assert service.clearWarning(first) is False
        assert service.health.status == "WARNING"
        service.clearWarnings()
        assert service.getWarnings() == {}
        assert service.health.status == "ALIVE"


def test_exported_values_are_set_selected_and_removed() -> None:
    with running(Service) as service:
        service.setExportedValue("build", "abc")
        service.setExportedValue("built_at", "today")
        assert service.getExportedValue("build") == "abc"
        assert service.getExportedValue("other") == ""
        assert service.getExportedValues() == {"build": "abc", "built_at": "today"}
        assert service.getRegexExportedValues("built") == {"built_at": "today"}
        assert service.getSelectedExportedValues(["build", "other"]) == {
            "build": "abc",
            "other": "",
        }
        service.setExportedValue("build", None)
        service.setExportedValue("build", None)
        assert service.getExportedValues() == {"built_at": "today"}
        with pytest.raises(SpartsError):
            service.getRegexExportedValues("(")


def test_counters_are_read_by_name() -> None:
    with running(Service) as service:
        service.requireTask(Mailer).sent.add(3)
        service.restarts.increment()
        assert service.getCounter("Mailer.sent") == 3
        assert service.getCounter("restarts") == 1
        counters = service.getCounters()
        assert counters["Mailer.sent"] == 3
        assert counters["Mailer.n_failures"] == 0
        assert "Mailer.broken" not in counters
        assert math.isnan(service.getCounter("Mailer.broken"))
        with pytest.raises(KeyError, match=r"No counter is named 'Mailer\.received'"):
            service.getCounter("Mailer.received")


def test_one_counter_is_read_without_other_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10,000, say."""
    asked: list[object] = []

    def asking(owner: object) -> Any:
        asked.append(owner)
        return counters_of(owner)

    monkeypatch.setattr("sparts.stats.counters_of", asking)
    with running(Service) as service:
        asked.clear()
        assert service.getCounter("Mailer.sent") == 0
        assert asked == [service, service.requireTask(Mailer)]


def test_counters_are_those_of_the_instance() -> None:
    with running(Service) as one, running(Service) as other:
        one.requireTask(Mailer).sent.increment()
        assert (one.getCounter("Mailer.sent"), other.getCounter("Mailer.sent")) == (1, 0)


def test_description_holds_everything_and_no_secret() -> None:
    with running(Service, "--mail-password", "hunter2", "--mail-server", "mx") as service:
        service.setExportedValue("build", "abc")
        warning = service.registerWarning("disk is nearly full")
        found = json.loads(json.dumps(service.stats.describe()))
        assert list(service.getChildren()) == ["Mailer", "Reader"]
    well = {"state": "ALIVE", "ready": True, "problem": ""}
    wanted = {
        "name": "Service",
        "version": "4.5",
        "status": "WARNING",
        "status_details": "disk is nearly full",
        "ready": True,
        "healthy": True,
        "tasks": [
            {"name": "Mailer", "depends_on": [], "threads": ["Service.Mailer"], **well},
            {"name": "Reader", "depends_on": ["Mailer"], "threads": [], **well},
        ],
        "warnings": {str(warning): "disk is nearly full"},
        "exported_values": {"build": "abc"},
    }
    assert {key: found[key] for key in wanted} == wanted
    assert found["uptime"] >= 0
    assert "Service.Mailer" in found["threads"]
    assert found["counters"]["Mailer.sent"] == 0
    options = {"mail_server": "mx", "mail_password": "********", "stop_timeout": 25.0}
    assert {key: found["options"][key] for key in options} == options
    assert "hunter2" not in json.dumps(found)
    assert isinstance(found["plugins"], list)


def test_description_is_there_at_every_moment_of_life() -> None:
    service = make_service(Service)
    assert service.stats.describe()["status"] == "NEW"
    thread = service.startBG()
    service.shutdown()
    thread.join()
    found = service.stats.describe()
    assert found["status"] == "STOPPED"
    assert found["ready"] is False
    assert [task["state"] for task in found["tasks"]] == ["STOPPED", "STOPPED"]


def test_warnings_of_many_threads_are_all_kept() -> None:
    with running(Service) as service:

        def warn() -> None:
            for _ in range(100):
                service.clearWarning(service.registerWarning("passing"))
                service.registerWarning("staying")

        run_in_threads(*[warn] * 8)
        assert list(service.getWarnings().values()) == ["staying"] * 800


def test_counters_are_described() -> None:
    with running(Service) as service:
        service.requireTask(Mailer).sent.add(3)
        found = [(task, r.name, r.kind, r.value) for task, r in service.stats.describe_counters()]
    assert ("Mailer", "sent", "counter", 3) in found
    assert ("", "restarts", "counter", 0) in found
    assert "broken" not in [name for _, name, _, _ in found]


def test_description_is_valid_json_without_secrets() -> None:
    class Odd(VTask):
        LOOPLESS = True
        nothing = CallbackCounter(lambda: math.nan)

    with running(service_of(Odd, Mailer), "--mail-password", "hunter2") as service:
        service.registerWarning("hunter2 was refused")
        service.setExportedValue("auth", "user:hunter2")
        text = json.dumps(service.stats.describe(), allow_nan=False)
    assert json.loads(text)["counters"]["Odd.nothing"] is None
    assert "hunter2" not in text
