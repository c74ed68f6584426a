"""The methods of a service as a handler has them, checked before the first call."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from sparts.errors import StartError
from sparts.thrift.interfaces import describe
from sparts.thrift.processor import Method

if TYPE_CHECKING:
    from collections.abc import Container

    from sparts.thrift.handlers import Handler
    from sparts.thrift.services import ThriftService


def bind(handler: Handler, service: ThriftService, taken: Container[str] = ()) -> dict[str, Method]:
    """Return the methods of a service as a handler has them.

    Args:
        handler: has the methods, or says what implements them.
        service: whose methods they are.
        taken: names that mean something else to the handler, so that it cannot have methods of the
            service under them: its `implementation` has to say what implements these.

    Raises:
        StartError: some are missing or take other parameters; the message names each.
    """
    wrong: list[str] = []
    methods: dict[str, Method] = {}
    for name, spec in describe(service).items():
        wanted = f"{name}({', '.join(spec.parameters)})"
        function = handler.implementation(name)
        if not callable(function) and name in taken:
            wrong.append(explain_reserved(name, wanted))
        elif not callable(function) or _is_placeholder(function):
            wrong.append(f"it has no method {wanted}")
        elif not _takes(function, len(spec.parameters)):
            wrong.append(f"{name}{inspect.signature(function)} does not take what {wanted} gives")
        else:
            methods[name] = Method(handler, spec, function)
    if wrong:
        raise StartError(
            f"{handler.name} does not implement the service {service.name}: {'; '.join(wrong)}."
        )
    return methods


def _is_placeholder(function: Any) -> bool:
    """Whether it is the empty method of the generated ``Iface`` that the handler derives from."""
    made_in = getattr(function, "__globals__", {})
    return f"{getattr(function, '__name__', '')}_args" in made_in and "Iface" in made_in


def _takes(function: Any, count: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # it does not say
        return True
    return True


def explain_reserved(name: str, wanted: str) -> str:
    """Return what to do about a method of a service whose name is not free, without a full stop."""
    return (
        f"its method {wanted} has a name that means something else to every task, or to Python: "
        f"write it under another name, such as on_{name}, and override implementation(self, name) "
        f'to return self.on_{name} for "{name}"'
    )
