"""Numbers that were read from a counter, and that read it again when they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable


class Live:
    """A number as it was read. Calling it, ``int()`` and ``float()`` read the counter again.

    ``service.getCounters()[name]()`` is how sparts 0.7 read a counter.
    """

    _read: Callable[[], float | None]

    def __call__(self) -> float | None:
        """The value now; None: there is none."""
        return self._read()

    def __int__(self) -> int:
        """The value now, without its fraction; TypeError if there is none."""
        return int(known(self._read()))

    def __float__(self) -> float:
        """The value now; TypeError if there is none."""
        return float(known(self._read()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as the plain number."""
        return type(self).__bases__[1], (repr(self),)


class LiveFloat(Live, float):
    """A `Live` float."""


class LiveInt(Live, int):
    """A `Live` int."""


LiveNumber: TypeAlias = LiveFloat | LiveInt
"""A number that was read from a counter."""


def live(value: float, read: Callable[[], float | None]) -> LiveNumber:
    """Return a number that ``read`` gave as a `Live` one."""
    found: LiveNumber = LiveInt(value) if isinstance(value, int) else LiveFloat(value)
    found._read = read
    return found


def known(value: float | None) -> float:
    """Return a counter's value.

    Raises:
        TypeError: it is None: nothing was added yet, or the value is not known now.
    """
    if value is None:
        raise TypeError("This counter has no value: nothing was added to it yet.")
    return value
