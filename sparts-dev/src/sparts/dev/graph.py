"""``sparts graph``: which task of a service needs which, in the order in which they start."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sparts.cli.columns import rows

if TYPE_CHECKING:
    from sparts.vtask import VTask

    Graph = dict[type[VTask], list[type[VTask]]]


def main(argv: list[str]) -> int:
    """Show which task needs which, in start order.

    Raises:
        UsageError: something cannot be found or imported, or tasks depend on each other in a
            circle.
    """
    parser = argparse.ArgumentParser(
        prog="sparts graph",
        description="Show the tasks of a service in the order in which they start, each with what "
        "it needs. They stop in the reverse order.",
        epilog="examples: sparts graph my_service:MyService; "
        "sparts graph TornadoHTTPTask PeriodicTask --mermaid",
    )
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="MODULE:SERVICE, or tasks in any form that `sparts run` takes",
    )
    parser.add_argument("--mermaid", action="store_true", help="print a Mermaid flowchart")
    args = parser.parse_args(argv)

    from sparts import references
    from sparts.cli.targets import find_tasks

    graph = references.resolve_needs(find_tasks(args.names))
    print("\n".join(_mermaid(graph) if args.mermaid else _text(graph)))
    return 0


def _text(graph: Graph) -> list[str]:
    digits = len(str(len(graph)))
    pairs = [
        (
            f"{number:>{digits}}. {task.__name__}",
            f"needs {', '.join(need.__name__ for need in needs)}" if needs else "",
        )
        for number, (task, needs) in enumerate(graph.items(), 1)
    ]
    return rows(pairs, indent=0) or ["No tasks."]


def _mermaid(graph: Graph) -> list[str]:
    """A flowchart; the nodes have numbers for names, since a task may be called ``end``."""
    number = {task: f"t{place}" for place, task in enumerate(graph, 1)}
    lines = ["flowchart TD"]
    lines += [f'  {number[task]}["{task.__name__}"]' for task in graph]
    lines += [
        f"  {number[task]} -->|needs| {number[need]}"
        for task, needs in graph.items()
        for need in needs
    ]
    return lines
