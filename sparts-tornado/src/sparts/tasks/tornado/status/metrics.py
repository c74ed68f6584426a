"""The counters of a service as Prometheus wants them: types, help, units and names that are valid.

Names begin with ``sparts_``, end with the unit, and carry the task as a label, so that one query
reports all tasks: ``sparts_n_failures_total{task="Mailer"}``. The formats are those of
https://prometheus.io/docs/instrumenting/exposition_formats/ and of OpenMetrics 1.0.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from sparts.masking import encodable
from sparts.shown import ours
from sparts.states import TaskState
from sparts.tasks.tornado.status.exposition import Exposition, names_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sparts.counters import Reading
    from sparts.vservice import VService

LEFT_OUT = "sparts_service_samples_left_out"
"""The gauge of samples that no parser would read."""
STATE = "sparts_task_state"
"""The gauge of the states of tasks."""
_QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99", "p99.9": "0.999"}


class ServiceCollector(Collector):
    """Reads a service whenever Prometheus asks, then what the process itself has registered."""

    def __init__(self, service: VService) -> None:
        self.service: VService = ours(service)

    def collect(self) -> Iterator[Metric]:
        """Give all metrics, as Prometheus can read them; in any thread."""
        exposition = Exposition()
        yield from exposition.valid(self._life())
        exposition.names |= {LEFT_OUT, STATE}
        yield self._states()
        readings = self.service.stats.describe_counters()
        families = _Families(readings, exposition.names)
        yield from exposition.valid(families)
        exposition.left_out += families.left_out
        for registered in _registered():
            yield from exposition.valid(registered)
        told = "Samples left out of this answer: a parser would have refused them."
        left_out = Metric(LEFT_OUT, told, "gauge")
        left_out.add_sample(LEFT_OUT, {}, exposition.left_out)
        yield left_out

    def _life(self) -> Iterator[Metric]:
        service = self.service
        asked = service.health.check_results()
        info = Metric("sparts_service", "The service and its version.", "info")
        labels = {"service": service.name, "version": service.VERSION}
        info.add_sample("sparts_service_info", labels, 1)
        yield info
        for name, unit, told, value in (
            ("start_time", "seconds", "When it was started, since the epoch.", service.start_time),
            (
                "ready",
                "",
                "Whether it can be sent work.",
                not any(service.health.readiness(asked).values()),
            ),
            ("healthy", "", "Whether all tasks and vital checks are well.", service.health.healthy),
            ("warnings", "", "How many warnings there are.", len(service.getWarnings())),
        ):
            gauge = Metric(f"sparts_service_{name}", told, "gauge", unit)
            gauge.add_sample(gauge.name, {}, float(value))
            yield gauge
        checks = Metric("sparts_check_ok", "Whether a check is well.", "gauge")
        for name, problem in asked.items():
            checks.add_sample(checks.name, {"check": name}, float(not problem))
        yield checks

    def _states(self) -> Metric:
        states = Metric(STATE, "1 for the state that a task is in.", "gauge")
        all_states = [(state, str(state)) for state in TaskState]
        for name, task in self.service.getChildren().items():
            now, shown = ours(task).state, encodable(name)
            for state, told in all_states:
                states.add_sample(STATE, {"task": shown, "state": told}, float(now is state))
        return states


class _Families:
    """Sorts readings into metric families: one for each name, whichever task it comes from.

    Counters of one name that cannot be one family, since their types differ, are distinguished: the
    later one's name has its task's in it. So it is with one of a name that is taken.
    """

    def __init__(self, readings: Iterable[tuple[str, Reading]], taken: Collection[str]) -> None:
        self._families: dict[str, Metric] = {}
        self._names = set(taken)  # of samples, by which families must not clash either
        self._seen: set[tuple[str, str, tuple[tuple[str, str], ...]]] = set()
        self.left_out = 0
        for task, reading in readings:
            try:
                self._take(task, reading)
            except (ValueError, KeyError, TypeError):  # no type or bound that there is
                self.left_out += 1

    def __iter__(self) -> Iterator[Metric]:
        """Give the families."""
        return iter(self._families.values())

    def _take(self, task: str, reading: Reading) -> None:
        labels = {"task": task} if task else {}
        for name, value in reading.labels.items():
            labels[_label(name, labels)] = encodable(str(value))
        if "le" in reading.labels and reading.kind == "histogram":
            labels["le"] = floatToGoString(labels.pop("exported_le"))  # type: ignore[no-untyped-call]
        if reading.kind not in ("summary", "histogram"):
            kind = "counter" if reading.kind == "counter" else "gauge"
            self._add(task, reading, "", kind, labels, "_total" if kind == "counter" else "")
            return
        what, window = labels.pop("type"), labels.get("window")
        if window is None:
            self._add(task, reading, "", reading.kind, labels, f"_{what}")
            return
        told = what
        if what in _QUANTILES:
            labels["quantile"], told = _QUANTILES[what], "quantile"
        self._add(task, reading, told, "gauge", labels, "")

    def _add(
        self, task: str, reading: Reading, of_window: str, kind: str, labels: Any, suffix: str
    ) -> None:
        own, unit = _named(reading.name, reading.unit, of_window, kind)
        pairs = tuple(sorted(labels.items()))
        for prefix in _prefixes(task):
            family = self._families.get(prefix + own)
            if family is None:
                told = _of_window(reading.help, of_window) or f"{task}.{own}"
                family = self._new_family(prefix + own, kind, unit, told)
            key = (prefix, own + suffix, pairs)
            if family is not None and family.type == kind and key not in self._seen:
                self._seen.add(key)
                family.add_sample(family.name + suffix, labels, reading.value)
                return

    def _new_family(self, name: str, kind: str, unit: str, told: str) -> Metric | None:
        """The family of a name; None if it would clash with one."""
        names = names_of(name, kind)
        if names & self._names:
            return None
        found = self._families[name] = Metric(name, told, kind, unit)
        self._names |= names
        return found


def _registered() -> Iterable[Iterable[Metric]]:
    """Return what the process itself has registered; by collector where one of them fails."""
    try:
        return [list(REGISTRY.collect())]
    except Exception:
        collectors: list[Any] = list(getattr(REGISTRY, "_collector_to_names", ()))
        return map(_collected, collectors)


def _collected(collector: Collector) -> Iterator[Metric]:
    yield from collector.collect()


@lru_cache
def _named(name: str, unit: str, of_window: str, kind: str) -> tuple[str, str]:
    """Return the name of a family without its prefix, and its unit."""
    unit = "" if of_window in ("count", "rate") else _valid(unit).strip("_")
    end = f"_{unit}" if unit else ""
    own = _valid(name).removesuffix("_total" if kind == "counter" else "").removesuffix(end)
    return own + (f"_window_{of_window}" if of_window else "") + end, unit


def _prefixes(task: str) -> Iterator[str]:
    yield "sparts_"
    task = _valid(task)
    yield f"sparts_{task}_"
    yield from (f"sparts_{task}_{number}_" for number in count(2))


def _of_window(told: str, what: str) -> str:
    if not what:
        return told
    return f"{what} over a window of seconds: {told}" if told else f"{what} over a window."


def _valid(name: str) -> str:
    """A name of the letters, digits and ``_`` that Prometheus allows."""
    return re.sub("[^a-zA-Z0-9_]", "_", name)


def _label(name: str, taken: dict[str, str]) -> str:
    """A valid name for a label that is none of ours."""
    found = _valid(name).lstrip("_")
    if not found or found[0].isdigit():
        found = f"label_{found}"
    if found in ("task", "quantile", "le"):
        found = f"exported_{found}"
    while found in taken:
        found += "_"
    return found
