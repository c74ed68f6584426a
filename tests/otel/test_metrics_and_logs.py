"""Counters as metrics, log lines by OTLP, settings, and the dry run."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sparts import calls
from sparts.builtin.dryrun import dry_run
from sparts.counters import CallbackCounter, counter, gauge, labelled, samples
from sparts.errors import PluginError
from sparts.tasks.queue import QueueTask
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT
from sparts.vtask import VTask

from tests.otel.collector import Collector, attributes


class Counting(QueueTask[int, int]):
    """Has one counter of each kind."""

    eaten = counter(help="Apples eaten.", unit="apples")
    level = gauge(help="How full it is.", unit="bytes")
    by_kind = labelled(counter(help="By kind."), "kind")
    took = samples(windows=[60], help="How long.", unit="ms")

    def execute(self, item: int, context: Any) -> int:
        """Count."""
        self.eaten.add(item)
        self.level.set(7)
        self.by_kind.labels("red").increment()
        self.took.add(5.0)
        self.logger.warning("Ate %d", item)
        return item


def send(endpoint: str, *argv: str) -> None:
    """Let a service send a span, and end."""
    argv = ("--otel-endpoint", endpoint, *argv) if endpoint else argv
    with running(service_of(Counting), *argv) as service:
        service.requireTask(Counting).submit(3).result(WAIT)


def test_every_counter_is_a_metric(collector: Collector) -> None:
    unhashable = service_of(Counting, __eq__=lambda self, other: self is other, __hash__=None)
    with running(unhashable, "--otel-endpoint", collector.endpoint) as service:
        service.requireTask(Counting).submit(3).result(WAIT)
        expected = {
            f"sparts.{reading.name}"
            for _, reading in service.stats.describe_counters()
            if reading.kind in ("counter", "gauge")
        }
    assert expected <= collector.metrics.keys()
    eaten = collector.metrics["sparts.eaten"]
    assert (eaten.description, eaten.unit) == ("Apples eaten.", "apples")
    assert eaten.sum.is_monotonic
    assert eaten.sum.data_points[0].as_int == 3
    assert attributes(eaten.sum.data_points[0].attributes) == {"sparts.task": "Counting"}
    assert collector.metrics["sparts.level"].gauge.data_points[0].as_int == 7
    (red,) = collector.metrics["sparts.by_kind"].sum.data_points
    assert attributes(red.attributes) == {"sparts.task": "Counting", "kind": "red"}
    assert collector.metrics["sparts.took"].gauge.data_points
    assert "sparts.service.ready" in collector.metrics


def test_log_lines_are_sent_if_wanted(collector: Collector) -> None:
    argv = ("--otel-endpoint", collector.endpoint, "--otel-logs")
    with running(service_of(Counting), *argv) as service:
        service.requireTask(Counting).submit(3).result(WAIT)
        handlers = len(logging.getLogger().handlers)
    assert len(logging.getLogger().handlers) == handlers - 1
    line = next(line for line in collector.logs if line.body.string_value == "Ate 3")
    span = collector.span("Counting")
    assert (line.severity_text, line.trace_id, line.span_id) == ("WARNING", span.trace, span.id)


def test_log_lines_are_not_sent_by_default(collector: Collector) -> None:
    send(collector.endpoint)
    assert collector.logs == []


def test_variables_of_opentelemetry_go_first(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=red")
    send("http://127.0.0.1:1")
    resource = collector.span("Counting").resource
    assert (resource["service.name"], resource["team"]) == ("other", "red")


def test_sampling_is_the_sdks(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    send(collector.endpoint)
    assert collector.spans == []
    assert collector.metrics


def test_disabled_sdk_sends_nothing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with running(service_of(Counting), "--otel-endpoint", collector.endpoint) as service:
        assert service.requireTask(Counting)._call_wrappers == []
        service.requireTask(Counting).submit(3).result(WAIT)
    assert not collector.spans
    assert not collector.metrics


@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, {"metrics"}),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "console, otlp"},
         {"spans", "logs"}),
    ],
)  # fmt: skip
def test_variables_choose_what_is_sent(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sent: set[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    send(collector.endpoint)
    assert {name for name in ("spans", "metrics", "logs") if getattr(collector, name)} == sent


def test_endpoint_of_one_signal_is_for_it_alone(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.endpoint}/v1/traces")
    send("")
    assert collector.spans
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "must be a URL of http"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10", "variable OTEL_.*: max_export_batch_size must be less"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-5", "variable OTEL_.*: interval value"),
    ],
)
def test_variable_that_cannot_hold_is_a_usage_error(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    variable: str, value: str, message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(variable, value)
    cls = service_of(Counting)
    with pytest.raises(PluginError, match=message):
        cls.from_args(["--otel-endpoint", collector.endpoint]).startBG()
    assert not calls._clients
    assert "The last telemetry" not in caplog.text


class Idle(VTask):
    """Does nothing."""

    LOOPLESS = True


@pytest.mark.parametrize(("reachable", "status"), [(True, 0), (False, 1)])
def test_dry_run_checks_the_endpoint(
    collector: Collector, capsys: pytest.CaptureFixture[str], reachable: bool, status: int
) -> None:
    endpoint = collector.endpoint if reachable else "http://127.0.0.1:1"
    cls = service_of(Idle)
    service = cls.from_args(["--dryrun", "--otel-endpoint", endpoint])
    assert dry_run(cls, service.options) == status
    assert ("No collector answers at" in capsys.readouterr().out) is not reachable


@pytest.mark.parametrize(("headers", "status"), [("x-token=secret", 0), ("x-token=other", 1)])
def test_dry_run_sends_the_headers_of_telemetry(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, headers: str, status: int
) -> None:
    collector.token = "secret"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    cls = service_of(Idle)
    argv = ["--dryrun", "--otel-endpoint", collector.endpoint]
    assert dry_run(cls, cls.from_args(argv).options) == status


class Odd(Counting):
    """Counts, logs and raises what UTF-8 and OTLP cannot carry."""

    ON_ERROR = "log"
    huge = CallbackCounter(lambda: 10**400)
    large = CallbackCounter(lambda: 2**63)
    by_name = labelled(counter(help="By name."), "name")

    def execute(self, item: int, context: Any) -> int:
        """Work with a file whose name is no UTF-8."""
        self.by_name.labels("caf\udce9").increment()
        self.logger.warning("caf\udce9")
        raise ValueError("caf\udce9")


def test_what_cannot_be_sent_keeps_nothing_else_back(collector: Collector) -> None:
    argv = ("--otel-endpoint", collector.endpoint, "--otel-logs")
    with running(service_of(Odd, Counting), *argv) as service:
        with pytest.raises(ValueError, match="caf"):
            service.requireTask(Odd).submit(1).result(WAIT)
        service.requireTask(Counting).submit(3).result(WAIT)
    assert collector.span("Odd").events["exception"]["exception.message"] == "caf\\udce9"
    assert {"caf\\udce9", "Ate 3"} < {line.body.string_value for line in collector.logs}
    (point,) = collector.metrics["sparts.by_name"].sum.data_points
    assert attributes(point.attributes)["name"] == "caf\\udce9"
    assert collector.metrics["sparts.large"].gauge.data_points[0].as_double == 2.0**63
    assert "sparts.huge" not in collector.metrics
