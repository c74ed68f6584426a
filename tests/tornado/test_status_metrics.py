"""What Prometheus gets: read by its own parsers, for every kind of counter that there is."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from sparts.counters import (
    Average,
    CallbackCounter,
    Max,
    Min,
    SampleType,
    counter,
    gauge,
    labelled,
    samples,
)
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.running import make_service, service_of
from sparts.testing.waiting import WAIT, log_of
from sparts.vtask import VTask

from tests.tornado.status_clients import client_of, serving

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Mailer(VTask):
    LOOPLESS = True
    sent = counter(help="Mails sent.")
    traffic = counter(help='What was "sent" \\ in\nall.', unit="bytes")
    waiting = gauge(help="Mails that wait.")
    by_host = labelled(counter(help="Mails by host."), "host", "task", "not-valid")
    size = samples(
        types=[SampleType.P50, SampleType.P999, SampleType.AVG, SampleType.RATE],
        windows=[60, 3600],
        help="Size of mails.",
        unit="bytes",
    )
    took_ms = labelled(samples(types=[SampleType.P99, SampleType.MAX], windows=[60]), "host")
    plain = samples(types=[SampleType.AVG])
    mean = Average(help="Mean.")
    most = Max(help="Most.", unit="%")
    least = Min(help="Least.")
    asked = CallbackCounter(lambda: math.nan, help="Asked.")
    broken = CallbackCounter(lambda: 1 / 0, help="Broken.")
    silent = counter()


class Other(VTask):
    LOOPLESS = True
    sent = counter(help="Letters sent.")
    waiting = counter(help="A counter where Mailer has a gauge.")
    size_bytes_count = gauge(help="Clashes with the count of Mailer.size.")
    dotted = counter(name="a.b")
    dashed = counter(name="a-b", help="Has the same valid name.")
    number = gauge(name="1st")


def count_all(service: Any) -> None:
    mailer = service.requireTask(Mailer)
    mailer.sent.add(3)
    mailer.traffic.add(1024)
    mailer.waiting.set(-2)
    mailer.by_host.labels("mx", "a", 'quote " and \\').increment()
    for value in range(1, 101):
        mailer.size.add(value)
    mailer.took_ms.labels("mx").add(5)
    mailer.plain.add(1)
    mailer.plain.add(3)
    mailer.most.add(99)
    service.requireTask(Other).sent.add(4)
    service.requireTask(Other).dashed.add(2)


@pytest.fixture(params=["", OPENMETRICS])
def found(request: pytest.FixtureRequest) -> Any:
    """The families by name, as one of the two parsers reads them from one of the two formats."""
    with serving(Mailer, Other, VERSION="4.5") as service:
        count_all(service)
        answer = client_of(service).ask("/metrics", headers={"Accept": request.param})
    kind = answer.headers["Content-Type"]
    assert kind.startswith("application/openmetrics-text" if request.param else "text/plain")
    return parse(answer.text, request.param)


def parse(text: str, kind: str) -> dict[str, Any]:
    """Give the families of a string by name."""
    read: Any = parse_openmetrics if kind else parse_text
    return {family.name: family for family in read(text)}


def value(families: Any, name: str, **labels: str) -> float:
    """Give the one sample of a name with these labels."""
    samples = [sample for family in families.values() for sample in family.samples]
    (found,) = [each.value for each in samples if each.name == name and each.labels == labels]
    return float(found)


def test_every_kind_of_counter_is_described(found: Any) -> None:
    family = found["sparts_sent"]
    assert (family.type, family.documentation) == ("counter", "Mails sent.")
    assert value(found, "sparts_sent_total", task="Mailer") == 3
    assert value(found, "sparts_sent_total", task="Other") == 4
    family = found["sparts_traffic_bytes"]
    assert (family.type, family.documentation) == ("counter", 'What was "sent" \\ in\nall.')
    assert value(found, "sparts_traffic_bytes_total", task="Mailer") == 1024
    family = found["sparts_waiting"]
    assert (family.type, family.documentation) == ("gauge", "Mails that wait.")
    assert value(found, "sparts_waiting", task="Mailer") == -2
    assert found["sparts_most"].type == "gauge"
    assert "sparts_mean" not in found  # of nothing
    assert value(found, "sparts_most", task="Mailer") == 99
    assert math.isnan(value(found, "sparts_asked", task="Mailer"))
    assert "sparts_broken" not in found
    assert found["sparts_silent"].documentation == "Mailer.silent"


def test_labels_are_valid_and_keep_the_task(found: Any) -> None:
    labels = {"host": "mx", "exported_task": "a", "not_valid": 'quote " and \\'}
    assert value(found, "sparts_by_host_total", task="Mailer", **labels) == 1


def test_samples_with_percentiles_are_a_histogram_of_everything(found: Any) -> None:
    family = found["sparts_size_bytes"]
    assert (family.type, family.documentation) == ("histogram", "Size of mails.")
    assert value(found, "sparts_size_bytes_count", task="Mailer") == 100
    assert value(found, "sparts_size_bytes_sum", task="Mailer") == 5050
    buckets = {
        sample.labels["le"]: sample.value
        for sample in family.samples
        if sample.name == "sparts_size_bytes_bucket" and sample.labels["task"] == "Mailer"
    }
    # The values are 1 to 100: one is not above 1, two are not above 2.
    assert buckets == {
        "0.5": 0, "1.0": 1, "2.0": 2, "4.0": 4, "8.0": 8, "16.0": 16, "32.0": 32, "64.0": 64,
        "128.0": 100, "+Inf": 100,
    }  # fmt: skip
    labels = {"task": "Mailer", "host": "mx"}
    assert value(found, "sparts_took_ms_bucket", le="8.0", **labels) == 1
    assert value(found, "sparts_took_ms_bucket", le="4.0", **labels) == 0
    assert value(found, "sparts_took_ms_sum", **labels) == 5


def test_samples_without_percentiles_are_a_summary_of_everything(found: Any) -> None:
    assert found["sparts_plain"].type == "summary"
    assert value(found, "sparts_plain_count", task="Mailer") == 2
    assert value(found, "sparts_plain_sum", task="Mailer") == 4


def test_what_samples_tell_of_windows_are_gauges(found: Any) -> None:
    for window in ("60", "3600"):
        mine = {"task": "Mailer", "window": window}
        for quantile, about in (("0.5", 50), ("0.999", 100)):
            labels = {**mine, "quantile": quantile}
            told = value(found, "sparts_size_window_quantile_bytes", **labels)
            assert told == pytest.approx(about, rel=0.05)
        assert value(found, "sparts_size_window_avg_bytes", **mine) == 50.5
        assert value(found, "sparts_size_window_rate", **mine) > 0
    for what in ("avg", "quantile"):
        assert found[f"sparts_size_window_{what}_bytes"].type == "gauge"
    labels = {"task": "Mailer", "host": "mx"}
    assert value(found, "sparts_took_ms_window_max", window="60", **labels) == 5


def test_counters_of_two_types_are_distinguished(found: Any) -> None:
    assert found["sparts_Other_waiting"].type == "counter"
    assert value(found, "sparts_Other_waiting_total", task="Other") == 0
    assert found["sparts_Other_size_bytes_count"].type == "gauge"
    assert value(found, "sparts_a_b_total", task="Other") == 0
    assert value(found, "sparts_Other_a_b_total", task="Other") == 2
    assert value(found, "sparts_1st", task="Other") == 0


def test_life_of_service_and_process_is_shown(found: Any) -> None:
    labels = {"service": "Service", "version": "4.5"}
    assert value(found, "sparts_service_info", **labels) == 1
    assert value(found, "sparts_service_ready") == value(found, "sparts_service_healthy") == 1
    assert value(found, "sparts_service_start_time_seconds") > 1e9
    assert value(found, "sparts_service_warnings") == 0
    assert value(found, "sparts_task_state", task="Mailer", state="ALIVE") == 1
    assert value(found, "sparts_task_state", task="Mailer", state="DEAD") == 0
    assert value(found, "process_start_time_seconds") > 1e9


def test_units_are_told_where_the_format_has_them() -> None:
    with serving(Mailer) as service:
        service.requireTask(Mailer).size.add(1)
        text = client_of(service).ask("/metrics", headers={"Accept": OPENMETRICS}).text
    assert "# UNIT sparts_size_bytes bytes\n" in text
    assert "# UNIT sparts_traffic_bytes bytes\n" in text


def test_every_number_of_the_service_is_there() -> None:
    with serving(Mailer, Other) as service:
        count_all(service)
        told = list(service.describe_counters())
        text = client_of(service).ask("/metrics").text
    theirs = [line for line in text.splitlines() if line.startswith("sparts_")]
    life = [line for line in theirs if line.startswith(("sparts_service_", "sparts_task_state"))]
    assert len(theirs) - len(life) == len(told)


def calls_in(function: Callable[[], object]) -> int:
    """Call a function, and return how many calls it makes in this thread."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, arg: events.append(event))
    try:
        function()
    finally:
        sys.setprofile(None)
    return events.count("call") + events.count("c_call")


