"""What a soak found, as text and in docs/reliability.md."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import describe_machine
from soak.clients import Client
from soak.faults import Thrower
from soak.measuring import Sample, growth

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->\n", "<!-- soak: end -->"


@dataclass(frozen=True)
class Soak:
    """Everything that was seen."""

    seconds: float
    began: float
    clients: Sequence[Client]
    throwers: Sequence[Thrower]
    samples: Sequence[Sample]
    ledger: dict[str, dict[str, int]]
    status: int
    lines: Sequence[str]

    def problems(self) -> list[str]:
        """Everything that should not have been, one line each; the service held if it is empty."""
        return [
            *([f"it ended with status {self.status}", *self.lines[-5:]] if self.status else []),
            *(f"{client.name}: {why}" for client in self.clients for why in client.failures),
            *(f"{client.name} did nothing" for client in self.clients if not client.worked),
            *(why for thrower in self.throwers for why in thrower.problems),
            *(
                f"{name}: {items}"
                for name, items in self.ledger.items()
                if items["handed"] != items["done"] or items["left"]
            ),
            *(["the ledger could not be read"] if not self.ledger else []),
            *(
                f"{name} grew from {early:g} to {late:g}"
                for name, (early, late, flat) in growth(self.samples).items()
                if not flat
            ),
            *(line for line in self.lines if re.search("Warning: ", line)),
        ]


def text(soak: Soak) -> str:
    """Give what was found as text for a terminal."""
    return "\n".join(_lines(soak))


def _lines(soak: Soak) -> Iterator[str]:
    machine = describe_machine()
    day = time.strftime("%Y-%m-%d", time.gmtime(soak.began))
    yield (
        f"{day}, {soak.seconds:.0f} s, {machine['implementation']} {machine['python']} on "
        f"{machine['cores']} cores, with `-X dev`:"
    )
    yield ""
    yield "| client | worked | failed, with its peer away | failed otherwise |"
    yield "|---|---|---|---|"
    for client in soak.clients:
        yield (
            f"| {client.name} | {client.worked:,} | {client.excused_failures:,} | "
            f"{len(client.failures)} |"
        )
    yield ""
    yield "| fault | times |"
    yield "|---|---|"
    for thrower in soak.throwers:
        yield f"| {thrower.fault.name} | {sum(thrower.thrown.values()):,} |"
    yield ""
    yield "| items of | taken on | done | left at a stop |"
    yield "|---|---|---|---|"
    for name, items in soak.ledger.items():
        yield f"| {name} | {items['handed']:,} | {items['done']:,} | {items['left']} |"
    yield ""
    yield "| of the process | early | late |"
    yield "|---|---|---|"
    for name, (early, late, _) in growth(soak.samples).items():
        yield f"| {name} | {early:.0f} | {late:.0f} |"
    yield ""
    problems = soak.problems()
    yield f"It ended with status {soak.status}. " + (
        "Nothing was lost, and nothing failed that should have worked."
        if not problems
        else f"{len(problems)} problems:"
    )
    yield from (f"- {problem}" for problem in problems[:20])


def write(soak: Soak, page: Path = PAGE) -> None:
    """Write what was found into the page, between its two marks."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}{text(soak)}\n{END}{after}", encoding="utf-8")
