"""What Prometheus can read: metric families without a name, label or value that its parsers refuse.

The rules are those of OpenMetrics 1.0, which are stricter than those of the text format.
"""

from __future__ import annotations

import re
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from prometheus_client import Metric
from sparts.masking import encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.samples import Sample

_Labels: TypeAlias = "tuple[tuple[str, str], ...]"

SUFFIXES = {
    "counter": ("", "_total", "_created"),
    "summary": ("", "_count", "_sum", "_created"),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
    "gaugehistogram": ("", "_bucket", "_gcount", "_gsum"),
    "info": ("", "_info"),
}
"""What the names of samples end with, by the type of their family; of other types: nothing."""
_WHOLE = ("_count", "_bucket", "_gcount")
_GROWING = ("_total", "_sum", "_count", "_bucket", "_gcount")
_NAME = re.compile("[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


def names_of(name: str, kind: str) -> set[str]:
    """Return the names that a family of a name and type takes for itself."""
    return {name + suffix for suffix in SUFFIXES.get(kind, ("",))}


def number(value: Any) -> float | None:
    """Return a value as Prometheus keeps it; None: it is not a number of that size."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


class Exposition:
    """Makes families valid, one after the other, and counts the samples that cannot be."""

    def __init__(self) -> None:
        self.left_out: int = 0
        """How many samples were left out."""
        self.names: set[str] = set()
        """The names that families have taken so far."""

    def valid(self, families: Iterable[Metric]) -> Iterator[Metric]:
        """Give families without what is not valid: samples, or a whole family whose name is taken.

        An error of what gives the families leaves out those that would follow.
        """
        source = iter(families)
        while True:
            try:
                family = next(source)
                found = self._family(family)
            except StopIteration:
                return
            except Exception:  # a collector of somebody else
                self.left_out += 1
                continue
            if found is not None:
                yield found

    def _family(self, family: Metric) -> Metric | None:
        names = names_of(family.name, family.type)
        if names & self.names or not all(map(_NAME.fullmatch, names)):
            self.left_out += len(family.samples)
            return None
        self.names |= names
        unit = family.unit if family.name.endswith(f"_{family.unit}") else ""
        found = Metric(family.name, encodable(family.documentation), family.type, unit)
        series: dict[_Labels, list[Sample]] = {}
        seen: set[tuple[str, _Labels]] = set()
        for sample in family.samples:
            clean = self._sample(sample, found)
            if clean is None:
                continue
            labels = tuple(sorted(clean.labels.items()))
            if (clean.name, labels) in seen:
                continue
            seen.add((clean.name, labels))
            if found.type in SUFFIXES:
                series.setdefault(_series(labels, found.type), []).append(clean)
            else:  # each sample is a series
                found.samples.append(clean)
        for samples in series.values():  # one after the other, as a parser wants them
            found.samples += _checked(found, samples) if found.type == "histogram" else samples
        self.left_out += len(family.samples) - len(found.samples)
        return found

    @staticmethod
    def _sample(sample: Sample, family: Metric) -> Sample | None:
        value, suffix = number(sample.value), sample.name.removeprefix(family.name)
        labels = {name: encodable(str(text)) for name, text in sample.labels.items()}
        if value is None or not all(map(_LABEL.fullmatch, labels)):
            return None
        if suffix not in SUFFIXES.get(family.type, ("",)):
            return None
        if suffix in _WHOLE and not value.is_integer():
            return None
        if suffix in _GROWING and not value >= 0:  # NaN is not, either
            return None
        if family.type == "summary" and suffix == "" and value < 0:
            return None
        if labels == sample.labels and type(sample.value) in (int, float):
            return sample
        return sample._replace(labels=labels, value=value)


def _series(labels: _Labels, kind: str) -> _Labels:
    if kind in ("counter", "info"):
        return labels
    return tuple(pair for pair in labels if pair[0] not in ("le", "quantile"))


def _checked(family: Metric, samples: list[Sample]) -> list[Sample]:
    """Return one series of a histogram as far as it is valid.

    That is nothing where its buckets contradict each other or the count. Where values may be
    negative, sum and count are left out.
    """
    buckets = [each for each in samples if each.name == f"{family.name}_bucket"]
    names = f"{family.name}_sum", f"{family.name}_count"
    totals = [each for each in samples if each.name in names]
    bounds = [number(each.labels.get("le")) for each in buckets]
    counts = [each.value for each in buckets]
    count = [each.value for each in totals if each.name.endswith("_count")]
    known = [bound for bound in bounds if bound is not None and bound == bound]
    if known != bounds or known[-1:] != [inf] or known != sorted(set(known)):
        return []
    if counts != sorted(counts) or count not in ([], counts[-1:]):
        return []
    return buckets if known[0] < 0 or len(totals) != 2 else samples
