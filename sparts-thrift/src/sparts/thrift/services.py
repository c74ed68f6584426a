"""The services of a module: what they are called, and which methods they have.

A module is one of

* a service's module that the `thrift` compiler made (``calculator.Calculator``: it has ``Client``
  and ``Processor``), or the package that holds it (``calculator``);
* what `sparts.thrift.compiler` returns;
* a module of thriftpy2's, or one of its service classes.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ThriftMethod:
    """A method of a service: what its name, its parameters and its documentation are."""

    name: str
    parameters: tuple[str, ...]
    """The names of its parameters, in order."""
    oneway: bool
    """Whether its caller does not wait for an answer."""
    doc: str = field(default="", compare=False)


@dataclass(frozen=True)
class ThriftService:
    """A service of a module."""

    name: str
    target: Any
    """The service's module, made by the `thrift` compiler; or thriftpy2's class."""
    by_thriftpy2: bool
    """Whether thriftpy2 made it, so that only thriftpy2's protocols can carry it."""
    methods: Mapping[str, ThriftMethod]
    """By name, those that it inherits included."""


def find_service(module: Any, name: str | None = None) -> ThriftService:
    """Return a service of a module.

    Args:
        module: see the top of this file.
        name: the service's name; None: the module's only one.

    Raises:
        UsageError: there is none of that name, or several and none was named.
    """
    found = {service.name: service for service in find_services(module)}
    where = getattr(module, "__name__", repr(module))
    if not found:
        raise UsageError(
            f"{where} has no thrift service: give what the thrift compiler made of one, such as "
            f"calculator.Calculator, or a module of sparts.thrift.compiler or thriftpy2."
        )
    names = ", ".join(sorted(found))
    if name is None:
        if len(found) > 1:
            raise UsageError(f"{where} has several services: {names}. Name one of them.")
        return next(iter(found.values()))
    if name not in found:
        raise UsageError(f"{where} has no service {name!r}. It has: {names}.")
    return found[name]


def find_services(module: Any) -> list[ThriftService]:
    """Return the services of a module, in their order there; not those that it includes."""
    if _is_apache(module):
        return [_of_apache(module)]
    if _is_thriftpy2(module):
        return [_of_thriftpy2(module)]
    members = dict(vars(module)) if hasattr(module, "__dict__") else {}
    if isinstance(module, ModuleType) and hasattr(module, "__path__"):
        for name in getattr(module, "__all__", ()):  # the compiler names all modules of a package
            if name not in members and name not in ("ttypes", "constants"):
                members[name] = importlib.import_module(f"{module.__name__}.{name}")
    return [
        _of_apache(member) if _is_apache(member) else _of_thriftpy2(member)
        for name, member in members.items()
        if not name.startswith("_") and (_is_apache(member) or _is_thriftpy2(member))
    ]


def _is_apache(module: Any) -> bool:
    return isinstance(module, ModuleType) and all(
        inspect.isclass(vars(module).get(name)) for name in ("Iface", "Client", "Processor")
    )


def _is_thriftpy2(service: Any) -> bool:
    return inspect.isclass(service) and isinstance(getattr(service, "thrift_services", None), list)


def _of_apache(module: ModuleType) -> ThriftService:
    methods: dict[str, ThriftMethod] = {}
    for name, function in inspect.getmembers(module.Iface, inspect.isfunction):
        parameters = tuple(inspect.signature(function).parameters)[1:]
        oneway = not hasattr(module.Client, f"recv_{name}")
        methods[name] = ThriftMethod(name, parameters, oneway, inspect.getdoc(function) or "")
    return ThriftService(module.__name__.rpartition(".")[2], module, False, methods)


def _of_thriftpy2(service: Any) -> ThriftService:
    methods: dict[str, ThriftMethod] = {}
    for name in service.thrift_services:
        spec = getattr(service, f"{name}_args").thrift_spec
        oneway = bool(getattr(service, f"{name}_result").oneway)
        methods[name] = ThriftMethod(name, tuple(field[1] for field in spec.values()), oneway)
    return ThriftService(service.__name__, service, True, methods)
