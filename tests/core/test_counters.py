"""Counters: per instance, exact under threads, and what transports see of them."""

from __future__ import annotations

import logging
import threading

import pytest
from sparts.counters import (
    Average,
    CallbackCounter,
    Count,
    Max,
    Min,
    Reading,
    Sum,
    counter,
    counters_of,
    gauge,
    labelled,
    metrics_of,
    read_counters,
    samples,
)
from sparts.counters.sampling import SampleType

from tests.threads import in_threads, run_in_threads


class Mailer:
    """Something that counts."""

    sent = counter(help="mails sent", unit="mails")
    depth = gauge()
    by_host = labelled(counter(help="by host"), "host", "ok")
    size = samples(types=[SampleType.MAX, SampleType.COUNT], windows=[60, 600], unit="bytes")

    def __init__(self) -> None:
        self.waiting = 3

    @CallbackCounter
    def backlog(self) -> float:
        """Mails that wait."""
        return self.waiting


def test_counter_is_a_sum() -> None:
    total = counter()
    total.increment()
    total.incrementBy(4)
    total.add(0.5)
    assert isinstance(total, Sum)
    assert (total(), int(total), float(total)) == (5.5, 5, 5.5)
    total.reset()
    assert total() == 0


def test_count_counts_calls_and_not_values() -> None:
    calls = Count()
    calls.add(100)
    calls.incrementBy(100)
    calls.increment()
    assert calls() == 3


def test_average_and_extremes_include_negative_values() -> None:
    average, largest, smallest = Average(), Max(), Min()
    assert (average(), largest(), smallest()) == (None, None, None)
    for value in (-7, -1, -4):
        for metric in (average, largest, smallest):
            metric.add(value)
    assert (average(), largest(), smallest()) == (-4, -1, -7)
    for metric in (average, largest, smallest):
        metric.reset()
    assert (average(), largest(), smallest()) == (None, None, None)


def test_gauge_goes_up_and_down() -> None:
    level = gauge()
    level.set(10)
    level.decrement()
    level.add(-2)
    level.increment()
    assert level() == 8


def test_each_instance_counts_by_itself() -> None:
    first, second = Mailer(), Mailer()
    first.sent.increment()
    first.size.add(10)
    first.by_host.labels("a", True).increment()
    assert (first.sent(), second.sent()) == (1, 0)
    assert second.size.getCounter("size.count.60") == 0
    assert second.by_host.labels("a", True)() == 0
    assert Mailer.sent() == 0


def test_subclass_and_base_count_apart_and_may_redefine() -> None:
    class Loud(Mailer):
        sent = Count()

    loud = Loud()
    loud.sent.add(5)
    assert (loud.sent(), Mailer().sent()) == (1, 0)
    assert counters_of(loud)["sent"]() == 1


def test_class_without_dict_is_told_what_is_missing() -> None:
    class Slotted:
        __slots__ = ()
        hits = counter()

    with pytest.raises(TypeError, match=r"Slotted\.hits counts per instance"):
        _ = Slotted().hits


def test_first_access_by_many_threads_makes_one_counter(often_switching: None) -> None:
    for _ in range(50):
        mailer = Mailer()
        run_in_threads(*[lambda mailer=mailer: mailer.sent.increment()] * 8)
        assert mailer.sent() == 8


def test_exact_with_32_threads_adding(often_switching: None) -> None:
    mailer = Mailer()
    average = Average()
    rounds = 2000

    def work() -> None:
        for value in range(rounds):
            mailer.sent.increment()
            mailer.depth.add(2)
            mailer.by_host.labels("a", 1).increment()
            mailer.size.add(value)
            average.add(value)

    run_in_threads(*[work] * 32)
    assert mailer.sent() == 32 * rounds
    assert mailer.depth() == 64 * rounds
    assert mailer.by_host.labels("a", 1)() == 32 * rounds
    assert mailer.size.totals() == (32 * rounds, 32 * sum(range(rounds)))
    assert average() == sum(range(rounds)) / rounds


def test_addition_that_is_interrupted_in_middle_loses_nothing() -> None:
    total = counter()
    total.add(1)  # each thread has added before, so that the next addition reads what there is
    in_the_middle, done = threading.Event(), threading.Event()

    class Slow(int):
        """A number that lets another thread add while it is being added."""

        def __radd__(self, other: int) -> int:
            in_the_middle.set()
            done.wait(10)
            return other + int(self)

    def other() -> None:
        total.add(10)
        in_the_middle.wait(10)
        total.increment()
        total.add(100)
        done.set()

    with in_threads(other):
        total.add(Slow(1000))
    assert total() == 1112


