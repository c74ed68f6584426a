"""Counters as services of sparts 0.7 read them."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from sparts.counters import Average, CallbackCounter, Max, Min, SampleType, counter, samples
from sparts.testing import running, running_task, service_of
from sparts.vtask import VTask


class Mailer(VTask):
    LOOPLESS = True
    sent = counter()
    largest = Max()
    unknown = CallbackCounter(lambda: None)
    size = samples(types=[SampleType.AVERAGE, SampleType.COUNT], windows=[60])


def test_counters_of_a_service_are_called() -> None:
    with running_task(Mailer) as task:
        found = task.service.getCounters()["Mailer.sent"]
        one = task.service.getCounter("Mailer.sent")
        task.sent.incrementBy(3)
        assert found() == one() == 3
        assert int(found) == 3
        assert float(one) == 3.0


def test_counter_that_was_read_is_a_number() -> None:
    with running(service_of(Mailer)) as service:
        service.requireTask(Mailer).sent.incrementBy(3)
        found = service.getCounter("Mailer.sent")
        assert (found, found + 1, json.dumps(found)) == (3, 4, "3")
        assert copy.deepcopy(found) == pickle.loads(pickle.dumps(found)) == 3  # noqa: S301


def test_counter_without_a_value_is_shown_nowhere() -> None:
    with running(service_of(Mailer)) as service:
        assert set(service.getCounters()) >= {"Mailer.sent", "Mailer.size.count.60"}
        for name in ("Mailer.largest", "Mailer.unknown", "Mailer.size.avg.60"):
            assert name not in service.getCounters()
            assert service.getCounter(name)() is None
        service.requireTask(Mailer).largest.add(-3)
        assert service.getCounters()["Mailer.largest"]() == -3


@pytest.mark.parametrize("kind", [Average, Max, Min])
def test_extremes_of_nothing_have_no_value(kind: type[Average | Max]) -> None:
    metric = kind()
    assert metric.getvalue() is None
    assert str(metric) == "__None__"
    with pytest.raises(TypeError, match="has no value"):
        int(metric)
    with pytest.raises(TypeError, match="has no value"):
        float(metric)
    metric.add(-3)
    assert (metric(), str(metric)) == (-3, str(metric.getvalue()))


def test_sum_is_reset_to_a_value() -> None:
    total = counter()
    total.increment()
    total.reset(7)
    assert (total(), total.getvalue(), str(total)) == (7, 7, "7")
    total.increment()
    assert total() == 8
    total.reset()
    assert total() == 0


def test_samples_without_a_name_have_no_prefix() -> None:
    recorded = samples(types=[SampleType.COUNT, SampleType.AVERAGE], windows=[100])
    assert recorded.getCounters() == {"count.100": 0}
    recorded.add(4)
    assert recorded.getCounters() == {"count.100": 1, "avg.100": 4}
    assert recorded.getCounter("avg.100") == 4
    assert recorded.getCounter("max.100", None) is None
    with pytest.raises(KeyError, match="There are: count.100, avg.100"):
        recorded.getCounter("max.100")
