"""The storeys and rooms of the core, as docs/architecture.md draws them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "sparts-core" / "src" / "sparts"


def storeys() -> dict[str, int]:
    """Give each room of the core with the number of its storey."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    picture = page.split("## The core: four storeys")[1].split("```")[1]
    return {
        room: int(number)
        for number, rooms in re.findall(r"^storey (\d):(.*?)(?=^storey|\Z)", picture, re.M | re.S)
        for room in re.findall(r"^([a-z0-9_]+)(?:/|\.py)", rooms, re.M)
    }


def room_of(path: Path) -> str:
    """Give the room that a file of the core is in."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    """Give all files of the core."""
    return sorted(CORE.rglob("*.py"))
