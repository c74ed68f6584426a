"""The text of handlers for the services of an interface: every method, with its types."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.thrift import ThriftHandlerTask
from sparts.tasks.thrift.reserved import is_reserved
from sparts.thrift.compiler.idl import find_docs
from sparts.thrift.interfaces import describe
from sparts.thrift.services import ThriftService, find_services

from thrift.Thrift import TType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from sparts.thrift.compiler.sources import Source
    from sparts.thrift.interfaces import MethodSpec

WIDTH = 100

_PLAIN = {
    TType.BOOL: ("bool", "bool"),
    TType.BYTE: ("i8", "int"),
    TType.I16: ("i16", "int"),
    TType.I32: ("i32", "int"),
    TType.I64: ("i64", "int"),
    TType.DOUBLE: ("double", "float"),
}


class Skeleton:
    """Handlers for the services of a module.

    Args:
        module: what thriftpy2's parser made of the interface.
        source: the interface.

    Raises:
        UsageError: there is no service in it.
    """

    def __init__(self, module: ModuleType, source: Source) -> None:
        self._module = module
        services = find_services(module)
        if not services:
            raise UsageError(f"{source.name} has no service to write a skeleton of.")
        bases = {base for each in services for base in each.target.__mro__[1:]}
        self._services = [each for each in services if each.target not in bases]
        self._docs: dict[tuple[str, str], str] = {}
        for each in source.in_order():
            self._docs |= find_docs(each.text)
        self.named: str = " and ".join(each.name for each in self._services)

    def words(self, package: str) -> dict[str, str]:
        """Return what stands for the words of the templates, in a project of this package."""
        names = [f"{each.name}Task" for each in self._services]
        several = len(names) > 1
        server = "Server" if several else '"NBServerTask"'
        return {
            "Task": names[0],
            "task_import": _listed(
                f"from {package}.tasks import ", sorted(names, key=_import_order), "", ""
            ),
            "TASKS": _listed("TASKS = (", [*names, server], ")", "    "),
            "handlers": "\n\n\n".join(map(self._handler, self._services)),
            "bases": self._imports(),
            "servers": _SERVER if several else "\n\n",
            "server_import": _SERVER_IMPORT if several else "",
            "multiplexed": "multiplex_service=service" if several else "service=service",
            "unwritten": "".join(
                f'    ("{each.name}", "{name}"),\n'
                for each in self._services
                for name in self._own(each)
            ),
        }

    def _imports(self) -> str:
        by_fb303 = [_extends_fb303(each) for each in self._services]
        lines = ["from sparts.tasks.fb303 import FB303HandlerTask"] if any(by_fb303) else []
        if not all(by_fb303):
            lines.append("from sparts.tasks.thrift import ThriftHandlerTask")
        return "\n".join(lines)

    def _own(self, service: ThriftService) -> list[str]:
        """Return the names of the methods that its handler does not inherit."""
        given = FB303HandlerTask.MAY_BE_ASYNC if _extends_fb303(service) else ()
        return [name for name in service.methods if name not in given]

    def _handler(self, service: ThriftService) -> str:
        base = FB303HandlerTask if _extends_fb303(service) else ThriftHandlerTask
        specs = describe(service)
        own = self._own(service)
        lines = [
            f"class {service.name}Task({base.__name__}):",
            f'    """Implements {service.name}."""',
            "",
            "    MODULE = interface",
            f'    SERVICE_NAME = "{service.name}"',
        ]
        taken = [name for name in own if is_reserved(base, name)]
        if taken:
            lines += ["", *_renaming(taken)]
        for name in own:
            lines += [
                "",
                *self._method(service, specs[name], f"on_{name}" if name in taken else name),
            ]
        return "\n".join(lines)

    def _method(self, service: ThriftService, spec: MethodSpec, name: str) -> Iterator[str]:
        fields = [field for field in spec.arguments_spec or () if field]
        parameters = ["self", *(f"{field[2]}: {_typed(field)[1]}" for field in fields)]
        given = [field for field in spec.result_spec or () if field and field[0] == 0]
        returns = _typed(given[0]) if given else ("void", "None")
        one_line = f"    def {name}({', '.join(parameters)}) -> {returns[1]}:"
        if len(one_line) <= WIDTH:
            yield one_line
        else:
            yield f"    def {name}("
            yield from (f"        {parameter}," for parameter in parameters)
            yield f"    ) -> {returns[1]}:"
        raises = [self._shown(error.__name__) for _, error in spec.errors]
        yield from _docstring(self._doc(service, spec), spec, returns[0], raises)
        yield f'        raise NotImplementedError("{spec.name}")'

    def _shown(self, name: str) -> str:
        return f"interface.{name}" if hasattr(self._module, name) else name

    def _doc(self, service: ThriftService, spec: MethodSpec) -> str:
        """Return the interface's comment on a method; its service's own, or a base's."""
        for base in service.target.__mro__:
            if doc := self._docs.get((base.__name__, spec.name)):
                return doc
        return ""


