"""Compare ours with its peers, fairly, and say how it went.

A benchmark is a script `bench/bench_TOPIC.py`, run in a process of its own by `make bench`
(one of them: `make bench ONLY=TOPIC`). It measures with `interleave`, judges with a `Report`:

    from bench.harness import Report, compare_calls

    with Report("counters") as report:
        compare_calls(report, "increment", ours=counter.increment,
                      peers={"prometheus-client": prom.inc}, at_most=0.6)

What is not one cheap call (whole processes, throughput of a pool, latencies) is measured by
functions that each return one round's number, in any unit:

    rounds = interleave({"sparts": run_ours, "cotyledon": run_theirs}, rounds=9)
    report.ratio("ready", rounds["sparts"], rounds["cotyledon"], peer="cotyledon",
                 at_most=0.8, unit="s")
    report.value("wake-ups idle", wakeups, at_most=0, unit="switches")

A missed target is reported, never raised: machines differ, and benchmarks are no tests. So is a
ratio that differs from that of another day by more than `bench.runs.MARGIN`. Results also go to
`build/bench/TOPIC.json` and `bench/days/TOPIC/DAY.json`, from which the performance page is made.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import runs
from bench.machine import describe_machine, find_versions
from bench.measure import DEFAULT_ROUNDS, confidence, interleave, pairwise, per_call

__all__ = ["Report", "Result", "compare_calls", "interleave", "pairwise", "per_call"]

RESULTS = Path(__file__).resolve().parents[1] / "build" / "bench"
"""The folder of the machine-readable results."""


@dataclass(frozen=True)
class Result:
    """One line of a report: a target, and what was measured (`ours` and `theirs` are medians)."""

    label: str
    median: float
    min: float
    max: float
    unit: str
    """What median, min and max are in: `x` for a ratio ours/theirs, or a unit."""
    peer: str | None = None
    ours: float | None = None
    theirs: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    rounds: int = 0
    note: str = ""
    why: str = ""
    """Why it may miss its target, for the page where it does."""

    @property
    def target(self) -> str:
        """The target in words, or nothing for a line that is only for information."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}"
        return f"at least {self.at_least:g} {self.unit}" if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """`PASS`, `SLOWER` (the median misses the target), or `info` where there is no target."""
        if self.at_most is not None:
            return "PASS" if self.median <= self.at_most else "SLOWER"
        if self.at_least is not None:
            return "PASS" if self.median >= self.at_least else "SLOWER"
        return "info"

    def line(self) -> str:
        """The result as the line that people read."""
        against = f" / {self.peer}" if self.peer else ""
        measured = f"{self.median:.3g} {self.unit} [{self.min:.3g}..{self.max:.3g}]"
        target = f"  (target: {self.target})" if self.target else ""
        note = f"  {self.note}" if self.note else ""
        return f"{self.verdict:<6} {self.label}{against}: {measured}{target}{note}"


