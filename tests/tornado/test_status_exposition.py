"""Whatever a service counts, Prometheus' two parsers read all of `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.exposition import generate_latest as as_text
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.registry import Collector
from sparts.counters import CallbackCounter, Reading, SampleType, counter, gauge, labelled, samples
from sparts.tasks.tornado.status import metrics as status_metrics
from sparts.tasks.tornado.status.metrics import LEFT_OUT, ServiceCollector
from sparts.testing.running import make_service, service_of
from sparts.vtask import VTask

from tests.tornado.status_clients import client_of, serving
from tests.tornado.test_status_metrics import OPENMETRICS, parse

ENCODERS: list[Any] = [as_text, as_openmetrics]


class Given(Collector):
    """Gives what a test says."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> list[Metric]:
        return self.families


def parsed(collector: Collector) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what a collector gives in both formats; give the families by name."""
    families: Any = Given(list(collector.collect()))
    text, openmetrics = (encode(families).decode() for encode in ENCODERS)
    return parse(text, ""), parse(openmetrics, OPENMETRICS)


def values(families: dict[str, Any], name: str) -> list[tuple[dict[str, str], float]]:
    found = [sample for family in families.values() for sample in family.samples]
    return [(sample.labels, sample.value) for sample in found if sample.name == name]


def giving(value: Any) -> CallbackCounter:
    """Give a counter of one value."""
    return CallbackCounter(lambda: value)


class Odd(VTask):
    """Counts what no parser takes."""

    LOOPLESS = True
    by_file = labelled(counter(help="By \udce9 file."), "file")
    huge = giving(10**400)
    named = gauge(name="service")  # a family of ours, as the next four
    task_state = gauge()
    check_ok = counter()
    service_ready = gauge()
    service_samples_left_out = gauge()
    sunk = counter()
    lost_created = gauge()
    lost = counter()
    below = samples(types=[SampleType.P50, SampleType.AVG], windows=[60])
    under = samples(types=[SampleType.AVG])
    exact = giving(Decimal("1.5"))
    third = giving(Fraction(1, 4))


@pytest.mark.parametrize("kind", ["", OPENMETRICS])
def test_unparseable_samples_are_left_out_and_counted(kind: str) -> None:
    with serving(Odd) as service:
        task = service.requireTask(Odd)
        task.named.set(7)
        task.by_file.labels("caf\udce9").add(2)
        task.by_file.labels("plain").add(1)
        task.task_state.set(8)
        task.service_ready.set(9)
        task.sunk.add(-1)
        for metric in (task.below, task.under):
            metric.add(-5)
        answer = client_of(service).ask("/metrics", headers={"Accept": kind})
    assert answer.status == 200
    families = parse(answer.text, kind)
    files = {labels["file"]: value for labels, value in values(families, "sparts_by_file_total")}
    assert files == {"caf\\udce9": 2, "plain": 1}
    assert values(families, "sparts_huge") == []
    assert values(families, "sparts_sunk_total") == []
    assert values(families, "sparts_Odd_task_state") == [({"task": "Odd"}, 8)]
    assert values(families, "sparts_Odd_service_ready") == [({"task": "Odd"}, 9)]
    assert values(families, "sparts_service_ready") == [({}, 1)]
    assert values(families, "sparts_exact") == [({"task": "Odd"}, 1.5)]
    assert values(families, "sparts_third") == [({"task": "Odd"}, 0.25)]
    assert values(families, "sparts_below_sum") == []
    assert values(families, "sparts_Odd_service") == [({"task": "Odd"}, 7)]
    # A negative counter, two sums and a count.
    ((_, left_out),) = values(families, LEFT_OUT)
    assert left_out >= 4


class Broken(Collector):
    """A collector of somebody else that fails."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        raise RuntimeError("broken")


def test_collectors_of_others_cannot_break_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    Gauge("sparts_service_ready", "Ours has that name.", registry=registry).set(1)
    Gauge("theirs", "Fine \udce9.", ["label"], registry=registry).labels("\udce9").set(2)
    Gauge("too_large", "Raises.", registry=registry).set_function(lambda: 10**400)
    registry.register(Broken())
    Counter("requests", "Fine.", registry=registry).inc(3)
    monkeypatch.setattr(status_metrics, "REGISTRY", registry)
    service = make_service(service_of(VTask))
    for families in parsed(ServiceCollector(service)):
        assert values(families, "theirs") == [({"label": "\\udce9"}, 2)]
        assert values(families, "requests_total") == [({}, 3)]
        assert len(values(families, "sparts_service_ready")) == 1
        ((_, left_out),) = values(families, LEFT_OUT)
        assert left_out == 3


WORDS = st.text(max_size=5) | st.sampled_from(
    ["service", "service_ready", "task_state", "check_ok", "a", "a_total", "a_sum", "a_created",
     "a_info", "a_bucket", "le", "task", "quantile", "\udce9", "\n", "\r", "a\u2028b", '"', "\\"]
)  # fmt: skip
NUMBERS: st.SearchStrategy[Any] = (
    st.floats()
    | st.integers(-3, 3)
    | st.sampled_from([10**400, -(10**400), None, "text", 1j, Decimal("1e999"), True])
)
LABELS = st.dictionaries(WORDS, st.text(max_size=3) | st.characters(categories=["Cs"]), max_size=3)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    kind = draw(st.sampled_from(["counter", "gauge", "summary", "histogram"]))
    labels: dict[str, str] = dict(draw(LABELS))
    if kind in ("summary", "histogram"):
        labels["type"] = draw(st.sampled_from(["sum", "count", "bucket"]))
        if labels["type"] == "bucket":
            labels["le"] = draw(st.sampled_from(["-4", "1", "+Inf", "inf", "nan", "x"]))
    if kind == "summary" and draw(st.booleans()):
        labels["type"] = draw(st.sampled_from(["p50", "avg", "max", "rate"]))
        labels["window"] = "60"
    return Reading(draw(WORDS), kind, draw(WORDS), draw(WORDS), labels, draw(NUMBERS))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "Task", "a", "Größe"]), readings()), max_size=8))
def test_any_readings_are_read_by_both_parsers(given: list[tuple[str, Reading]]) -> None:
    service = make_service(service_of(VTask))
    service.stats.describe_counters = lambda: iter(given)  # type: ignore[method-assign]
    for families in parsed(ServiceCollector(service)):
        assert LEFT_OUT in families
