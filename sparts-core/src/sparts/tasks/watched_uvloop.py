"""uvloop's event loop, watched for what blocks it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def uvloop_loop(
    flag: str, watch_of: Callable[[Callable[[], None]], Any] | None
) -> tuple[asyncio.AbstractEventLoop, Any]:
    """Make uvloop's loop, and its watch.

    It does not say when it waits. So the watch has it answer, once it was given something to do.
    Code that a transport calls directly is seen when it schedules anything.

    Args:
        flag: what asked for uvloop, for the error.
        watch_of: makes the watch, a `sparts.tasks.asyncio_loop.LoopWatch`, which asks the loop by
            the function that it is called with; None: nothing watches.

    Raises:
        UsageError: uvloop is not installed.
    """
    try:
        import uvloop
    except ImportError:
        raise UsageError(
            f"{flag} needs an extra that is not installed: pip install 'sparts-core[uvloop]'"
        ) from None
    loop = uvloop.new_event_loop()
    if watch_of is None:
        return loop, None
    methods = _Overridden(loop, uvloop.Loop.call_soon_threadsafe)
    watch = watch_of(methods.probe)
    methods.listen(watch)
    return loop, watch


class _Overridden:
    """The methods of one uvloop loop that inform its watch when it is given something to do.

    Those that schedule something at once are plain again from their next call until the watch has
    looked, so that they cost nothing in between.

    Args:
        loop: the loop.
        post: the plain method that schedules from other threads, which informs nobody.
    """

    def __init__(self, loop: Any, post: Callable[[Any, Callable[[], None]], Any]) -> None:
        self._own = vars(loop)
        self._post = partial(post, loop)
        self._heard = {
            name: self._now(getattr(loop, name)) for name in ("call_soon", "call_soon_threadsafe")
        }
        for name in ("call_later", "call_at", "add_reader", "add_writer"):
            self._own[name] = self._later(getattr(loop, name))

    def listen(self, watch: Any) -> None:
        """Begin to report."""
        self._watch = watch
        self._own.update(self._heard)

    def probe(self) -> None:
        """Have the loop say that it is not blocked, and hear what it is given meanwhile."""
        self._own.update(self._heard)
        self._post(self._watch.idle)

    def _stir(self) -> None:
        # Before it is noted: so it is never noted that nothing is scheduled while nobody hears it.
        for name in self._heard:
            self._own.pop(name, None)
        self._watch.stir()

    def _now(self, method: Any) -> Any:
        def schedule(*args: Any, **context: Any) -> Any:
            self._stir()
            return method(*args, **context)

        return schedule

    def _later(self, method: Any) -> Any:
        def stir_and_call(callback: Any, *args: Any) -> None:
            if not self._watch.stirred:
                self._stir()
            callback(*args)

        def schedule(what: Any, callback: Any, *args: Any, **context: Any) -> Any:
            return method(what, stir_and_call, callback, *args, **context)

        return schedule
