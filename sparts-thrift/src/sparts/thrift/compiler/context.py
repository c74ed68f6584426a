"""CompileContext: interface files to modules at run time."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

from sparts.thrift.compiler.by_thrift import ThriftCompiler
from sparts.thrift.compiler.errors import CompileError
from sparts.thrift.compiler.layout import Layout
from sparts.thrift.compiler.sources import Source, Sources

if TYPE_CHECKING:
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
        root: the folder to look in last.
        debug: keep the temporary folders of compilations, and log where they are.
    """

    def __init__(
        self,
        include_path: Iterable[str | os.PathLike[str]] = (),
        *,
        compiler: str | None = None,
        root: str | os.PathLike[str] = ".",
        debug: bool = False,
    ) -> None:
        if isinstance(include_path, str | os.PathLike):  # root, as it was the first parameter
            include_path = [include_path]
        self._sources = Sources(include_path, root)
        self._debug = debug
        self._wanted = compiler
        self._compiler: ThriftCompiler | ThriftPy2Parser | None = None
        self._lock = threading.RLock()

    def importThrift(  # noqa: N802
        self, path: str | os.PathLike[str], **options: Any
    ) -> ModuleType:
        """Return a module of an interface file.

        Args:
            path: where it is.
            options: for Apache's compiler: ``slots``, ``twisted``, ``tornado``, ``dynamic``,
                ``dynbase``, ``dynexc``, ``dynimport``; True, or a string. ``new_style`` and
                ``utf8strings`` are accepted, and always so.

        Raises:
            CompileError: it, or what it includes, cannot be read or compiled, or there is nothing
                to compile it with.
        """
        with self._lock:
            return self._make(self._sources.read(path), options)

    def importThriftStr(  # noqa: N802
        self, text: str, name: str = "text.thrift", **options: Any
    ) -> ModuleType:
        """Return a module of the text of an interface file.

        Args:
            text: the interface.
            name: what messages call it, and what names the module unless there is a namespace.
            options: as for `importThrift`.

        Raises:
            CompileError: it, or what it includes, cannot be read or compiled, or there is nothing
                to compile it with.
        """
        with self._lock:
            return self._make(self._sources.text(name, text), options)

    def addIncludeDir(self, path: str | os.PathLike[str]) -> None:  # noqa: N802
        """Look for included files in one more folder.

        Raises:
            CompileError: it is no folder.
        """
        with self._lock:
            self._sources.add_folder(path)

    def addDependentFilePath(self, path: str | os.PathLike[str]) -> None:  # noqa: N802
        """Let a file be included by its name alone; its folder becomes one to look in.

        Raises:
            CompileError: there is no such file.
        """
        if not os.path.isfile(path):
            raise CompileError("There is no such file.", os.fspath(path))
        self.addIncludeDir(os.path.dirname(path) or ".")

    def addDependentFileContents(self, name: str, text: str) -> None:  # noqa: N802
        """Let a string stand for the file ``name`` that others include.

        Raises:
            CompileError: that file was included already.
        """
        with self._lock:
            self._sources.add_text(name, text)

    def _make(self, source: Source, given: dict[str, Any]) -> ModuleType:
        options = options_of(given)
        if source.module is None:
            self._compiler = self._compiler or _choose(self._wanted)
            with Layout(keep=self._debug) as layout:
                layout.write(source)
                self._compiler.make(source, layout, options)
        elif source.options != options:
            raise CompileError(
                "It was compiled with other options: use another CompileContext.", source.name
            )
        if source.module is None:
            raise CompileError("Nothing was made of it.", source.name)
        return source.module


def compile(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] = ".",
    debug: bool = False,
    **options: Any,
) -> ModuleType:
    """Return a module of an interface file; see `CompileContext`, also for what is raised."""
    return CompileContext(root=root, debug=debug).importThrift(path, **options)


def get_executable() -> str | None:
    """Return the path of Apache's compiler, or None if there is none in ``PATH``."""
    return shutil.which("thrift")


def require_executable() -> str:
    """Return the path of Apache's compiler.

    Raises:
        CompileError: there is none in ``PATH``.
    """
    found = get_executable()
    if found is None:
        raise CompileError("No program 'thrift' was found in PATH.")
    return found


_ALWAYS = ("new_style", "utf8strings")
_KNOWN = ("dynamic", "dynbase", "dynexc", "dynimport", "slots", "tornado", "twisted")


def options_of(given: dict[str, Any]) -> tuple[str, ...]:
    """Return options as the compiler takes them.

    Raises:
        CompileError: there is no such option.
    """
    for name in given.keys() - {*_ALWAYS, *_KNOWN}:
        raise CompileError(f"There is no option {name!r}, but {', '.join(_KNOWN)}.")
    on = {name: value for name, value in given.items() if value and name not in _ALWAYS}
    return tuple(sorted(name if on[name] is True else f"{name}={on[name]}" for name in on))


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
