"""Write which distribution provides each task and command: `make known`.

The source is the entry points in every distribution's pyproject.toml. The core reads the result to
say what to install when a name is not found.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "sparts-core" / "src" / "sparts" / "entry_points" / "known.txt"
GROUPS = ("sparts.commands", "sparts.tasks")
HEADER = "# Group, name and distribution, written by `make known` from the entry points.\n"


def table() -> str:
    """Return the text of the table, from the pyproject.toml of every plugin distribution."""
    rows: list[str] = []
    for path in sorted(ROOT.glob("sparts-*/pyproject.toml")):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        if project["name"] == "sparts-core":  # a reader of the table has it
            continue
        for group in GROUPS:
            names = project.get("entry-points", {}).get(group, {})
            rows += [f"{group} {name} {project['name']}\n" for name in names]
    return HEADER + "".join(sorted(rows))


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
