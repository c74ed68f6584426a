"""NamedTuple: `typing.NamedTuple` for type checkers, made in a fifth of the time at run time.

A start makes about ten such classes, and the one of the standard library compiles code for each.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

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
        """A tuple whose items have names."""

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
