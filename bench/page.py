"""docs/performance.md and docs/performance-table.md, made of the runs in bench/days.

The first has ten rows that a reader cares about, the second every row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import runs

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

Topics = Sequence[dict[str, Any]]

#: What a reader cares about: the words for it, and the topic, label and peer of its row. Of several
#: servers of one peer the fastest is measured, so only the beginning of its name is known.
CHOSEN = (
    ("Start: from the command to ready", "lifecycle", "spawn to ready", "cotyledon"),
    ("Stop: from SIGTERM to the exit", "lifecycle", "SIGTERM to exit", "cotyledon"),
    ("Rest: wake-ups in 10 s", "lifecycle", "wake-ups in 10 s at rest, sparts", None),
    ("HTTP on Tornado: requests/s", "http", "requests/s, 16 connections, asyncio", "tornado"),
    ("HTTP on ASGI: requests/s", "asgi", "requests/s, 16 connections, asyncio", "uvicorn"),
    ("gRPC: calls/s", "grpc", "calls/s, 16 in flight, asyncio", "grpclib"),
    (
        "Thrift: calls/s",
        "thrift",
        "sparts threads: a small text, 8 connections: calls a second",
        "Apache",
    ),
    ("D-Bus: calls/s", "dbus", "calls a second, 16 in flight", "dbus-fast"),
    (
        "Queue: 10,000 items, and their results",
        "queue",
        "submit, then result: 10,000 items, 1 worker",
        "ThreadPoolExecutor(1)",
    ),
    ("Counters: one increment", "counters", "counter.increment", "prometheus-client"),
)

CHOSEN_HEAD = """\
# Performance

Ten numbers that most readers ask for. `make bench` measures them and writes this page; [all
measurements](performance-table.md) are on a page of their own, with the machine and the versions.

Each peer runs in turns with sparts, on one machine and in one run. A ratio is sparts over the
peer: the median of all rounds, with the least and the most. For times less is better, for calls
and requests per second more. Start, stop and rest are measured where a user has them: in a virtual
environment with wheels of sparts and its peers.
"""

CHOSEN_TAIL = """\

Ratios describe the software, absolute numbers the machine. Measure on your machine before you
decide by them: `make bench ONLY=lifecycle` runs one topic.
"""

_EXPONENT = re.compile(r"\d(?:\.\d+)?e\+\d+")
"""A number such as 3.804e+04, which reads better as 38,040."""
HEAD = """\
# All measurements

`make bench` measures and writes this page. [The ten most important rows](performance.md) come
first, with an explanation of ratios. A target is the limit that a ratio must keep. Where there is
no peer, it is the limit of the number itself. A result with a target is the worst of the runs on
the days that are named. Numbers without a target are there for comparison.
"""


def write(names: Sequence[str], page: Path | None = None) -> None:
    """Write both pages from the runs of topics that are kept.

    Args:
        names: the topics, each with a run that is kept.
        page: where the ten rows go, docs/performance.md if not given; the table lies beside it.
    """
    topics = [runs.worst(runs.runs_of(name)[-1]) for name in names]
    page = page or PAGE
    page.write_text("\n".join(_chosen(topics)), encoding="utf-8")
    table = page.with_name(f"{page.stem}-table.md")
    table.write_text("\n".join(_page(topics)) + "\n", encoding="utf-8")


def _chosen(topics: Topics) -> Iterator[str]:
    rows = [(topic["topic"], result) for topic in topics for result in topic["results"]]
    yield CHOSEN_HEAD
    yield "| what | compared with | measured (least to most) | target | | details |"
    yield "|---|---|---|---|---|---|"
    for words, topic_name, label, peer in CHOSEN:
        for name, result in rows:
            theirs = result["peer"] or ""
            if (name, result["label"]) == (topic_name, label) and theirs.startswith(peer or ""):
                yield _row(words, theirs, *_numbers(result))
    yield CHOSEN_TAIL


def _page(topics: Topics) -> Iterator[str]:
    targets = [result for topic in topics for result in topic["results"] if result["target"]]
    met = sum(result["verdict"] == "PASS" for result in targets)
    yield HEAD
    yield f"{met} of {len(targets)} targets are met.\n"
    yield from _missed(topics)
    for topic in topics:
        yield from _section(topic)


def _missed(topics: Topics) -> Iterator[str]:
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
        yield _row(_label(result), *_numbers(result))
    yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _numbers(result: dict[str, Any]) -> tuple[str, str, str, str]:
    verdict = {"PASS": "met", "SLOWER": "**missed**"}.get(result["verdict"], "")
    return _measured(result), result["target"], verdict, result["note"]


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
    text = _EXPONENT.sub(lambda found: f"{float(found[0]):,.0f}", text)
    return text.replace("|", "\\|").replace("<", "&lt;")
