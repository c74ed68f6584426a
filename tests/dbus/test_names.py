"""DBusServiceTask owns a name on a bus, or says why it does not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dbus_fast import DBusError
from sparts.errors import SpartsError, TaskFailedError, UsageError
from sparts.states import ServiceStatus
from sparts.tasks.dbus import bus as bus_module
from sparts.tasks.dbus.bus import Bus
from sparts.tasks.dbus.exporting import dbus_method
from sparts.testing.running import running_task
from sparts.testing.waiting import Recorder, log_of, wait_ended, wait_ready, wait_status

from tests.dbus.daemons import Daemon
from tests.dbus.services import LOOPS, NAME, PATH, Greeter, make_service, running, service_of

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

Service = service_of(Greeter)


def greet(bus: Daemon) -> str:
    return bus.gdbus(NAME, PATH, f"{NAME}.Greet", "you")


def owner(bus: Daemon) -> str:
    call = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.GetNameOwner")
    return bus.dbus_send(*call, f"string:{NAME}")


def start_error(*argv: str) -> str:
    with pytest.raises(SpartsError) as caught:
        make_service(Service, *argv).startBG()
    return str(caught.value)


def test_a_method_is_called_by_name(session_bus: Daemon) -> None:
    with running_task(Greeter, *session_bus.argv) as task:
        assert task.owns_name
        assert owner(session_bus) == task.unique_name
        assert greet(session_bus) == "('Hello, you',)"
        session_bus.dbus_send(NAME, PATH, f"{NAME}.Greet", "string:you")
        assert task.service.getCounter("Greeter.calls") >= 2
    assert not task.connected
    assert not task.owns_name


@pytest.mark.parametrize(
    ("variable", "default", "argv"),
    [
        ("DBUS_SESSION_BUS_ADDRESS", "", ()),
        ("XDG_RUNTIME_DIR", "", ()),
        ("DBUS_SYSTEM_BUS_ADDRESS", "", ("--dbus-system-bus",)),
        ("DBUS_SYSTEM_BUS_ADDRESS", "system", ()),
        ("", "ADDRESS", ()),
    ],
)
def test_bus_is_found_by_environment_or_class(
    variable: str,
    default: str,
    argv: tuple[str, ...],
    session_bus: Daemon,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    if variable:
        where = session_bus.address
        where = str(session_bus.socket.parent) if variable == "XDG_RUNTIME_DIR" else where
        monkeypatch.setenv(variable, where)
    own = {"DEFAULT_BUS": default.replace("ADDRESS", session_bus.address)} if default else {}
    with running(service_of(type("Here", (Greeter,), own)), *argv):
        assert greet(session_bus) == "('Hello, you',)"


def test_a_name_given_by_option_is_used(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv, "--dbus-bus-name", "org.example.Other-1"):
        found = session_bus.gdbus(
            "org.example.Other-1", "/org/example/Other_1", f"{NAME}.Greet", "x"
        )
        assert found == "('Hello, x',)"


@pytest.mark.parametrize("name", ["nodots", ":1.7", "org.exa mple.X", "org..x", "org.1x"])
def test_invalid_name_is_refused_before_the_start(session_bus: Daemon, name: str) -> None:
    argv = (*session_bus.argv, "--dbus-bus-name", name)
    with pytest.raises(UsageError, match="is no name on a bus"):
        make_service(Service, *argv).startBG()


def test_name_of_service_gives_names_on_bus(session_bus: Daemon) -> None:
    service = make_service(service_of("DBusServiceTask"), *session_bus.argv)
    service.name = "Second-1.Radio"
    thread = service.startBG()
    found = session_bus.gdbus(
        "org.sparts.Second-1.Radio", "/Second_1_Radio/fb303", "com.facebook.fb303.Service.getName"
    )
    assert found == "('Second-1.Radio',)"
    assert service.requireTask("DBusServiceTask").path == "/org/sparts/Second_1/Radio"
    service.shutdown()
    thread.join()


# -- no bus ----------------------------------------------------------------------------------------


def test_missing_session_bus_is_an_error_with_advice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert "DBUS_SESSION_BUS_ADDRESS is not set" in start_error()


@pytest.mark.parametrize(("argv", "status"), [([], 1), (["--dbus-optional"], 0)])
def test_dry_run_finds_a_missing_session_bus(
    argv: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    service = make_service(Service, "--dryrun", *argv)
    assert Service.initFromOptions(service.options) == status
    assert ("DBUS_SESSION_BUS_ADDRESS is not set" in capsys.readouterr().out) == bool(status)


def test_nobody_at_address_is_error_that_names_it(tmp_path: Path) -> None:
    said = start_error("--dbus-address", f"unix:path={tmp_path}/nothing")
    assert f"There is no bus at unix:path={tmp_path}/nothing: " in said
    assert "No such file" in said


@pytest.mark.parametrize("address", ["nonsense", "carrier-pigeon:nest=7", "unix:", "tcp:port=x"])
def test_invalid_address_is_named(address: str) -> None:
    assert address in start_error("--dbus-address", address)


def test_missing_optional_bus_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "late"
    with running(
        Service, "--dbus-address", f"unix:path={folder}/bus", "--dbus-optional"
    ) as service:
        assert service.health.status is ServiceStatus.WARNING
        assert service.health.ready
        assert "There is no bus at" in service.health.status_details()
        with Daemon(folder) as bus:
            wait_status(service, ServiceStatus.ALIVE)
            assert greet(bus) == "('Hello, you',)"
        wait_status(service, ServiceStatus.WARNING)
        assert service.health.ready


# -- a name that is taken --------------------------------------------------------------------------


def test_taken_name_is_error_that_names_its_owner(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv):
        said = start_error(*session_bus.argv)
        assert f"The name {NAME} on the bus at {session_bus.address} is taken, by :1." in said
        assert "(process " in said
        assert "--dbus-queue or --dbus-replace" in said
        assert greet(session_bus) == "('Hello, you',)"


def test_taken_optional_name_is_a_warning(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv) as first:
        service = make_service(Service, *session_bus.argv, "--dbus-optional")
        thread = service.startBG()
        assert service.health.status == "WARNING"
        assert "is taken" in service.health.status_details()
        first.shutdown()
        wait_status(service, ServiceStatus.ALIVE)
        assert service.requireTask(Greeter).owns_name
        service.shutdown()
        thread.join()


def test_queued_service_is_unready_until_named(session_bus: Daemon) -> None:
    argv = (*session_bus.argv, "--dbus-queue")
    with running(Service, *argv) as first, running(Service, *argv) as second:
        assert first.health.ready
        assert not second.health.ready
        assert second.health.status == "WARNING"
        assert "waits for the name" in second.health.status_details()
        first.shutdown()
        wait_ready(second)
        assert second.health.status == "ALIVE"
        assert owner(session_bus) == second.requireTask(Greeter).unique_name


def test_replaceable_service_is_replaced_in_order(session_bus: Daemon) -> None:
    first = make_service(Service, *session_bus.argv, "--dbus-allow-replacement")
    thread = first.startBG()
    with log_of(first) as log, running(Service, *session_bus.argv, "--dbus-replace") as second:
        assert wait_ended(first) is None
        thread.join()
        assert owner(session_bus) == second.requireTask(Greeter).unique_name
        assert greet(session_bus) == "('Hello, you',)"
    log.wait_for_line(f"{NAME} was taken by another; the service ends")


def test_other_service_is_not_replaced(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv) as first:
        said = start_error(*session_bus.argv, "--dbus-replace")
        assert "It does not let itself be replaced." in said
        assert owner(session_bus) == first.requireTask(Greeter).unique_name


def test_replaced_service_with_queue_returns(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv, "--dbus-allow-replacement", "--dbus-queue") as first:
        with running(Service, *session_bus.argv, "--dbus-replace"):
            wait_status(first, ServiceStatus.WARNING)
            assert not first.health.ready
        wait_ready(first)
        assert owner(session_bus) == first.requireTask(Greeter).unique_name


# -- a policy that refuses -------------------------------------------------------------------------


def test_refusing_policy_is_an_error_with_advice(system_bus: Daemon) -> None:
    said = start_error("--dbus-address", system_bus.address)
    assert f"does not let this user own {NAME}" in said
    assert "sparts dbus-install" in said


def test_refusing_policy_with_optional_is_a_warning(system_bus: Daemon, tmp_path: Path) -> None:
    with running(Service, "--dbus-address", system_bus.address, "--dbus-optional") as service:
        assert "does not let this user own" in service.health.status_details()
        policy = f'<policy user="{os.geteuid()}"><allow own="{NAME}"/></policy>'
        (tmp_path / "system.d" / "greeter.conf").write_text(
            f"<busconfig>{policy}</busconfig>", encoding="utf-8"
        )
        system_bus.reload()
        wait_status(service, ServiceStatus.ALIVE)
        assert service.requireTask(Greeter).owns_name


# -- a bus that is lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_restarted_daemon_is_noticed_shown_and_joined_again(
    session_bus: Daemon, loop: tuple[str, ...]
) -> None:
    with running_task(Greeter, *session_bus.argv, *loop) as task:
        for _ in range(3):
            session_bus.kill_under(task.service)
            assert not task.service.health.ready
            assert not task.owns_name
            assert task.service.health.status_details() != ""
            session_bus.start_for(task.service)
            wait_ready(task.service)
            assert task.owns_name
            assert greet(session_bus) == "('Hello, you',)"
        assert not task.service.getWarnings()


def test_call_ends_when_the_daemon_is_killed(session_bus: Daemon) -> None:
    with running_task(Greeter, *session_bus.argv) as task, ThreadPoolExecutor(1) as caller:
        said = caller.submit(session_bus.gdbus, NAME, PATH, f"{NAME}.Wait", check=False)
        assert task.began.wait(30)
        session_bus.restart()
        assert "Error" in said.result(30)
        task.release.set()
        session_bus.wait_for_name(NAME)
        assert greet(session_bus) == "('Hello, you',)"


def test_reconnects_wait_twice_as_long_each(
    session_bus: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, waits, killed = asyncio.sleep, Recorder[float](), threading.Event()

    class Patient(Greeter):
        RETRY_AFTER, RETRY_MAX_WAIT = 1000.0, 5000.0

    async def note(seconds: float) -> None:
        ours = seconds >= Patient.RETRY_AFTER / 2
        if ours:
            waits(seconds)
        if ours and len(waits.items) == 5:
            assert killed.wait(30)  # else it is not clear which daemon would be killed
            session_bus.start()
        elif not ours or len(waits.items) > 5:
            await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    with running(service_of(Patient), *session_bus.argv) as service:
        session_bus.kill()
        killed.set()
        waits.wait(5)
        wait_status(service, ServiceStatus.ALIVE)
        session_bus.kill()
        waits.wait(6)
    wanted = [1000, 2000, 4000, 5000, 5000, 1000]
    assert waits.items == [pytest.approx(0.95 * wait, rel=0.06) for wait in wanted]


def test_call_on_a_lost_bus_logs_nothing_stray(
    session_bus: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(task: Greeter) -> None:
        session_bus.kill()  # in the loop's thread: it has not noticed yet
        assert task.bus is not None
        with pytest.raises(DBusError, match="The bus was lost before the answer came"):
            await task.bus.ask("GetId")

    with running_task(Greeter, *session_bus.argv) as task:
        task.loop_task.call(ask, task).result(30)
    del task
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_daemon_that_does_not_answer_is_given_up(
    session_bus: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "ANSWER_TIMEOUT", 0.01)
    with (
        running_task(Greeter, *session_bus.argv) as task,
        session_bus.hanging(),
        pytest.raises(DBusError, match=r"did not answer GetId in 0\.01 s"),
    ):
        task.wait_for(task.bus.ask, "GetId")  # type: ignore[union-attr]


def test_stop_in_one_second_with_daemon_that_hangs(session_bus: Daemon) -> None:
    with (
        contextlib.ExitStack() as stack,
        running(Service, *session_bus.argv, "--stop-timeout", "1s"),
    ):
        stack.enter_context(session_bus.hanging())


def test_other_faults_end_the_service_at_rejoin(session_bus: Daemon) -> None:
    class Once(Greeter):
        joins = 0

        async def joining(self, bus: Bus) -> None:
            self.joins += 1
            if self.joins == 2:
                raise LookupError("a mistake")
            await super().joining(bus)

    service = make_service(service_of(Once), *session_bus.argv)
    thread = service.startBG()
    session_bus.restart()
    try:
        with pytest.raises(TaskFailedError, match="Once failed: LookupError: a mistake"):
            thread.join(30)
    finally:
        service.shutdown()
    assert thread.status == 1


def test_service_stops_while_it_waits_to_try_again(session_bus: Daemon) -> None:
    class Patient(Greeter):
        RETRY_AFTER = RETRY_MAX_WAIT = 10_000.0

    with running(service_of(Patient), *session_bus.argv) as service:
        session_bus.kill_under(service)


def test_running_call_is_waited_for_at_the_stop(session_bus: Daemon) -> None:
    with running_task(Greeter, *session_bus.argv) as task, ThreadPoolExecutor(1) as caller:
        said = caller.submit(session_bus.gdbus, NAME, PATH, f"{NAME}.Wait")
        assert task.began.wait(30)
        task.service.shutdown()
        assert task.stop_event.wait(30)
        task.release.set()
        assert said.result(30) == "('released',)"


def test_endless_call_is_cut_off_and_logged(session_bus: Daemon) -> None:
    class Hanging(Greeter):
        def seconds_to_stop(self) -> float:
            return 0.0

        @dbus_method
        async def Hang(self) -> None:  # noqa: N802
            self.began.set()
            await asyncio.get_running_loop().create_future()

    service = make_service(service_of(Hanging), *session_bus.argv, "--stop-timeout", "1h")
    thread = service.startBG()
    with log_of(service) as log, ThreadPoolExecutor(1) as caller:
        said = caller.submit(session_bus.gdbus, NAME, PATH, f"{NAME}.Hang", check=False)
        assert service.requireTask(Hanging).began.wait(30)
        service.shutdown()
        thread.join()
        log.wait_for_line("WARNING:.*Calls cut off, which took too long to finish: 1")
        assert "Error" in said.result(30)
    assert thread.status == 0
