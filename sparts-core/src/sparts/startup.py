"""What keeps the start of a service short: imports that wait or cost less, and lighter types."""

from __future__ import annotations

import gc
import importlib
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import NamedTuple as NamedTuple


@contextmanager
def nothing_collected(for_good: bool = False) -> Iterator[None]:
    """Pause the garbage collector: for imports, which stay to the end.

    Else it looks at all of it again and again: 5 % of the start of an HTTP service.

    Args:
        for_good: whether it never looks at what there is at the end.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if not for_good:
            gc.unfreeze()  # into the oldest generation
        if paused:
            gc.enable()


def imported_later(module: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module, which imports names when they are first asked for.

    To be set where no type checker sees it: it would let every name pass, misspelt ones too.

    Args:
        module: the name of the module.
        homes: by the modules that have them, the names.
    """
    found = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(found[name]), name)

    return get


if not TYPE_CHECKING:

    class _Fields(type):
        """Makes a class of tuples from the annotations in its body."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if bases[0] is tuple or hasattr(bases[0], "_fields"):
                return super().__new__(cls, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body[field] for field in fields if field in body}
            body |= {field: property(itemgetter(at)) for at, field in enumerate(fields)}
            body |= {"_fields": fields, "_field_defaults": defaults, "__match_args__": fields}
            return super().__new__(cls, name, bases, body | {"__slots__": ()})

    class NamedTuple(tuple, metaclass=_Fields):
        """`typing.NamedTuple`, which type checkers see, made in a fifth of the time.

        A start makes about ten such classes, and that of the standard library compiles code for
        each.
        """

        __slots__ = ()

        def __new__(cls, *values: Any, **named: Any) -> Any:
            """Make one; TypeError if the arguments do not fit the fields."""
            if len(values) == len(cls._fields) and not named:
                return tuple.__new__(cls, values)
            rest = cls._fields[len(values) :]
            found = cls._field_defaults | named
            if len(values) > len(cls._fields) or not named.keys() <= set(rest) <= found.keys():
                raise TypeError(f"{cls.__name__} has other fields: {', '.join(cls._fields)}.")
            return tuple.__new__(cls, (*values, *(found[field] for field in rest)))

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **named: Any) -> Any:
            return type(self)(**(self._asdict() | named))

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            shown = map("{}={!r}".format, self._fields, self)
            return f"{type(self).__name__}({', '.join(shown)})"
