"""A maker of fake distributions, for testing what is found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def make_distribution(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
    modules: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    summary: str = "A distribution of tests.",
) -> Path:
    """Write a distribution as an installer would leave it, and return the folder for ``sys.path``.

    Args:
        folder: the folder that plays site-packages; made if need be.
        name: the distribution's name.
        version: its version.
        entry_points: by group, the names and their targets (``module:attribute``).
        modules: the texts of modules by dotted name.
        requires: what it requires, as ``tornado>=6.5`` or ``gi>=3; extra == 'glib'``.
        extras: the names of its extras.
        summary: its description in one line.
    """
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Summary: {summary}\nRequires-Python: >=3.11\n"
    metadata += "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    files = [f"{module.replace('.', '/')}.py,," for module in modules or {}]
    (info / "RECORD").write_text("\n".join(files), encoding="utf-8")
    lines: list[str] = []
    for group, entries in (entry_points or {}).items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    for module, text in (modules or {}).items():
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
