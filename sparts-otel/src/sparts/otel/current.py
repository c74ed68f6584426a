"""The tracer provider of the process: that of the service which runs now.

OpenTelemetry lets the provider of a process be set once, and a service that restarts has a new one.
So what is set once refers to the present one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.util._decorator import _agnosticcontextmanager

if TYPE_CHECKING:
    from collections.abc import Iterator

_NONE = trace.NoOpTracerProvider()
_providers: list[trace.TracerProvider] = []


def begin(provider: trace.TracerProvider) -> None:
    """Make a provider the present one. A provider that somebody else set for the process stays."""
    _providers.append(provider)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(_Present())


def end(provider: trace.TracerProvider) -> None:
    """Make the provider of before the present one again."""
    _providers.remove(provider)


def latest() -> trace.TracerProvider:
    """Return the present one."""
    return _providers[-1] if _providers else _NONE


class _Present(trace.TracerProvider):
    """Gives tracers that ask the present provider for each span."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """Return a tracer."""
        return _PresentTracer(args, kwargs)


class _PresentTracer(trace.Tracer):
    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._args, self._kwargs = args, kwargs

    def _tracer(self) -> Any:
        return latest().get_tracer(*self._args, **self._kwargs)

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        found: trace.Span = self._tracer().start_span(*args, **kwargs)
        return found

    @_agnosticcontextmanager  # as OpenTelemetry's own: it decorates functions and coroutines, too
    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Iterator[trace.Span]:
        with self._tracer().start_as_current_span(*args, **kwargs) as span:
            yield span
