"""No secret leaves a service: one is put into every field there is, and every output is read."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sparts.counters import CallbackCounter, counter, labelled
from sparts.errors import OptionError
from sparts.options import option
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.tasks.tornado.status.page import describe_page
from sparts.testing.running import running
from sparts.thrift.client import ThriftClient
from sparts.thrift.fb303 import FacebookService
from sparts.vservice import VService
from sparts.vtask import VTask
from thrift.Thrift import TApplicationException

from tests.dbus.daemons import Daemon
from tests.processes import captured, clean_environment, output_of

SECRET = "hunter2-of-the-test"


class Told(VTask):
    """Tells the secret wherever a task can tell something."""

    LOOPLESS = True
    OPT_PREFIX = "told"
    url = option(default="", help="an option that is not declared to be secret, and holds one")
    number = option(type=int, default=1)
    by_host = labelled(counter(help="By host."), "host")
    broken = CallbackCounter(lambda: float(SECRET), help="Broken.")
    ill = False

    def initTask(self) -> None:  # noqa: N802
        service = self.service
        service.registerWarning(f"the database refused {SECRET}")
        service.setExportedValue("url", f"db://{SECRET}@host")
        service.setExportedValue(f"name-{SECRET}", "value")
        service.add_check(f"checks {SECRET}", self.fail)
        self.by_host.labels(SECRET).increment()

    def fail(self) -> None:
        raise ValueError(f"cannot log in with {SECRET}")

    @property
    def healthy(self) -> bool:
        if self.ill:
            self.fail()
        return True


class Vault(VService):
    """A service whose only secret is the password."""

    TASKS = [Told, StatusHTTPTask, FB303HandlerTask, NBServerTask]
    password = option(secret=True)

    def setOption(self, name: str, value: Any) -> None:  # noqa: N802
        raise OptionError(f"{name} cannot be {value!r} while the password is {SECRET}")


ARGV = [
    *("--password", SECRET, "--told-url", f"http://{SECRET}@host/"),
    *("--status-port", "0", "--thrift-host", "127.0.0.1"),
]


@contextmanager
def vault(*argv: str) -> Iterator[Any]:
    with running(Vault, *ARGV, *argv) as service:
        service.requireTask(Told).ill = True
        yield service


FB303_CALLS: list[tuple[Any, ...]] = [
    *(("getStatusDetails",), ("getExportedValues",), ("getOptions",), ("getCounters",)),
    *(("getExportedValue", "url"), ("getSelectedExportedValues", ["url"])),
    *(("getRegexExportedValues", "url"), ("getOption", "told_url")),
]
OUR_CALLS = [
    *(("describe",), ("getHealth",), ("getOptions",), ("getOption", "told_url"), ("getCounters",)),
    *(("getExportedValues",), ("getExportedValue", "url"), ("getWarnings",)),
]


def assert_masked(texts: dict[str, str], *silent: str) -> None:
    assert [name for name, text in texts.items() if SECRET in text] == []
    assert [name for name, text in texts.items() if "********" not in text] == list(silent)


def test_no_secret_is_in_what_a_service_tells() -> None:
    with vault() as service:
        told = {
            "describe": service.describe(),
            "details": service.status_details(),
            "warnings": service.getWarnings(),
            "values": service.getExportedValues(),
            "value": service.getExportedValue("url"),
            "selected": service.getSelectedExportedValues(["url"]),
            "pattern": service.getRegexExportedValues("url"),
            "options": service.getOptions(),
            "liveness": service.liveness(),
            "readiness": service.readiness(),
            "checks": service.failing_checks(),
            "counters": service.getCounters(),
            "readings": list(service.describe_counters()),
        }
        assert_masked({name: repr(value) for name, value in told.items()})
        assert service.options.password == SECRET  # the service itself knows it


def test_no_secret_leaves_over_http() -> None:
    from tests.tornado.status_clients import client_of

    with vault() as service:
        client = client_of(service)
        paths = ("/livez", "/readyz", "/metrics", "/status.json", "/stacks", "/")
        told = {path: client.ask(path).text for path in paths}
        told["/events"] = json.dumps(describe_page(service.requireTask(StatusHTTPTask)))
        assert_masked(told, "/stacks", "/")


def test_no_secret_leaves_over_thrift() -> None:
    with vault() as service:
        port = service.requireTask(NBServerTask).bound_addrs[0][1]
        with ThriftClient.for_localhost(port, FacebookService) as client:
            told = {name: repr(client.call(name, *args)) for name, *args in FB303_CALLS}
            with pytest.raises(TApplicationException) as refused:
                client.setOption("told_number", "many")
    assert_masked({**told, "error": str(refused.value)})


@pytest.mark.needs("dbus")
def test_no_secret_leaves_over_d_bus(tmp_path: Path) -> None:
    class OnBus(Vault):
        TASKS = [*Vault.TASKS, "DBusServiceTask"]

    with Daemon(tmp_path / "bus") as bus:
        argv = ("--dbus-address", bus.address, "--dbus-control", "--dbus-bus-name", "org.x.Vault")
        with running(OnBus, *ARGV, *argv) as service:
            service.requireTask(Told).ill = True
            ask = service.requireTask("DBusServiceTask").proxy
            ours = ask("org.x.Vault", "/OnBus/sparts", "org.sparts.Service")
            theirs = ask("org.x.Vault", "/OnBus/fb303", "com.facebook.fb303.Service")
            told = {"StatusDetails": ours.get("StatusDetails")}
            for proxy, calls in ((ours, OUR_CALLS), (theirs, FB303_CALLS)):
                for method, *args in calls:
                    told[f"{proxy} {method}"] = repr(proxy.call(method, *args))
            for proxy in (ours, theirs):
                with pytest.raises(Exception, match="cannot be") as refused:
                    proxy.call("setOption", "told_number", "many")
                told[f"{proxy} error"] = str(refused.value)
    assert_masked(told)


def test_no_secret_is_told_to_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with vault():
            told = ""
            while "refused" not in told:
                told = manager.recv(65536).decode()
        assert_masked({"STATUS": told})


SERVICE = f"""
import sys
from sparts.errors import OptionError, UsageError
from sparts.options import option
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.tasks.tornado.status.page import describe_page
from sparts.vservice import VService
from sparts.vtask import VTask