def test_counters_of_gives_names_in_declared_order() -> None:
    mailer = Mailer()
    mailer.by_host.labels(ok="yes", host='a"b\\c').increment()
    mailer.backlog  # noqa: B018 - the first access must not change the order
    mailer.extra = CallbackCounter(lambda: 7)  # type: ignore[attr-defined]
    assert list(read_counters(counters_of(mailer)).items()) == [
        ("sent", 0),
        ("depth", 0),
        ('by_host{host="a\\"b\\\\c",ok="yes"}', 1),
        ("size.count.60", 0),
        ("size.count.600", 0),
        ("backlog", 3),
        ("extra", 7),
    ]


def test_a_given_name_replaces_that_of_the_attribute() -> None:
    class Named:
        hits = counter(name="requests")
        answer = CallbackCounter(lambda: 42, name="of_all")

    named = Named()
    named.hits.increment()
    assert read_counters(counters_of(named)) == {"requests": 1, "of_all": 42}


def test_labelled_samples_keep_the_family_name_first() -> None:
    class Server:
        latency = labelled(samples(types=[SampleType.MAX], windows=[60], unit="ms"), "route")

    server = Server()
    server.latency.labels("/").add(4)
    assert read_counters(counters_of(server)) == {'latency{route="/"}.max.60': 4}
    labels = {"route": "/", "type": "max", "window": "60"}
    assert list(metrics_of(server)) == [
        Reading("latency", "summary", "", "ms", labels, 4),
        Reading("latency", "summary", "", "ms", {"route": "/", "type": "count"}, 1),
        Reading("latency", "summary", "", "ms", {"route": "/", "type": "sum"}, 4),
    ]


@pytest.mark.parametrize(
    ("values", "named"), [(("a",), {}), ((), {"host": "a"}), (("a",), {"ok": 1}), ((), {})]
)
def test_wrong_labels_are_error_that_names_right_ones(
    values: tuple[str, ...], named: dict[str, object]
) -> None:
    with pytest.raises(TypeError, match="'by_host' has the labels host, ok"):
        Mailer().by_host.labels(*values, **named)


def test_labelled_needs_labels() -> None:
    with pytest.raises(TypeError, match="names of the labels"):
        labelled(counter())


def test_combinations_of_labels_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    class Site:
        hits = labelled(counter(), "path", limit=10)

    site = Site()
    for number in range(100):
        site.hits.labels(number).increment()
    values = read_counters(counters_of(site))
    assert len(values) == 11
    assert values['hits{path="other"}'] == 90
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_reset_family_goes_on_counting_in_combinations_held() -> None:
    """As servers hold them for their requests."""
    mailer = Mailer()
    held = mailer.by_host.labels("a", "no")
    for _ in range(2):
        held.increment()
        assert read_counters(counters_of(mailer))['by_host{host="a",ok="no"}'] == 1
        mailer.by_host.reset()
        assert read_counters(counters_of(mailer))['by_host{host="a",ok="no"}'] == 0
    assert mailer.by_host.labels("a", "no") is held


def test_walk_gives_type_help_unit_labels_and_value() -> None:
    mailer = Mailer()
    mailer.sent.increment()
    mailer.by_host.labels("a", "no").increment()
    found = list(metrics_of(mailer))
    assert found[0] == Reading("sent", "counter", "mails sent", "mails", {}, 1)
    assert found[1].kind == "gauge"
    assert found[2] == Reading("by_host", "counter", "by host", "", {"host": "a", "ok": "no"}, 1)
    assert found[-1] == Reading("backlog", "gauge", "Mails that wait.", "", {}, 3)


def test_raising_callback_is_logged_once_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    mailer = Mailer()
    counters = counters_of(mailer)
    del mailer.waiting
    for _ in range(3):
        assert "backlog" not in read_counters(counters)
        assert "backlog" not in [reading.name for reading in metrics_of(mailer)]
        assert read_counters(counters)["sent"] == 0
    assert len(caplog.records) == 1
    assert "'backlog'" in caplog.text
    assert "AttributeError" in caplog.text
    with pytest.raises(AttributeError):
        counters["backlog"]()
    mailer.waiting = 5
    assert read_counters(counters)["backlog"] == 5
    del mailer.waiting
    read_counters(counters)
    assert len(caplog.records) == 2


def test_callback_that_gives_no_number_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    broken = CallbackCounter(lambda: "many", name="broken")  # type: ignore[arg-type,return-value]
    assert read_counters({"broken": broken}) == {}
    assert "broken" in caplog.text


def test_counter_that_raises_anything_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Cancelled(BaseException):
        pass

    def fail() -> float:
        raise Cancelled

    counters = {"broken": CallbackCounter(fail, name="broken"), "whole": CallbackCounter(lambda: 7)}
    assert read_counters(counters) == {"whole": 7}
    assert "Counter 'broken' left out" in caplog.text
