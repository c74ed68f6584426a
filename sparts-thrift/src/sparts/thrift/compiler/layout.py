"""The files of one compilation, in a temporary folder.

Every file lies in a folder of its own, ``NUMBER/NAME.thrift``, and includes the others as
``../NUMBER/NAME.thrift``. So a file is found at one path by all that include it, two files of
one name do not meet, and texts are files like any other.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sparts.thrift.compiler.idl import with_includes

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sparts.thrift.compiler.sources import Source

_log = logging.getLogger("sparts.thrift.compiler")
_numbers = itertools.count(1)  # of the process: what is made of one file is never taken for another


class Layout:
    """Writes the files of a compilation, and removes them; a context manager.

    Args:
        keep: do not remove them, and log where they are.
    """

    def __init__(self, keep: bool = False) -> None:
        self._folder = tempfile.mkdtemp(prefix="sparts-thrift-")
        self._keep = keep
        if keep:
            _log.info("The files of the compilation are kept in %s", self._folder)
        self._paths: dict[Source, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._keep:
            shutil.rmtree(self._folder)

    def write(self, source: Source) -> None:
        """Write a file and all that it includes."""
        for each in source.in_order():
            if each not in self._paths:
                self._paths[each] = self.new_folder() / f"{each.stem}.thrift"
                below = {name: self.include(other) for name, other in each.included.items()}
                text = with_includes(each.text, below)
                self._paths[each].write_text(text, encoding="utf-8")

    def new_folder(self) -> Path:
        """Return a new, empty folder."""
        folder = Path(self._folder) / str(next(_numbers))
        folder.mkdir()
        return folder

    def path(self, source: Source) -> Path:
        """Return where a file was written."""
        return self._paths[source]

    def include(self, source: Source) -> str:
        """Return how other files include this one."""
        path = self._paths[source]
        return f"../{path.parent.name}/{path.name}"
