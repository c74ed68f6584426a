"""Run the benchmarks, each in its own process, and sum up: `python -m bench.run [TOPIC ...]`.

docs/performance.md and docs/performance-table.md are made of the runs that are kept in bench/days,
these among them.

The exit status tells whether every benchmark could be run (1 if one of them broke, 2 if there is
none of that name), not whether it met its targets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import page, runs
from bench.harness import RESULTS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def find_topics() -> list[str]:
    """Find the topics of all benchmarks, sorted."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def run_topic(topic: str) -> bool:
    """Run one benchmark in its own process; True if it came to its end."""
    (RESULTS / f"{topic}.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", f"bench.bench_{topic}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def sum_up(topics: Sequence[str]) -> str:
    """Sum up the results of `topics` in a few lines, with every missed target."""
    results = []
    for topic in topics:
        path = RESULTS / f"{topic}.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))["results"]
            results += [(topic, result) for result in found if result["target"]]
    missed = [(topic, result) for topic, result in results if result["verdict"] != "PASS"]
    lines = [f"== {len(results) - len(missed)} of {len(results)} targets met; JSON in {RESULTS}"]
    for topic, result in missed:
        against = f" / {result['peer']}" if result["peer"] else ""
        measured = f"{result['median']:.3g} {result['unit']}"
        lines.append(f"   {topic}: {result['label']}{against} {measured}, not {result['target']}")
    return "\n".join(lines)


def main(wanted: Sequence[str]) -> int:
    """Run the benchmarks `wanted` (all of them if empty) and give the exit status."""
    topics = find_topics()
    unknown = sorted(set(wanted) - set(topics))
    if unknown:
        print(f"No benchmark is named {', '.join(unknown)}. There are: {', '.join(topics)}.")
        return 2
    chosen = [topic for topic in topics if not wanted or topic in wanted]
    broken = [topic for topic in chosen if not run_topic(topic)]
    print(sum_up(chosen))
    unmeasured = [topic for topic in topics if not runs.runs_of(topic)]
    if unmeasured:
        print(f"docs/performance.md stays as it is: not measured yet: {', '.join(unmeasured)}.")
    else:
        page.write(topics)
        print("docs/performance.md and docs/performance-table.md are written again.")
    if broken:
        print(f"Broken, so not measured: {', '.join(broken)}.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
