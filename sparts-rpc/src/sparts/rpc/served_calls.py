"""Calls that methods serve, as the methods and wrappers of calls see them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from sparts.calls import Call

if TYPE_CHECKING:
    from sparts.rpc.interface import Method


class Origin(Protocol):
    """Where a call comes from, as a transport says; read only if somebody asks.

    It may have a ``deadline`` too, as `RPCCall` has.
    """

    @property
    def peer(self) -> str:
        """The address of the caller, without a port; empty: unknown."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers or metadata, by lower-case name."""


class RPCCall(Call):
    """A call that a method serves: what `current_call` returns, and what wrappers of calls get.

    Attributes:
        task: the task.
        method: the method.
        name: its name: ``Geo.distance``.
        is_async: whether it is ``async def``.
        origin: where it comes from; None: that is not known.
        deadline: when the caller gives up, by `time.monotonic`; None: never.
        cancelled: whether nobody waits for the result any more; a method in a thread may look.
    """

    kind = "rpc"
    cancelled = False

    def __init__(self, served: Any, origin: Origin | None, deadline: float | None) -> None:
        self._served = served
        self.task: Any = served.task
        self.method: Method = served.method
        self.name: str = self.method.qualified
        self.is_async: bool = self.method.is_async
        self.origin: Origin | None = origin
        self.deadline: float | None = deadline

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The name of the ``transport``."""
        return {"transport": self._served.transport}

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the caller, without a port; empty: unknown, or this process."""
        return self.origin.peer if self.origin is not None else ""

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """Headers or metadata, by lower-case name."""
        return self.origin.headers if self.origin is not None else {}


current: ContextVar[Any] = ContextVar("rpc_call", default=None)
"""The `RPCCall`, or the list of which `call_of` makes it, which is empty once the call has ended.
To empty it costs a fifth of a reset of the variable."""


def current_call() -> RPCCall | None:
    """Return the call of the method that runs here; None: none does."""
    found = current.get()
    if isinstance(found, list):
        return call_of(found) if found else None
    known: RPCCall | None = found
    return known


def call_of(here: list[Any]) -> RPCCall:
    """Return the call of what is in `current`: its `Served`, what makes the origin of what the
    transport knows, that, and the deadline."""
    if len(here) > 1:
        served, make_origin, raw, deadline = here
        origin = raw if make_origin is None else make_origin(raw)
        deadline = deadline or getattr(origin, "deadline", None)
        here[:] = [RPCCall(served, origin, deadline)]
    call: RPCCall = here[0]
    return call
