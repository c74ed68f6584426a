"""What a client may make us do for nothing: resets, settings, pings, frames without data."""

from __future__ import annotations

MOST = 1000.0
"""How much of it a client may have in store."""
EACH_SECOND = 50.0
"""How much it earns in a second."""


class Budget:
    """How much a client may cost that brings no call forward.

    Args:
        now: the time of the loop.
    """

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left, self._at = MOST, now

    def earn(self) -> None:
        """Note a call that was answered."""
        if self._left < MOST:
            self._left += 1.0

    def spend(self, amount: float, now: float) -> bool:
        """Note what costs us something; return whether it was too much."""
        self._left -= amount
        if self._left < 0:
            self._left = min(MOST, self._left + (now - self._at) * EACH_SECOND)
            self._at = now
        return self._left < 0
