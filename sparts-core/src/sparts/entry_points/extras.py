"""Which extra of its distribution a task lacks, when its import finds a module missing.

An entry point may name its extra itself, ``Task = "module:Task [glib]"``. Otherwise it is the extra
that requires a distribution of the missing module's name, or else the only extra of which something
is not installed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sparts.entry_points import scanning
from sparts.entry_points.scanning import normalized

if TYPE_CHECKING:
    from sparts.entry_points.scanning import EntryPoint

_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def missing_extra(entry: EntryPoint, error: ImportError) -> str | None:
    """Return the extra that would bring a missing module, as ``sparts-core[cron]``.

    None if no extra explains the error: then something is broken.
    """
    module = (error.name or "").partition(".")[0]
    if not module:
        return None
    lacking = _lacking(entry.distribution)
    named = re.search(r"\[([^\]]+)\]", entry.value)
    if named:  # what it brings may be in the namespace package that the task is in
        extras = [normalized(extra) for extra in named[1].split(",")]
        return _shown(entry, extras) if set(extras) & lacking.keys() else None
    if module == entry.value.partition(".")[0].partition(":")[0].strip():
        return None
    if missing_requirement(entry, error):
        return None
    same = [extra for extra, names in lacking.items() if normalized(module) in names]
    return _shown(entry, (same or list(lacking))[:1]) if same or len(lacking) == 1 else None


def missing_requirement(entry: EntryPoint, error: ImportError) -> str | None:
    """Return what a distribution cannot do without and would bring a missing module; or None."""
    module = normalized((error.name or "").partition(".")[0])
    required = _requirements(entry.distribution)[""]
    absent = [name for name in required if scanning.distribution(name) is None]
    return module if module in required else absent[0] if len(absent) == 1 else None


def _lacking(distribution: str) -> dict[str, set[str]]:
    """Return the extras of which something is not installed, each with what is not."""
    absent = {
        extra: {name for name in names if scanning.distribution(name) is None}
        for extra, names in _requirements(distribution).items()
        if extra
    }
    return {extra: names for extra, names in absent.items() if names}


def _requirements(distribution: str) -> dict[str, set[str]]:
    """Return the names of what a distribution requires, by extra; ``""``: always."""
    installed = scanning.distribution(distribution)
    found: dict[str, set[str]] = {"": set()}
    for line in (installed.requires if installed else None) or []:
        extra, name = _EXTRA.search(line), _NAME.match(line)
        if name and (extra or ";" not in line):
            found.setdefault(normalized(extra[1]) if extra else "", set()).add(normalized(name[0]))
    return found


def _shown(entry: EntryPoint, extras: list[str]) -> str:
    return f"{entry.distribution}[{','.join(extras)}]"
