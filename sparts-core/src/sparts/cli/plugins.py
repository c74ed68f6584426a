"""``sparts plugins``: what the installed distributions add to sparts, from their metadata alone."""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

from sparts import entry_points, plugins
from sparts.cli import FLAGS
from sparts.cli.columns import rows

KINDS = {
    entry_points.TASKS: "tasks",
    entry_points.PLUGINS: "hooks",
    entry_points.COMMANDS: "commands",
}


def _built_in_entries() -> list[entry_points.EntryPoint]:
    """Return the core's own hook plugins as the entry points that they could be."""
    core, group = entry_points.distribution("sparts-core"), entry_points.PLUGINS
    own = ("sparts-core", core.version if core else "?")
    return [
        entry_points.EntryPoint(group, name, f"sparts.builtin.{name}", *own)
        for name in plugins.BUILT_IN
    ]


def main(argv: list[str]) -> int:
    """List the distributions that have entry points for sparts; imports nothing of theirs."""
    parser = argparse.ArgumentParser(
        prog="sparts plugins",
        description="List the distributions that add something to sparts: task types, hook modules "
        "and subcommands. Nothing of theirs is imported.",
        epilog="SPARTS_DISABLE_PLUGINS=a,b keeps plugins out and SPARTS_LOAD_PLUGINS=a lets only "
        "those in (empty: none), by distribution or by the names listed here.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    entries = sorted(
        [*entry_points.installed(), *_built_in_entries()],
        key=lambda entry: (entry.distribution, entry),
    )
    found = [
        _describe(list(own))
        for _, own in itertools.groupby(entries, lambda each: each.distribution)
    ]
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(map(_text, found)) or "No plugins are installed.")
    return 0


def _describe(entries: list[entry_points.EntryPoint]) -> dict[str, Any]:
    kinds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS.values()}
    for entry in entries:
        own = entry.value.startswith("sparts.builtin.")
        kept_out = entry.name in entry_points.kept_out_names()
        blocked = kept_out if own else entry_points.blocked(entry)
        each = {"name": entry.name, "target": entry.value, "blocked": blocked, "built_in": own}
        kinds[KINDS[entry.group]].append(each)
    return {
        "distribution": entries[0].distribution,
        "version": entries[0].version,
        **kinds,
        "blocked": all(each["blocked"] for kind in kinds.values() for each in kind),
    }


def _text(found: dict[str, Any]) -> str:
    head = f"{found['distribution']} {found['version']}"
    kinds, blocked = filter(found.get, KINDS.values()), found["blocked"]
    lines = [
        (kind, ", ".join(_shown(each, kind, blocked) for each in found[kind])) for kind in kinds
    ]
    return "\n".join([head + " (blocked)" * blocked, *rows(lines)])


def _shown(each: dict[str, Any], kind: str, all_blocked: bool) -> str:
    if each["built_in"]:
        return f"{each['name']} (built-in{', blocked' if each['blocked'] else ''})"
    note = each["target"] if kind == "hooks" else FLAGS.get(each["name"])
    text = f"{each['name']} ({note})" if note else str(each["name"])
    return f"{text} (blocked)" if each["blocked"] and not all_blocked else text
