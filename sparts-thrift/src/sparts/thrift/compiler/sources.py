"""The interface files of a context: where they are found, and what includes what."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sparts.thrift.compiler.errors import CompileError
from sparts.thrift.compiler.idl import find_includes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable
    from types import ModuleType

BUILT_IN = resources.files("sparts.thrift") / "fb303"
"""The folder with the files that come with sparts-thrift: fb303.thrift."""


@dataclass(eq=False)
class Source:
    """An interface file, or a string that stands for one."""

    name: str
    """What messages call it."""
    text: str
    folder: Path | None = None
    """The folder that its includes are looked for in first."""
    included: dict[str, Source] = field(default_factory=dict)
    """The files that it includes, by their paths as it writes them."""
    module: ModuleType | None = None
    """What was made of it."""
    options: tuple[str, ...] = ()
    """With which options."""

    @property
    def stem(self) -> str:
        """What the file is called where it is included: its name without folder and suffix."""
        return re.sub(r"[^\w.-]", "_", Path(self.name).stem) or "text"

    def in_order(self) -> list[Source]:
        """Return this file and all that it includes, each after what it includes itself."""
        found: dict[Source, None] = {}

        def visit(source: Source) -> None:
            if source not in found:
                for other in source.included.values():
                    visit(other)
                found[source] = None

        visit(self)
        return list(found)


class Sources:
    """Finds interface files; each file is read once.

    Args:
        include_path: folders to look for includes in, after the folder of the including file.
        root: the folder to look in after these.
    """

    def __init__(
        self, include_path: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str] = "."
    ) -> None:
        self._include_path = [Path(folder) for folder in include_path]
        self._root = Path(root)
        self._texts: dict[str, str] = {}
        self._known: dict[str, Source] = {}

    def add_text(self, name: str, text: str) -> None:
        """Let a string stand for the file ``name`` in includes.

        Raises:
            CompileError: that name was included already.
        """
        name = os.path.normpath(name)
        if self._key(name) in self._known:
            raise CompileError("It was included already; add its text before that.", name)
        self._texts[name] = text

    def add_folder(self, path: str | os.PathLike[str]) -> None:
        """Look for includes in one more folder.

        Raises:
            CompileError: it is no folder.
        """
        if not os.path.isdir(path):
            raise CompileError("There is no such folder.", os.fspath(path))
        self._include_path.append(Path(path).absolute())

    def read(self, path: str | os.PathLike[str]) -> Source:
        """Return the file at a path, with all that it includes.

        Raises:
            CompileError: it, or an included file, cannot be read.
        """
        return self._file(Path(path), str(path), [])

    def text(self, name: str, text: str) -> Source:
        """Return a string as a file, with all that it includes.

        Raises:
            CompileError: an included file cannot be read.
        """
        return self._with_includes(Source(name, text), [])

    @staticmethod
    def _key(name: str) -> str:
        return f"text:{name}"  # no path is like this: paths are absolute

    def _file(self, path: Traversable, name: str, above: list[str]) -> Source:
        key = os.path.realpath(str(path))
        if key in above:
            circle = " includes ".join(os.path.basename(each) for each in [*above, key])
            raise CompileError(f"Files include each other in a circle: {circle}.", name)
        if key not in self._known:
            try:
                text = path.read_text(encoding="utf-8")
            except OSError as error:
                raise CompileError(f"It cannot be read: {error.strerror}.", name) from error
            except UnicodeDecodeError as error:
                raise CompileError(f"It is not UTF-8: {error}.", name) from error
            source = Source(name, text, Path(key).parent)
            self._known[key] = self._with_includes(source, [*above, key])
        return self._known[key]

    def _with_includes(self, source: Source, above: list[str]) -> Source:
        for include in find_includes(source.text):
            if include.path not in source.included:
                source.included[include.path] = self._find(
                    source, include.path, include.line, above
                )
        return source

    def _find(self, source: Source, path: str, line: int, above: list[str]) -> Source:
        own = [source.folder] if source.folder else []
        for folder in own:
            if (folder / path).is_file():
                return self._file(folder / path, str(folder / path), above)
        name = os.path.normpath(path)
        if name in self._texts:
            key = self._key(name)
            if key in above:
                raise CompileError("Files include each other in a circle.", source.name, line)
            if key not in self._known:
                found = Source(name, self._texts[name])
                self._known[key] = self._with_includes(found, [*above, key])
            return self._known[key]
        places: list[Traversable] = [*self._include_path, self._root, BUILT_IN]
        for place in places:
            if (file := place / path).is_file():
                return self._file(file, str(file), above)
        looked = ", ".join(map(str, [*own, *self._include_path])) or "no folder"
        raise CompileError(
            f"No file {path!r} to include was found (looked in: {looked}). Give its folder as "
            f"include_path, or its text with addDependentFileContents.",
            source.name,
            line,
        )
