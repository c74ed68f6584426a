"""A limit on how often each peer may call a task: so many calls in any period of some seconds."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.calls import CallRefusedError, Reason
from sparts.hookspecs import hookimpl
from sparts.option_types import duration
from sparts.options import OptionGroup, option

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.calls import Call, Wrapper
    from sparts.vservice import VService
    from sparts.vtask import VTask

MAX_PEERS = 10_000  # known at a time; of more, those that have not called for longest are forgotten


class RateOptions(OptionGroup):
    """How often each peer may call."""

    OPT_PREFIX = "rate"

    calls = option(type=int, default=0, help="calls in each period for one peer; 0: any number")
    period = option(type=duration, default=1.0, help="the length of a period")


@hookimpl
def sparts_options_add(service_class: type[VService]) -> type[OptionGroup]:
    """Add --rate-calls and --rate-period."""
    return RateOptions


class Limit:
    """Counts the calls of each peer; for any thread."""

    def __init__(self, calls: int, period: float) -> None:
        self.calls, self.period = calls, period
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, call: Call, proceed: Callable[[], Any]) -> Any:
        """Let a call proceed, or refuse it and say when to try again."""
        now = monotonic()
        with self._lock:
            times = self._times.setdefault(call.peer, deque(maxlen=self.calls))
            self._times.move_to_end(call.peer)
            wait = times[0] + self.period - now if len(times) == self.calls else 0.0
            if wait <= 0:
                times.append(now)
            if len(self._times) > MAX_PEERS:
                self._times.popitem(last=False)
        if wait > 0:
            raise CallRefusedError(Reason.TOO_MANY, "Too many calls.", retry_after=wait)
        return proceed()


@hookimpl
def sparts_call_wrap(task: VTask, kind: str) -> Wrapper | None:
    """Limit every task that handles calls, if there is a limit."""
    options = RateOptions(task.service)
    return Limit(options.calls, options.period).check if options.calls else None