@pytest.mark.parametrize(("question", "most"), [("metrics", 1300), ("page", 850)])
def test_answer_takes_few_steps_for_each_task(question: str, most: int) -> None:
    """With 10,000 tasks, it has to come within the time limit also on a busy machine."""
    steps = []
    for number in (10, 30):
        tasks = [type(f"Mailer{n}", (Mailer,), {}) for n in range(number)]
        with serving(*tasks) as service:
            ask = service.requireTask(StatusHTTPTask).asker._questions[question]
            ask()
            steps.append(calls_in(ask))
    assert steps[1] - steps[0] < 20 * most


class Stuck(VTask):
    """Has a counter that does not tell its value until it is let go."""

    LOOPLESS = True
    let_go: ClassVar[threading.Event]
    asked: ClassVar[list[int]]

    @CallbackCounter
    def depth(self) -> float:
        self.asked.append(1)
        return self.let_go.wait(WAIT)


@pytest.fixture
def stuck() -> Iterator[None]:
    """Let the counter hang during the test, and no longer."""
    Stuck.let_go, Stuck.asked = threading.Event(), []
    before = set(threading.enumerate())
    yield
    Stuck.let_go.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(WAIT)


@pytest.mark.usefixtures("stuck")
def test_scrapes_of_a_hanging_counter_share_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusHTTPTask, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(StatusHTTPTask, "_sample", lambda task: None)  # it asks by itself
    with serving(Stuck) as service:
        client = client_of(service)
        with ThreadPoolExecutor(8) as scrapers:
            kinds = [{"Accept": kind} for kind in (OPENMETRICS, "text/plain")] * 4
            answers = scrapers.map(lambda kind: client.ask("/metrics", headers=kind), kinds)
            assert [answer.status for answer in answers] == [503] * 8
        assert len(Stuck.asked) == 1
        for path in ("/livez", "/readyz"):
            assert client.ask(path).status == 200
        hanging = [each for each in threading.enumerate() if ".asking" in each.name]
        assert len(hanging) < 6
        Stuck.let_go.set()
        assert "sparts_depth" in client.ask("/metrics").text


@pytest.mark.usefixtures("stuck")
def test_hanging_counter_does_not_fail_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusHTTPTask, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(StatusHTTPTask, "HANGING", 0.0)
    service = make_service(service_of("StatusHTTPTask", Stuck), "--status-port", "0")
    thread = service.startBG()
    assert client_of(service).ask("/metrics").status == 503
    with log_of(service) as log:
        service.shutdown()
        thread.join(WAIT)
        log.wait_for_line("Not waited for: what was asked for metrics")
    assert thread.status == 0
