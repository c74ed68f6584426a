"""The counters of a service as Prometheus wants them: types, help, units and names that are valid.

Names begin with ``sparts_``, end with the unit, and carry the task as a label, so that one query
reports all tasks: ``sparts_n_failures_total{task="Mailer"}``. The formats are those of
https://prometheus.io/docs/instrumenting/exposition_formats/ and of OpenMetrics 1.0.
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from sparts.escaping import encodable
from sparts.states import TaskState
from sparts.tasks.tornado.status.exposition import Exposition, names_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sparts.counters import Reading
    from sparts.vservice import VService

LEFT_OUT = "sparts_service_samples_left_out"
"""The gauge of samples that no parser would read."""
_QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99", "p99.9": "0.999"}


class ServiceCollector(Collector):
    """Reads a service whenever Prometheus asks, then what the process itself has registered."""

    def __init__(self, service: VService) -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        """Give all metrics, as Prometheus can read them; in any thread."""
        exposition = Exposition()
        yield from exposition.valid(self._life())
        exposition.names |= names_of(LEFT_OUT, "gauge")
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
        states = Metric("sparts_task_state", "1 for the state that a task is in.", "gauge")
        for task in service.getChildren().values():
            now = task.state
            for state in TaskState:
                labels = {"task": task.name, "state": str(state)}
                states.add_sample(states.name, labels, float(now is state))
        yield states


class _Families:
    """Sorts readings into metric families: one for each name, whichever task it comes from.

    Counters of one name that cannot be one family, since their types differ, are distinguished: the
    later one's name has its task's in it. So it is with one of a name that is taken.
    """

    def __init__(self, readings: Iterable[tuple[str, Reading]], taken: Collection[str]) -> None:
        self._families: dict[str, Metric] = {}
        self._names = set(taken)  # of samples, by which families must not clash either
        self._seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
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
        unit = "" if what in ("count", "rate") else reading.unit
        told = what
        if what in _QUANTILES:
            labels["quantile"], told = _QUANTILES[what], "quantile"
        mine = reading._replace(unit=unit, help=_of_window(reading.help, told))
        self._add(task, mine, f"_window_{told}", "gauge", labels, "")

    def _add(
        self, task: str, reading: Reading, more: str, kind: str, labels: Any, suffix: str
    ) -> None:
        unit = _valid(reading.unit).strip("_")
        own = _valid(reading.name).removesuffix("_total" if kind == "counter" else "")
        end = f"_{unit}" if unit else ""
        own = own.removesuffix(end) + more + end
        for prefix in _prefixes(_valid(task)):
            family = self._family(prefix + own, kind, unit, reading.help or f"{task}.{own}")
            key = (own + suffix, (("", prefix), *sorted(labels.items())))
            if family is not None and key not in self._seen:
                self._seen.add(key)
                family.add_sample(family.name + suffix, labels, reading.value)
                return

    def _family(self, name: str, kind: str, unit: str, told: str) -> Metric | None:
        """The family of a name; None if it is of another kind, or would clash with one."""
        names = names_of(name, kind)
        found = self._families.get(name)
        if found is not None:
            return found if found.type == kind else None
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


def _prefixes(task: str) -> Iterator[str]:
    yield "sparts_"
    yield f"sparts_{task}_"
    yield from (f"sparts_{task}_{number}_" for number in count(2))


def _of_window(told: str, what: str) -> str:
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
