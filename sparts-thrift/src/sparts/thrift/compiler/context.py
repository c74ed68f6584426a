"""CompileContext: interface files to modules at run time."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

from sparts.thrift.compiler.by_thrift import ThriftCompiler
from sparts.thrift.compiler.errors import CompileError
from sparts.thrift.compiler.layout import Layout
from sparts.thrift.compiler.sources import Source, Sources

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from types import ModuleType

    from sparts.thrift.compiler.by_thriftpy2 import ThriftPy2Parser

THRIFTPY2 = "thriftpy2"


class CompileContext:
    """Compiles interface files; what two files include is one module to both.

    A file is compiled once in a context: like an import, it gives the same module again, also when
    the file has changed meanwhile. ``fb303.thrift`` can be included without further ado. Nothing is
    left in ``sys.modules``, in a cache of thriftpy2's or in a temporary folder. Safe for threads:
    one compiles at a time.

    Args:
        include_path: folders to look for included files in, after the folder of the file that
            includes them and after `addDependentFileContents`.
        compiler: the path of Apache's `thrift` compiler, or ``"thriftpy2"``; None: the `thrift`
            that is found in ``PATH``, else thriftpy2.
    """

    def __init__(
        self, include_path: Iterable[str | os.PathLike[str]] = (), *, compiler: str | None = None
    ) -> None:
        self._sources = Sources(include_path)
        self._wanted = compiler
        self._compiler: ThriftCompiler | ThriftPy2Parser | None = None
        self._lock = threading.RLock()

    def importThrift(self, path: str | os.PathLike[str]) -> ModuleType:  # noqa: N802
        """Return a module of an interface file.

        Raises:
            CompileError: it, or what it includes, cannot be read or compiled, or there is nothing
                to compile it with.
        """
        with self._lock:
            return self._make(self._sources.read(path))

    def importThriftStr(self, text: str, name: str = "text.thrift") -> ModuleType:  # noqa: N802
        """Return a module of the text of an interface file.

        Args:
            text: the interface.
            name: what messages call it, and what names the module unless there is a namespace.

        Raises:
            CompileError: it, or what it includes, cannot be read or compiled, or there is nothing
                to compile it with.
        """
        with self._lock:
            return self._make(self._sources.text(name, text))

    def addDependentFileContents(self, name: str, text: str) -> None:  # noqa: N802
        """Let a text stand for the file ``name`` that others include.

        Raises:
            CompileError: that file was included already.
        """
        with self._lock:
            self._sources.add_text(name, text)

    def _make(self, source: Source) -> ModuleType:
        if source.module is None:
            self._compiler = self._compiler or _choose(self._wanted)
            with Layout() as layout:
                layout.write(source)
                self._compiler.make(source, layout)
        if source.module is None:
            raise CompileError("Nothing was made of it.", source.name)
        return source.module


def _choose(wanted: str | None) -> ThriftCompiler | ThriftPy2Parser:
    executable = None if wanted == THRIFTPY2 else shutil.which(wanted or "thrift")
    if executable:
        return ThriftCompiler(executable)
    if wanted not in (None, THRIFTPY2):
        raise CompileError(f"No program {wanted!r} was found.")
    try:
        from sparts.thrift.compiler.by_thriftpy2 import ThriftPy2Parser

        return ThriftPy2Parser()
    except ImportError as error:
        if wanted:
            raise CompileError(
                "thriftpy2 is not installed: pip install 'sparts-thrift[thriftpy2]'."
            ) from error
        raise CompileError(
            "There is nothing to compile interface files with. Install the thrift compiler "
            "(`apt install thrift-compiler`, or https://thrift.apache.org/download), or thriftpy2 "
            "(`pip install 'sparts-thrift[thriftpy2]'`)."
        ) from error