def _import_order(name: str) -> tuple[bool, str]:
    """Sort as isort does: classes before what is named like a variable."""
    return name[0].islower(), name.lower()


def _listed(begin: str, names: list[str], end: str, indent: str) -> str:
    """Return names between commas, on one line if they fit there."""
    line = begin + ", ".join(names) + end
    if len(indent + line) <= WIDTH:
        return line
    opening = begin if begin.endswith("(") else f"{begin}("
    return "\n".join([opening, *(f"{indent}    {name}," for name in names), f"{indent})"])


def _extends_fb303(service: ThriftService) -> bool:
    return any(base.__name__ == "FacebookService" for base in service.target.__mro__[1:])


def _typed(field: Any) -> tuple[str, str]:
    """Return the type of a field as the interface writes it, and as Python does."""
    return _type(field[1], field[3])


def _type(kind: int, inner: Any) -> tuple[str, str]:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == TType.STRING:
        return ("binary", "bytes") if inner == "BINARY" else ("string", "str")
    if kind in (TType.LIST, TType.SET):
        name = "list" if kind == TType.LIST else "set"
        of = _type(inner[0], inner[1])
        return f"{name}<{of[0]}>", f"{name}[{of[1]}]"
    if kind == TType.MAP:
        keys, values = _type(inner[0], inner[1]), _type(inner[2], inner[3])
        return f"map<{keys[0]}, {values[0]}>", f"dict[{keys[1]}, {values[1]}]"
    return inner[0].__name__, "Any"


def _docstring(doc: str, spec: MethodSpec, returns: str, raises: list[str]) -> Iterator[str]:
    doc = doc.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')
    first, _, rest = (doc or f"Answer {spec.name}.").partition("\n")
    paragraphs = [first, *rest.splitlines()]
    lines = [line for text in paragraphs for line in textwrap.wrap(text, WIDTH - 12) or [""]]
    if fields := [field for field in spec.arguments_spec or () if field]:
        lines += ["", "Args:", *(f"    {field[2]}: {_typed(field)[0]}" for field in fields)]
    if spec.result is None:
        lines += ["", "Nobody waits for its end (oneway)."]
    elif spec.returns:
        lines += ["", f"Returns: {returns}"]
    if raises:
        lines += ["", "Raises:", *(f"    {name}" for name in raises)]
    while lines and not lines[-1]:
        lines.pop()
    lines[0] = f'"""{lines[0]}'
    if len(lines) == 1:
        yield f'        {lines[0]}"""'
        return
    for line in lines:
        yield f"        {line}".rstrip()
    yield '        """'


def _renaming(names: list[str]) -> list[str]:
    shown = ", ".join(f'"{name}"' for name in names)
    if len(names) == 1:
        shown += ","
    return [
        "    def implementation(self, name: str) -> Any:",
        '        """Find the methods whose names mean something else to every task."""',
        f"        if name in ({shown}):",
        '            return getattr(self, f"on_{name}")',
        "        return super().implementation(name)",
    ]


_SERVER_IMPORT = "from sparts.tasks.thrift import NBServerTask\n"
_SERVER = '''

class Server(NBServerTask):
    """Serves several handlers, to clients that name the service in each call."""

    MULTIPLEX = True


'''
