"""Runs the code that the `thrift` compiler generates, without a trace in ``sys.modules``.

Generated modules import each other by absolute names. They are given an ``__import__`` of their own
that finds the modules of their package and of those that their file includes, and leaves everything
else to Python's. So packages of one name, made of different files, do not meet.
"""

from __future__ import annotations

import builtins
import keyword
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sparts.thrift.compiler.errors import CompileError
from sparts.thrift.compiler.idl import find_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sparts.thrift.compiler.sources import Source

NO_NAMES = frozenset(keyword.kwlist) | {"self"}
"""What nothing in a generated module can be named."""


class Package(ModuleType):
    """The modules that were generated of one file; itself the module that a user gets.

    Args:
        name: the package's name in the generated code, such as ``a.b``.
        source: the file.
        codes: the generated modules' texts by their names in the package.
        includes: the packages of the files that it includes.
    """

    def __init__(
        self, name: str, source: Source, codes: Mapping[str, str], includes: Sequence[Package]
    ) -> None:
        super().__init__(name, f"Made of {source.name}.")
        self.__file__: str = source.name
        self.__path__: list[str] = []
        self._source = source
        self._codes = codes
        self._loaded: dict[str, ModuleType] = {}
        self._roots: dict[str, ModuleType] = {}
        self._includes = list(includes)
        self._builtins = {**vars(builtins), "__import__": self._import}
        for module in codes:
            self._load(module)
        self._show()

    def _show(self) -> None:
        """Let what the file defines, its services and what it includes be attributes."""
        for include in self._includes:
            setattr(self, include._source.stem, include)
        ttypes, constants = self._loaded["ttypes"], self._loaded["constants"]
        for name, value in vars(ttypes).items():
            if getattr(value, "__module__", None) == ttypes.__name__:
                setattr(self, name, value)
        for name, value in vars(constants).items():
            if name not in vars(ttypes):
                setattr(self, name, value)
        for name, module in self._loaded.items():
            setattr(self, name, module)

    def _load(self, name: str) -> ModuleType:
        if name not in self._loaded:
            module = ModuleType(f"{self.__name__}.{name}")
            module.__package__ = self.__name__
            module.__dict__["__builtins__"] = self._builtins
            self._loaded[name] = module
            exec(self._compile(name), vars(module))  # noqa: S102 - that is what it is there for
        return self._loaded[name]

    def _compile(self, name: str) -> Any:
        where = f"<{self.__name__}.{name} of {self._source.name}>"
        try:
            return compile(self._codes[name], where, "exec", dont_inherit=True)
        except SyntaxError as error:
            word = find_word(self._source.text, NO_NAMES.__contains__)
            if word is not None:
                what = f"{word[0]!r} cannot be a name in Python: choose another"
                raise CompileError(f"{what}.", self._source.name, word[1]) from error
            if not all(part.isidentifier() for part in self.__name__.split(".")):
                what = f"{self.__name__!r} cannot be the name of a module in Python"
                raise CompileError(
                    f"{what}: write `namespace py NAME` into the file, or rename it.",
                    self._source.name,
                ) from error
            raise CompileError(
                f"What the thrift compiler made of it is not valid Python: {error}.",
                self._source.name,
            ) from error

    def _import(
        self,
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        """Import for the package's own modules; see ``builtins.__import__``."""
        if level:
            return self._load(name)
        package, _, module = name.rpartition(".")
        found = self._find(package, module)
        if found is None:
            return builtins.__import__(name, globals, locals, fromlist, level)
        if fromlist:
            return found
        first, *others = name.split(".")
        node = root = self._roots.setdefault(first, ModuleType(first))
        for part in others[:-1]:
            if not isinstance(vars(node).get(part), ModuleType):
                setattr(node, part, ModuleType(part))
            node = getattr(node, part)
        setattr(node, module, found)
        return root

    def _find(self, package: str, module: str) -> ModuleType | None:
        for other in (*self._below(), self):
            if other.__name__ == package and module in other._codes:
                return other._load(module)
        return None

    def _below(self) -> list[Package]:
        """Return the packages of the files that this one includes, the nearest first."""
        found = list(self._includes)
        for package in found:
            found += [other for other in package._includes if other not in found]
        return found
