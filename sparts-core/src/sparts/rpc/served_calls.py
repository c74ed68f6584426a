"""Calls that methods serve, as the methods and wrappers of calls see them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from sparts.calls import Call

if TYPE_CHECKING:
    from sparts.rpc.interface import Method


class Origin(Protocol):
    """Where a call comes from, as a transport says; read only if somebody asks."""

    @property
    def peer(self) -> str:
        """The address of the caller, without a port; empty: unknown."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers or metadata, by lower-case name."""


class RPCCall(Call):
    """A call that a method serves: what `current_call` returns, and what wrappers of calls get.

    Attributes:
        method: the method.
        deadline: when the caller gives up, by `time.monotonic`; None: never.
        cancelled: whether nobody waits for the result any more; a method in a thread may look.
    """

    kind = "rpc"
    cancelled = False

    def __init__(
        self,
        task: Any,
        method: Method,
        attributes: Mapping[str, Any],
        origin: Origin | None,
        deadline: float | None,
    ) -> None:
        self.task: Any = task
        self.method: Method = method
        self.attributes = attributes
        self.is_async: bool = method.is_async
        self.deadline, self._origin = deadline, origin

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method: ``Geo.distance``."""
        return self.method.qualified

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the caller, without a port; empty: unknown, or this process."""
        return self._origin.peer if self._origin is not None else ""

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """Headers or metadata, by lower-case name."""
        return self._origin.headers if self._origin is not None else {}


current: ContextVar[RPCCall | None] = ContextVar("rpc_call", default=None)


def current_call() -> RPCCall | None:
    """Return the call that the method serves which runs here; None: none does."""
    return current.get()
