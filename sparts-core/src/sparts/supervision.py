"""When a failed worker runs again: what ``RESTART`` of a task says, and the waits in between."""

from __future__ import annotations

from math import inf

from sparts.clock import retry_delay
from sparts.errors import FATAL, UsageError
from sparts.startup import NamedTuple


class RestartPolicy(NamedTuple):
    """When, how soon and how often a failed worker is restarted.

    By default a worker is restarted without end, so that a service survives an outage of what it
    needs. Meanwhile the service has the status WARNING. ``limit`` makes it give up.
    """

    mode: str = "never"
    """``"never"``, ``"on-failure"`` or ``"always"`` (also when it returns by itself)."""
    first_wait: float = 0.1
    """Seconds before the first restart; the wait doubles with each failure in a row."""
    max_wait: float = 30.0
    """Seconds that a wait grows to at most."""
    jitter: float = 0.1
    """The share of the wait that is random, so that services do not restart in step."""
    limit: int | None = None
    """How many failures in a row are followed by a restart; one more ends the service. None: all
    are."""
    window: float = 60.0
    """Seconds that a restarted worker must run for before its next failure starts a new row, and
    before the warning of the service goes."""

    @classmethod
    def of(cls, task: type, restart: object) -> RestartPolicy:
        """Return the policy that the ``RESTART`` of a task type means: a policy, or just its mode.

        Raises:
            UsageError: it is neither; the message names the attribute and its place.
        """
        policy = restart if isinstance(restart, cls) else cls(str(restart))
        numbers: list[object] = [*policy[1:4], policy.limit or 0, policy.window]
        right = all(isinstance(each, int | float) and each >= 0 for each in numbers)
        if policy.mode not in ("never", "on-failure", "always") or not right:
            from sparts.places import named

            raise UsageError(
                f"{task.__name__}.RESTART is {restart!r}: use 'never', 'on-failure', 'always' or "
                f"a sparts.vtask.RestartPolicy, of numbers from 0 up. See {named(task, 'RESTART')}."
            )
        return policy


class Backoff:
    """Whether, and after how long, one worker runs again after what left it."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.failures: int = 0
        """How many failures there have been in a row."""
        self._policy = policy
        self._restarted = -inf

    def after(self, error: BaseException | None, now: float) -> float | None:
        """Note what left the worker (None: it returned) at a monotonic time.

        Returns:
            The seconds to wait before it runs again, or None if it must not.
        """
        policy = self._policy
        modes = ("always",) if error is None else ("on-failure", "always")
        if isinstance(error, FATAL) or policy.mode not in modes:
            return None
        if now - self._restarted > policy.window:
            self.failures = 0
        wait = retry_delay(self.failures, policy.first_wait, policy.max_wait, policy.jitter)
        self.failures += 1
        self._restarted = now + wait
        gives_up = policy.limit is not None and self.failures > policy.limit
        return None if error is not None and gives_up else wait
