"""The page docs/performance.md, made of what the benchmarks have written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import runs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

HEAD = """\
# Performance

`make bench` measures and writes this page. Ours and its peers run in turns in one run, on one
machine; a ratio is ours over theirs, taken round by round: the median, and the least and the most
over all rounds. A target says how the ratio (or, where there is no peer, the number) should be.
What has a target is the worst of the runs on the days that are named.
Numbers without a target are there for comparison.

Absolute numbers tell of the machine, ratios of the software. Measure on yours before you decide
anything by them: `make bench ONLY=lifecycle` runs one topic.
"""


def write(results: Sequence[Path], page: Path | None = None) -> None:
    """Write the page, docs/performance.md if no other is given, from the files of all topics."""
    topics = [runs.worst(json.loads(path.read_text(encoding="utf-8"))) for path in results]
    (page or PAGE).write_text("\n".join(_page(topics)) + "\n", encoding="utf-8")


def _page(topics: Sequence[dict[str, Any]]) -> Iterator[str]:
    targets = [result for topic in topics for result in topic["results"] if result["target"]]
    met = sum(result["verdict"] == "PASS" for result in targets)
    yield HEAD
    yield f"{met} of {len(targets)} targets are met.\n"
    yield from _missed(topics)
    for topic in topics:
        yield from _section(topic)


def _missed(topics: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What is slower than its target, and why."""
    yield "## Slower than its target\n"
    reasons: dict[str, list[str]] = {}
    for topic in topics:
        for result in topic["results"]:
            if result["verdict"] == "SLOWER":
                why = _cell(result.get("why") or "No reason is known.")
                row = f"{topic['topic']}: {_cell(_label(result))}"
                row = f"- **{row}**: {_measured(result)}, not {result['target']}"
                reasons.setdefault(why, []).append(row)
    for why, rows in reasons.items():
        yield f"{why}\n"
        yield "\n".join(rows) + "\n"
    if not reasons:
        yield "Nothing.\n"


def _section(topic: dict[str, Any]) -> Iterator[str]:
    machine = topic["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in topic["versions"].items())
    yield f"## {topic['topic']}\n"
    yield (
        f"{machine['implementation']} {machine['python']} on {machine['system']} "
        f"({machine['architecture']}, {machine['cores']} cores, load {machine['load']}), "
        f"{topic['finished'][:10]}{_days(topic['days'])}. {versions}.\n"
    )
    yield "| what | measured (least to most) | target | | details |"
    yield "|---|---|---|---|---|"
    for result in topic["results"]:
        verdict = {"PASS": "met", "SLOWER": "**missed**"}.get(result["verdict"], "")
        cells = (_label(result), _measured(result), result["target"], verdict, result["note"])
        yield f"| {' | '.join(map(_cell, cells))} |"
    yield ""


def _days(days: int) -> str:
    """Say on how many days a topic was measured."""
    if days >= runs.DAYS:
        return f", the worst of {days} days"
    return f", {days} of {runs.DAYS} days"


def _label(result: dict[str, Any]) -> str:
    return f"{result['label']} / {result['peer']}" if result["peer"] else str(result["label"])


def _measured(result: dict[str, Any]) -> str:
    least, most = f"{result['min']:.3g}", f"{result['max']:.3g}"
    spread = "" if least == most else f" ({least} to {most})"
    return f"{result['median']:.3g} {result['unit']}{spread}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