class Broken(Exception):
    pass

class Told(VTask):
    LOOPLESS = True
    url = option(default="http://{SECRET}@host/")
    def check(self):
        self.service.fail_at("check")
    def initTask(self):
        self.service.fail_at("initTask")

class Vault(VService):
    TASKS = [Told]
    password = option(secret=True)
    where = option(default="")
    def __init__(self, ns):
        super().__init__(ns)
        self.fail_at("init")
    def fail_at(self, place):
        how, _, where = self.options.where.partition("@")
        if where == place:
            if how == "log":
                self.logger.error("in the log: %s", self.options.password)
                raise Broken
            raise {{"usage": UsageError, "option": OptionError, "bug": ValueError}}[how](
                f"not with {{self.options.password}}")
    def preprocessOptions(self):
        self.fail_at("preprocess")

Vault.initFromCLI()
"""


@pytest.mark.parametrize("how", ["usage", "option", "bug", "log"])
@pytest.mark.parametrize(
    ("where", "flags"),
    [
        ("init", []),
        ("preprocess", []),
        ("preprocess", ["--dryrun"]),
        ("preprocess", ["--daemon", "--pidfile", "p"]),
        ("check", ["--dryrun"]),
        ("initTask", []),
        ("initTask", ["--daemon", "--pidfile", "p"]),
    ],
)
def test_no_secret_is_in_error_of_start(
    how: str, where: str, flags: list[str], tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    command = [sys.executable, "service.py", "--where", f"{how}@{where}", *flags]
    env = clean_environment(VAULT_PASSWORD=SECRET)
    done = captured(command, cwd=tmp_path, env=env, stderr=subprocess.STDOUT)
    assert done.returncode == (2 if how in ("usage", "option") else 1), done
    assert_masked({"output": done.stdout})


def test_option_that_holds_secret_is_shown_without_it(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    env = clean_environment(VAULT_PASSWORD=SECRET)
    shown = output_of([sys.executable, "service.py", "--show-config"], cwd=tmp_path, env=env)
    assert_masked({"output": shown})
    assert json.dumps("http://********@host/") in shown
