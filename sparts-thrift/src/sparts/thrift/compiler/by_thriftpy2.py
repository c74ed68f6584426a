"""Makes modules of interface files by thriftpy2's parser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sparts.thrift.compiler.errors import CompileError
from sparts.thrift.compiler.idl import line_of

if TYPE_CHECKING:
    from types import ModuleType

    from sparts.thrift.compiler.layout import Layout
    from sparts.thrift.compiler.sources import Source


class ThriftPy2Parser:
    """Runs thriftpy2's parser, and takes what it makes out of its cache.

    Files are parsed one by one, what they include first; the parser finds that in its cache.

    Raises:
        ImportError: thriftpy2 is not installed.
    """

    def __init__(self) -> None:
        from thriftpy2.parser import parser

        self._parser: Any = parser
        self._made: dict[Source, tuple[str, ModuleType]] = {}

    @property
    def _cache(self) -> dict[str, ModuleType]:
        cache: dict[str, ModuleType] = self._parser._thrift_cache
        return cache

    def make(self, source: Source, layout: Layout, options: tuple[str, ...] = ()) -> None:
        """Make modules of a file and of all that it includes.

        Raises:
            CompileError: the parser complains, or there are options, of which it knows none.
        """
        if options:
            what = ", ".join(options)
            raise CompileError(f"thriftpy2 has no options, but {what} is asked for.", source.name)
        for each in source.in_order():
            if each.module is None:
                each.module = self._make(each, layout)

    def _make(self, source: Source, layout: Layout) -> ModuleType:
        path = str(layout.path(source))
        lent = {
            layout.include(other).replace("/", ".").removesuffix(".thrift")
            + "_thrift": other.module
            for other in source.included.values()
            if other.module is not None
        }
        self._cache.update(lent)
        try:
            module: ModuleType = self._parser.parse(path, enable_cache=False)
        except Exception as error:  # also what the parser stumbles over
            raise _complaint(error, source, path) from error
        finally:
            for key in lent:
                self._cache.pop(key, None)
        module.__dict__["__thrift_file__"] = module.__file__ = source.name
        return module


def _complaint(error: Exception, source: Source, path: str) -> CompileError:
    words = str(error).replace(path, source.name)
    told = re.search(r"\bline (\d+)", words)
    line = int(told[1]) if told else line_of(words, source.text)
    return CompileError(words or type(error).__name__, source.name, line)