@dataclass
class Report:
    """What one benchmark script found; a context manager that writes its JSON at the end.

    `packages` are distributions whose versions matter to the reader, beyond those of the peers.
    """

    topic: str
    packages: Sequence[str] = ()
    results: list[Result] = field(default_factory=list)

    def ratio(
        self,
        label: str,
        ours: Sequence[float],
        theirs: Sequence[float],
        *,
        peer: str,
        at_most: float | None = None,
        at_least: float | None = None,
        unit: str = "s",
        note: str = "",
        why: str = "",
    ) -> Result:
        """Judge ours/theirs, taken round by round, and print the line.

        Give `at_most` where less is better (times) or `at_least` where more is (throughput), or
        neither for a line that only informs. `unit` is the unit of the two lists; `why` tells the
        readers of the page why the target is missed where it is.
        """
        pairs = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        mine, other = statistics.median(ours), statistics.median(theirs)
        both = f"ours {_shown(mine, unit)}, theirs {_shown(other, unit)}"
        result = Result(
            label=label,
            median=statistics.median(pairs),
            min=min(pairs),
            max=max(pairs),
            unit="x",
            peer=peer,
            ours=mine,
            theirs=other,
            at_most=at_most,
            at_least=at_least,
            rounds=len(pairs),
            note=f"{both}; {note}" if note else both,
            why=why,
        )
        return self._add(result)

    def value(
        self,
        label: str,
        samples: Sequence[float],
        *,
        unit: str,
        at_most: float | None = None,
        at_least: float | None = None,
        note: str = "",
        why: str = "",
    ) -> Result:
        """Judge a number that stands on its own (milliseconds, wake-ups), and print the line."""
        median = statistics.median(samples)
        result = Result(
            label=label,
            median=median,
            min=min(samples),
            max=max(samples),
            unit=unit,
            ours=median,
            at_most=at_most,
            at_least=at_least,
            rounds=len(samples),
            note=note,
            why=why,
        )
        return self._add(result)

    def more(
        self,
        label: str,
        ours: Sequence[float],
        theirs: Sequence[float],
        *,
        peer: str,
        unit: str,
        at_most: float | None = None,
        relative: bool = True,
        why: str = "",
    ) -> Result:
        """Judge how much more one of two takes, and print the line.

        The lists are those of `pairwise`. The median of ours/theirs, or, if not ``relative``, of
        the differences, has its confidence interval beside it, instead of the least and the most.
        """
        both = list(zip(ours, theirs, strict=True))
        differences = [mine - other for mine, other in both]
        judged = [mine / other for mine, other in both] if relative else differences
        low, high = confidence(judged)
        other = statistics.median(theirs)
        more = statistics.median(differences)
        result = Result(
            label=label,
            median=statistics.median(judged),
            min=low,
            max=high,
            unit="x" if relative else unit,
            peer=peer,
            ours=statistics.median(ours),
            theirs=other,
            at_most=at_most,
            rounds=len(both),
            note=f"{more:+.2g} {unit} of {other:.3g} {unit}; the median's 95 % interval, "
            f"{len(both)} pairs",
            why=why,
        )
        return self._add(result)

    def _add(self, result: Result) -> Result:
        self.results.append(result)
        print(result.line(), flush=True)
        return result

    def __enter__(self) -> Self:
        """Print the heading."""
        print(f"== {self.topic}", flush=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write `build/bench/TOPIC.json`, unless the benchmark itself has failed."""
        if kind is not None:
            return
        peers = {result.peer for result in self.results if result.peer}
        contents = {
            "topic": self.topic,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": describe_machine(),
            "versions": find_versions(sorted({"sparts-core", *peers, *self.packages})),
            "results": [
                {**asdict(result), "target": result.target, "verdict": result.verdict}
                for result in self.results
            ],
        }
        for line in runs.differences(contents, runs.runs_of(self.topic)):
            print(line, flush=True)
        if "BENCH_ROUNDS" not in os.environ:  # a quick look counts for nothing
            runs.keep(contents)
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.topic}.json"
        path.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def compare_calls(
    report: Report,
    label: str,
    *,
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    at_most: float | None = None,
    rounds: int = DEFAULT_ROUNDS,
    seconds: float = 0.1,
    warmup: int = 1,
) -> dict[str, list[float]]:
    """Compare the time of one call of ours with that of each peer's, in this process.

    `peers` maps a name (a distribution's, so that its version is noted) to a function that does
    the same work; `seconds` is the time of one measurement of one contender. Prints a line a peer,
    gives the seconds a call of each contender, ours under `sparts`.
    """
    functions = {"sparts": ours, **peers}
    contenders = {name: per_call(call, seconds=seconds) for name, call in functions.items()}
    times = interleave(contenders, rounds=rounds, warmup=warmup)
    for peer in peers:
        report.ratio(label, times["sparts"], times[peer], peer=peer, at_most=at_most)
    return times


def _shown(number: float, unit: str) -> str:
    """Show seconds in the scale that reads best, other units as they are."""
    if unit != "s":
        return f"{number:.4g} {unit}"
    for scale, name in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if number * scale >= 1:
            return f"{number * scale:.3g} {name}"
    return f"{number * 1e9:.3g} ns"
