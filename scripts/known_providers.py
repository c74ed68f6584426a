"""Write which distribution provides each task, command, URL, option and package: `make known`.

The source is the entry points in every distribution's pyproject.toml, what its hook plugins add to
a service, and its folders. The core reads the result to say what to install when a name is not
found.
"""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

from sparts import entry_points
from sparts.dispatch import Hooks
from sparts.options.sources import bound_options
from sparts.vservice import VService

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "sparts-core" / "src" / "sparts" / "entry_points" / "known.txt"
GROUPS = (entry_points.COMMANDS, entry_points.TASKS, "sparts.rpc")
HEADER = "# Group, name and distribution, written by `make known` from the distributions.\n"


def table() -> str:
    """Return the text of the table, from the pyproject.toml of every plugin distribution.

    They are installed.
    """
    rows: list[str] = []
    for path in sorted(ROOT.glob("sparts-*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        if project["name"] == "sparts-core":  # a reader of the table has it
            continue
        for group in GROUPS:
            names = project.get("entry-points", {}).get(group, {})
            rows += [f"{group} {name} {project['name']}\n" for name in names]
        for package in packages(path.parent / "src"):
            rows.append(f"{entry_points.MODULES} {package} {project['name']}\n")
        plugins = project.get("entry-points", {}).get(entry_points.PLUGINS, {})
        hooks = Hooks({name: importlib.import_module(plugins[name]) for name in plugins})
        for group in hooks.collect("sparts_options_add", service_class=VService):
            flags = [binding.flag for binding in bound_options(group, VService)]
            rows += [f"{entry_points.OPTIONS} {flag} {project['name']}\n" for flag in flags]
    return HEADER + "".join(sorted(rows))


def packages(source: Path) -> set[str]:
    """Return the packages that no other distribution has a part of, without those within them."""
    files = source.glob("sparts/**/__init__.py")
    names = [file.relative_to(source).parent.parts for file in files]
    return {".".join(name[: 3 if name[1] == "tasks" else 2]) for name in names}


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
