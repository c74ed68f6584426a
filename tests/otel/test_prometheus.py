"""The alerting rules and the dashboard, tried by promtool and by a Prometheus of the test's own."""

from __future__ import annotations

import http.client
import itertools
import json
import operator
import re
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sparts.otel import alerts, grafana
from sparts.rpc import RPCTask, connect, rpc
from sparts.rpc.errors import InternalError
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.running import running, service_of
from sparts.thrift.client import ThriftClient
from sparts.thrift.fb303 import FacebookService
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.grpc.greeters import GreeterTask, Text, pb2_grpc
from tests.processes import captured

pytestmark = [pytest.mark.needs("prometheus"), pytest.mark.one_python]

WAIT = 60.0


class Failing(QueueTask[int, int]):
    """Gives up every item."""

    ON_ERROR = "log"

    def execute(self, item: int, context: Any) -> int:
        """Fail."""
        raise ValueError(item)


class NotReady(VTask):
    """Is never ready."""

    LOOPLESS = True

    def initTask(self) -> None:  # noqa: N802
        """Say so."""
        super().initTask()
        self.set_ready(False)


class FailingRPC(RPCTask):
    """Fails."""

    @rpc
    def fail(self) -> None:
        """Fail."""
        raise ValueError


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return captured(["promtool", *arguments])


def test_rules_are_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert alerts.main([]) == 0
    file = tmp_path / "rules.yml"
    file.write_text(capsys.readouterr().out)
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts.RULES)} rules found" in done.stdout


@pytest.mark.parametrize("value", ["1h30m", "90s", "0"])
def test_rules_with_a_time_are_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    assert alerts.main(["--for", value, "--slow", "0.5", "--days", "30"]) == 0
    (tmp_path / "rules.yml").write_text(capsys.readouterr().out)
    done = promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "argv", [["--for", "5"], ["--for", ""], ["--for", "5 minutes"], ["--slow", "nan"],
             ["--slow", "-1"], ["--days", "inf"], ["--days", "x"]],
)  # fmt: skip
def test_what_is_no_time_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        alerts.main(argv)
    assert ended.value.code == 2
    assert "is no " in capsys.readouterr().err


UNIT_TESTS = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: 'sparts_service_ready{instance="a"}', values: '0x30'}
  - {series: 'sparts_n_restarts_total{instance="a",task="T"}', values: '0+1x30'}
  - {series: 'sparts_queue_depth{instance="a",task="T"}', values: '0+50x30'}
  - {series: 'sparts_queue_depth{instance="b",task="T"}', values: '5x30'}
  - {series: 'sparts_n_dead_letters_total{instance="a",task="T"}', values: '0+1x30'}
  - {series: 'sparts_n_dead_letters_total{instance="b",task="T"}', values: '9x30'}
  - series: >-
      sparts_request_duration_window_quantile_ms{instance="a",task="T",quantile="0.99",window="60"}
    values: '2000x30'
  - {series: 'sparts_certificate_expires_seconds{instance="a",task="T"}', values: '90000x30'}
  - {series: 'sparts_service_start_time_seconds{instance="c"}', values: '0+60x30'}
  - series: >-
      sparts_call_duration_window_quantile_ms{instance="c",task="T",quantile="0.99",window="60"}
    values: '2000x30'
  - {series: 'sparts_certificate_expires_seconds{instance="b",task="T"}', values: '9000000x30'}
  promql_expr_test:
  - expr: 'count by (alertname, instance) (ALERTS{alertstate="firing"})'
    eval_time: 25m
    exp_samples:
"""


def test_each_rule_fires_for_its_cause_alone(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(alerts.rules())
    expected = "".join(
        f"""    - labels: '{{alertname="{rule.name}", instance="a"}}'\n      value: 1\n"""
        for rule in alerts.RULES
    )
    expected += "".join(
        f"""    - labels: '{{alertname="{name}", instance="c"}}'\n      value: 1\n"""
        for name in ("SpartsCrashLoop", "SpartsSlowCalls")
    )
    (tmp_path / "tests.yml").write_text(UNIT_TESTS + expected)
    done = promtool("test", "rules", str(tmp_path / "tests.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A Prometheus on a free port, which scrapes one target."""

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "rules.yml").write_text(alerts.rules("0s"))
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\n"
            "rule_files: [rules.yml]\n"
            f"scrape_configs: [{{job_name: test, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{found.getsockname()[1]}"
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={self.address}",
            ],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        """Return what its API answers; None while it does not answer yet."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urlopen(url, timeout=WAIT) as answer:
                return json.load(answer)["data"]
        except OSError:
            assert self.process.poll() is None, self.log.seek(0) or self.log.read()
            return None

    def until(self, path: str, come: Any, **query: str) -> Any:
        """Ask until an answer is as wanted."""
        deadline = time.monotonic() + WAIT
        while True:
            found = self.get(path, **query)
            if found is not None and come(found):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)  # nothing tells when it has scraped


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    server = Prometheus(folder, target)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait()
        server.log.close()


def test_prometheus_scrapes_a_service_and_evaluates_rules(tmp_path: Path, pem: str) -> None:
    argv = (
        "--http-host", "127.0.0.1", "--http-port", "0",
        "--http-tls-cert", pem,
        "--status-port", "0",
    )  # fmt: skip
    tasks = (Failing, NotReady, "TornadoHTTPTask", "StatusHTTPTask")
    with running(service_of(*tasks), *argv) as service:
        port = service.requireTask("StatusHTTPTask").bound_addrs[0][1]
        with prometheus(tmp_path / "prometheus", f"127.0.0.1:{port}") as server:
            seen = server.until(
                "query", lambda data: data["result"], query="sparts_certificate_expires_seconds"
            )
            assert float(seen["result"][0]["value"][1]) > time.time()
            task = service.requireTask(Failing)
            for _ in range(3):
                task.queue.put(1)
            server.until(
                "alerts",
                lambda data: (
                    {"SpartsNotReady", "SpartsDeadLetters"}
                    <= {each["labels"]["alertname"] for each in data["alerts"]}
                ),
            )
            firing = {each["labels"]["alertname"] for each in server.get("alerts")["alerts"]}
            assert "SpartsQueueGrowing" not in firing
            for expression in expressions():
                answer = server.get("query", query=expression)
                assert answer is not None, expression


def expressions() -> list[str]:
    found = [
        target["expr"]
        for panel in grafana.dashboard()["panels"]
        for target in panel.get("targets", ())
    ]
    filled = [
        each.replace("$job", ".*").replace("$instance", ".*").replace("$task", ".*")
        .replace("$__rate_interval", "1m") for each in found
    ]  # fmt: skip
    assert not any("$" in each for each in filled)
    return filled


class Doing(QueueTask[int, int]):
    """Does what it should."""

    def execute(self, item: int, context: Any) -> int:
        """Work."""
        return item


class Ticking(PeriodicTask):
    """Runs once."""

    INTERVAL = 3600.0

    def execute(self, context: Any = None) -> None:
        """Work."""


def calls_of(expression: str) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Return what an expression selects: names of metrics, and what their labels must be."""
    return [
        (name, {label: (how, value) for label, how, value in LABEL.findall(labels)})
        for name, labels in re.findall(r"\b((?:sparts|process)_\w+)\{(.*?)\}", expression)
    ]


