"""Health checks of tasks and services, and what they make of liveness and readiness."""

from __future__ import annotations

import queue
import socket
from pathlib import Path

import pytest
from sparts.errors import UsageError
from sparts.fb303 import FB303
from sparts.hookspecs import hookimpl
from sparts.states import ServiceStatus
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import WAIT
from sparts.vtask import VTask


class Database(VTask):
    LOOPLESS = True
    VITAL = False
    up = True

    def initTask(self) -> None:  # noqa: N802
        self.service.add_check("database", self.ping, vital=self.VITAL)

    def ping(self) -> None:
        if not self.up:
            raise ConnectionError("refused")


class VitalDatabase(Database):
    VITAL = True


def test_every_view_shows_a_failing_check() -> None:
    with running(service_of(Database)) as service:
        health, fb303, describe = service.health, FB303(service), service.stats.describe
        well = {"service": "", "Database": "", "database": ""}
        why = "ConnectionError: refused"
        assert (health.ready, health.status, fb303.getStatus().name) == (True, "ALIVE", "ALIVE")
        assert health.readiness() == well
        before = describe()
        assert (before["ready"], before["failing_since"]) == (True, {})
        service.requireTask(Database).up = False
        assert not health.ready
        assert health.readiness() == {**well, "database": why}
        assert health.liveness() == {"Database": ""}
        assert health.healthy
        assert health.status_details() == f"database is unhealthy: {why}"
        found = describe()
        assert (found["ready"], found["healthy"], found["status"]) == (False, True, "WARNING")
        assert found["checks"] == {"database": why}
        assert fb303.getStatus().name == "WARNING"
        since = found["failing_since"]["database"]
        assert before["start_time"] <= since <= found["status_since"]
        assert describe()["failing_since"] == {"database": since}
        assert health.wait_ready(0)  # the start is complete
        service.requireTask(Database).up = True
        assert health.ready
        assert (health.status, describe()["failing_since"]) == ("ALIVE", {})


def test_change_of_a_check_reaches_hooks_and_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Told:
        @hookimpl
        def sparts_service_change(self, old: ServiceStatus, new: ServiceStatus) -> None:
            told.put(f"{old} {new}")

    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        running(service_of(Database)) as service,
    ):
        manager.settimeout(WAIT)
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        service.hooks.register(Told())
        service.requireTask(Database).up = False
        assert not service.health.ready
        assert told.get(timeout=WAIT) == "ALIVE WARNING"
        why = "database is unhealthy: ConnectionError: refused"
        assert manager.recv(4096).decode() == f"STATUS=WARNING: {why}"
        service.requireTask(Database).up = True
        assert service.health.ready
        assert told.get(timeout=WAIT) == "WARNING ALIVE"


def test_vital_check_that_fails_makes_the_service_unhealthy() -> None:
    with running(service_of(VitalDatabase)) as service:
        assert service.health.healthy
        service.requireTask(VitalDatabase).up = False
        assert service.health.liveness()["database"] == "ConnectionError: refused"
        assert service.health.readiness()["database"] == "ConnectionError: refused"
        assert not service.health.healthy


def test_starting_or_stopping_service_lives_unready() -> None:
    service = make_service(service_of(Database))
    assert service.health.readiness()["service"] == "it is NEW"
    thread = service.startBG()
    service.shutdown()
    thread.join()
    assert service.health.readiness()["service"] == "it is STOPPED"
    assert not any(service.health.liveness().values())
    assert not service.health.healthy


def test_unknown_health_is_unhealthy_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    class Unsure(VTask):
        LOOPLESS = True

        @property
        def healthy(self) -> bool:
            raise OSError("no answer")

    with running(service_of(Unsure)) as service:
        assert service.health.liveness() == {"Unsure": "OSError: no answer"}
        assert not service.health.healthy
    assert "Unsure could not say whether it is healthy" in caplog.text


def test_invalid_check_is_refused() -> None:
    class Twice(Database):
        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            super().initTask()

    with pytest.raises(UsageError, match="the name 'database' is taken"):
        make_service(service_of(Twice)).startBG()
    with running(service_of(Database)) as service:
        with pytest.raises(UsageError, match="the name 'Database' is taken"):
            service.add_check("Database", bool)
        with pytest.raises(UsageError, match="'disk' is not a function but 3"):
            service.add_check("disk", 3)  # type: ignore[arg-type]


def test_slow_check_delays_neither_start_nor_stop() -> None:
    asked: list[str] = []

    class Slow(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            self.service.add_check("slow", lambda: asked.append("slow"))

    with running(service_of(Slow)) as service:
        service.clearWarning(service.registerWarning("passing"))
    assert asked == []
