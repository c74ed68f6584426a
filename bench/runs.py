"""The runs of the benchmarks on different days, in bench/days: one file a topic and day.

One run on one day says little of a ratio: another machine of the same kind, or another hour, gives
another. So the page states the worst of the runs that are kept, and a run says where it differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RUNS = Path(__file__).resolve().parent / "days"
DAYS = 3
"""On how many days a topic is measured before its results count as known."""
KEPT = 5
"""How many days of a topic are kept, the newest."""
MARGIN = 0.1
"""What share two runs may differ by."""

Topic = dict[str, Any]


def keep(contents: Topic) -> None:
    """Keep the results of a run; those of an earlier run on that day are replaced."""
    folder = RUNS / contents["topic"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{contents['finished'][:10]}.json"
    path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        old.unlink()


def runs_of(topic: str) -> list[Topic]:
    """Give the runs of a topic that are kept, the oldest first."""
    paths = sorted((RUNS / topic).glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def differences(contents: Topic, others: Sequence[Topic]) -> Iterator[str]:
    """Give a line for each ratio that differs from the one of another run by more than MARGIN."""
    for result in contents["results"]:
        if result["unit"] != "x":
            continue
        found = [
            (abs(result["median"] / before["median"] - 1), before["median"], other["finished"][:10])
            for other in others
            if (before := _same(other, result)) is not None and before["median"]
        ]
        most, median, day = max(found, default=(0.0, 0.0, ""))
        if most > MARGIN:
            yield (
                f"DIFFERS {result['label']} / {result['peer']}: {result['median']:.3g} x, and "
                f"{median:.3g} x on {day}"
            )


def worst(contents: Topic) -> Topic:
    """Give a run's results with each replaced by the worst that was found on any day."""
    every = [contents, *runs_of(contents["topic"])]
    days = len({each["finished"][:10] for each in every})
    results = []
    for result in contents["results"]:
        found = [same for each in every if (same := _same(each, result)) is not None]
        if result["at_least"] is not None:
            chosen = min(found, key=lambda each: float(each["median"]))
        elif result["at_most"] is not None:
            chosen = max(found, key=lambda each: float(each["median"]))
        else:
            chosen = result
        results.append(chosen)
    return {**contents, "results": results, "days": days}


def _same(contents: Topic, result: Topic) -> Topic | None:
    """Give the result of a run that has the label, the peer and the target of another."""
    keys = ("label", "peer", "unit", "target")
    for each in contents["results"]:
        if all(each[key] == result[key] for key in keys):
            same: Topic = each
            return same
    return None
