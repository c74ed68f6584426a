"""What the calls of a handler need of it: `ThriftHandlerTask` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable


class Handler(Protocol):
    """The object whose methods answer the calls of a thrift service."""

    name: str
    logger: logging.Logger
    service: Any
    INLINE: ClassVar[bool]
    n_calls: Any
    n_errors: Any
    call_duration_ms: Any

    @property
    def _call_wrappers(self) -> Any:
        """What plugins wrap its calls in; see `sparts.calls`."""

    @property
    def loop_task(self) -> Any:
        """The loop on which its coroutines run."""

    def implementation(self, name: str) -> Callable[..., Any] | None:
        """Return what implements a method of the service; None: nothing does."""

    def invoke(self, method: Any, arguments: Any) -> tuple[int, Any, Any]:
        """Call a method, wait for its end, and return what came of it."""
