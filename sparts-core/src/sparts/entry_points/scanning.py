"""Where entry points are found: in the metadata of what is installed on ``sys.path``.

The file ``entry_points.txt`` of every installed distribution is read, where a path entry is a
folder, by itself (https://packaging.python.org/en/latest/specifications/entry-points/):
importlib.metadata alone costs more time to import than a whole service needs to start. What is not
a folder is left to it.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from sparts.startup import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from importlib.metadata import Distribution

_READ = 1 << 16
_LIBRARY = os.path.dirname(getattr(os, "__file__", "none/os.py"))
_STANDARD = (_LIBRARY, f"{_LIBRARY}/lib-dynload")
"""Where the standard library is: no distribution is installed there."""


class EntryPoint(NamedTuple):
    """One line of a distribution's ``entry_points.txt``."""

    group: str
    name: str
    value: str
    distribution: str
    version: str

    def load(self) -> Any:
        """Import and return the object that it names; whatever the import raises passes through."""
        return load_object(self.value)

    @property
    def owner(self) -> str:
        """The distribution and its version, as messages show them."""
        return f"{self.distribution} {self.version}"

    def __str__(self) -> str:
        return f"{self.name!r} of {self.owner} ({self.value})"


def load_object(target: str) -> Any:
    """Import and return what ``module:name`` means; whatever the import raises passes through."""
    module, _, attributes = target.partition("[")[0].partition(":")  # without extras
    found = importlib.import_module(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        found = getattr(found, attribute)
    return found


def normalized(distribution: str) -> str:
    """Return a distribution's name as the packaging standard compares it (PEP 503)."""
    name = distribution.lower().replace("_", "-").replace(".", "-")
    return name if "--" not in name else "-".join(filter(None, name.split("-")))


def search_path() -> list[str]:
    """Return the entries of ``sys.path`` from which Python imports: texts.

    Whatever else somebody has put there (a path object, bytes, None) is passed over, as by the
    import system. importlib.metadata would raise.
    """
    everything: list[Any] = list(sys.path)
    return [entry for entry in everything if isinstance(entry, str) and "\0" not in entry]


def distributions(name: str | None = None) -> Iterator[Distribution]:
    """Give the installed distributions, or those of one name, as importlib.metadata finds them.

    Leftovers without metadata are passed over.
    """
    from importlib import metadata

    for found in metadata.distributions(name=name, path=search_path()):
        if name_of(found):
            yield found


def name_of(found: Distribution) -> str:
    """Return the name of a distribution as `normalized` does; empty: it has none."""
    fields: Any = found.metadata  # without a file, what they are differs by Python's version
    return normalized(fields["Name"] or "") if fields and "Name" in fields else ""


def distribution(name: str) -> Distribution | None:
    """Return the installed distribution of a name; None: there is none."""
    return next(distributions(name), None)


def scan(path: Iterable[str], groups: Collection[str]) -> Iterator[EntryPoint]:
    """Give the entry points of some groups that are installed on a path."""
    seen: dict[str, str] = {}  # the first distribution of a name hides later ones; its folder
    for entry in dict.fromkeys(path):
        if entry in _STANDARD:
            continue
        try:
            if entry.endswith(".egg"):
                raise NotADirectoryError
            names = os.listdir(entry or ".")
        except NotADirectoryError:
            yield from _scan_by_metadata(seen, [entry], groups)
            continue
        except OSError:
            continue
        start = entry and entry + "/"  # os.path.join takes a fifth of the whole scan
        for name in [each for each in names if each[-5:] == "-info"]:
            if name.endswith((".dist-info", ".egg-info")) and name[0] != "~":
                yield from _read_folder(seen, start + name, name, groups)
    others = [finder for finder in sys.meta_path if finder is not PathFinder]
    if any(hasattr(finder, "find_distributions") for finder in others):
        yield from _scan_by_metadata(seen, None, groups)


def leftovers() -> Iterator[str]:
    """Give the metadata folders on the path that are ignored; see `is_leftover`."""
    for entry in dict.fromkeys(search_path()):
        try:
            names = sorted(os.listdir(entry or "."))
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")) and is_leftover(f"{entry}/{name}"):
                yield os.path.join(entry, name)


def is_leftover(folder: str) -> bool:
    """Return whether a metadata folder is what an installer left behind: it installs nothing.

    pip renames a distribution to ``~name`` while it replaces it, and ends without ``METADATA``
    where it was stopped.
    """
    base = os.path.basename(folder)
    if base.startswith("~") and base.endswith((".dist-info", ".egg-info")):
        return True
    return base.endswith(".dist-info") and not os.path.isfile(os.path.join(folder, "METADATA"))


def _read_folder(
    seen: dict[str, str], folder: str, base: str, groups: Collection[str]
) -> Iterable[EntryPoint]:
    name, _, version = base[: base.rindex(".")].partition("-")
    if version and (not version[0].isdigit() or ("-" in version and base.endswith("dist-info"))):
        # A name with "-" in it, which an installer should have replaced: only the file knows.
        name = _field(folder, "Name") or name
        version = ""
    name = normalized(name)
    if name in seen and not is_leftover(seen[name]):
        return ()
    seen[name] = folder
    try:  # as open() does, but in half of the time: there may be hundreds, nearly all for others
        descriptor = os.open(folder + "/entry_points.txt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        data = os.read(descriptor, _READ)
        while len(data) % _READ == 0 and (more := os.read(descriptor, _READ)):
            data += more
    except OSError:
        return ()
    finally:
        os.close(descriptor)
    if b"sparts." not in data or is_leftover(folder):
        return ()
    text = data.decode(errors="replace")
    return _parse(text, name, version.partition("-")[0] or _field(folder, "Version") or "?", groups)


def _field(folder: str, field: str) -> str:
    """Return a field of the metadata in a folder; empty: there is none."""
    start = f"{field}:"
    for file_name in ("METADATA", "PKG-INFO"):
        try:
            path = os.path.join(folder, file_name)
            with open(path, encoding="utf-8", errors="replace") as file:
                return next((s[len(start) :].strip() for s in file if s.startswith(start)), "")
        except OSError:
            continue
    return ""


def _parse(
    text: str, distribution: str, version: str, groups: Collection[str]
) -> Iterator[EntryPoint]:
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif group in groups and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield EntryPoint(group, name.strip(), value.strip(), distribution, version)


def _scan_by_metadata(
    seen: dict[str, str], path: list[str] | None, groups: Collection[str]
) -> Iterator[EntryPoint]:
    from importlib import metadata

    for found in metadata.distributions(path=search_path() if path is None else path):
        name = name_of(found)
        if name and name not in seen:
            seen[name] = ""
            for entry in found.entry_points:
                if entry.group in groups:
                    yield EntryPoint(entry.group, entry.name, entry.value, name, found.version)
