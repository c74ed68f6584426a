"""When copies that did not last are started again: at once the first time, then later and later."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.builtin.processes.child import State

if TYPE_CHECKING:
    from sparts.builtin.processes.child import Child

STEADY = 60.0
"""Seconds after which a copy that ends is not taken for one of a crash loop."""
LONGEST_DELAY = 30.0
"""Seconds; the most that lies between two starts of a copy that does not last."""


class Again:
    """The starts to come of copies that have failed, by their numbers."""

    def __init__(self) -> None:
        self.failures: dict[int, int] = {}
        """How often a copy has failed in a row."""
        self.due: dict[int, float] = {}
        """When it is started again, by `time.monotonic`."""

    def failed(self, child: Child) -> float:
        """Note that a copy did not last; return the seconds until the next start."""
        lasted = child.state is State.READY and monotonic() - child.began >= STEADY
        before = 0 if lasted else self.failures.get(child.number, 0)
        self.failures[child.number] = before + 1
        delay = min(LONGEST_DELAY, 2.0 ** (before - 2)) if before else 0.0
        self.due[child.number] = monotonic() + delay
        return delay

    def forget_due(self) -> None:
        """Forget the starts that are due now."""
        now = monotonic()
        self.due = {number: when for number, when in self.due.items() if when > now}

    def warnings(self) -> list[str]:
        """Return what there is to say of copies that fail again and again."""
        found = sorted(self.failures.items())
        return [f"Copy {number} has failed {n} times in a row" for number, n in found if n > 1]

    def told(self) -> dict[str, Any]:
        """Return what is shown of copies that fail again and again."""
        now = monotonic()
        return {
            "failures": {number: each for number, each in self.failures.items() if each > 1},
            "starts_again_in": {number: max(0.0, due - now) for number, due in self.due.items()},
        }