LABEL = re.compile(r'(\w+)(=~|!~|!=|=)"(.*?)"')
MATCHES: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "=~": lambda value, pattern: re.fullmatch(pattern, value) is not None,
    "!~": lambda value, pattern: re.fullmatch(pattern, value) is None,
}


def call_each_task(service: VService) -> None:
    """Have something to count."""
    service.requireTask(Doing).submit(1).result(WAIT)
    service.requireTask(Ticking).execute_async().result(WAIT)
    port = service.requireTask("TornadoHTTPTask").bound_addrs[0][1]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)) as connection:
        for _ in range(2):  # when the second is answered, the first has been counted
            connection.request("GET", "/")
            connection.getresponse().read()
    thrift = service.requireTask("NBServerTask").bound_port
    with ThriftClient.for_localhost(thrift, module=FacebookService) as client:
        for _ in range(2):
            client.getName()
    rpc_port = service.requireTask(RPCThriftTask).bound_port
    with (
        connect(f"thrift://127.0.0.1:{rpc_port}", FailingRPC) as failing,
        pytest.raises(InternalError),
    ):
        failing.fail()
    with grpc.insecure_channel(
        f"127.0.0.1:{service.requireTask(GreeterTask).bound_addrs[0][1]}"
    ) as channel:
        stub = pb2_grpc.GreeterStub(channel)
        stub.Greet(Text(text="you"), timeout=WAIT)
        with pytest.raises(grpc.RpcError):
            stub.Greet(Text(text="code"), timeout=WAIT)


def test_every_query_of_the_dashboard_finds_samples(tmp_path: Path) -> None:
    tasks = (
        Doing, Ticking, "TornadoHTTPTask", "StatusHTTPTask", "NBServerTask", "FB303HandlerTask",
        "SelectTask", "CommandTask", "DBusServiceTask", "TornadoHTTPClientTask",
        "AMQPPublisherTask", "DirectoryWatcherTask", GreeterTask, FailingRPC, RPCThriftTask,
    )  # fmt: skip
    argv = (
        "--http-host", "127.0.0.1", "--http-port", "0", "--status-port", "0",
        "--thrift-host", "127.0.0.1", "--thrift-port", "0",
        "--dbus-optional", "--dbus-address", "unix:path=/nowhere", "--dbus-bus-name", "a.b",
        "--AMQPPublisherTask-broker", "amqp://127.0.0.1:1/",
        "--DirectoryWatcherTask-path", str(tmp_path),
        "--grpc-host", "127.0.0.1", "--grpc-port", "0", "--rpc-thrift-host", "127.0.0.1",
        "--rpc-thrift-port", "0",
    )  # fmt: skip
    with running(service_of(*tasks), *argv) as service:
        call_each_task(service)
        status = service.requireTask("StatusHTTPTask").bound_addrs[0][1]
        with urlopen(f"http://127.0.0.1:{status}/metrics", timeout=WAIT) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    there = [sample for family in families for sample in family.samples]
    for expression in expressions():
        selected = calls_of(expression)
        assert selected, expression
        assert any(
            sample.name == name
            and all(
                label in ("job", "instance") or MATCHES[how](sample.labels.get(label, ""), value)
                for label, (how, value) in wanted.items()
            )
            for name, wanted in selected
            for sample in there
        ), expression


def test_dashboard_is_json_with_row_for_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert grafana.main([]) == 0
    board = json.loads(capsys.readouterr().out)
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows[0] == "Overview"
    assert len(rows) == len(set(rows)) == len(grafana.ROWS)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        x, y, wide, high = (panel["gridPos"][side] for side in "xywh")
        assert x + wide <= 24
        places = set(itertools.product(range(x, x + wide), range(y, y + high)))
        assert not places & taken, panel["title"]
        taken |= places
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert len(letters) == len(set(letters))


@pytest.mark.parametrize("command", ["grafana", "alerts"])
def test_commands_work_without_arguments(command: str) -> None:
    done = captured([sys.executable, "-m", "sparts", command])
    assert done.returncode == 0, done.stderr
    assert "sparts_service_ready" in done.stdout
