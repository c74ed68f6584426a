"""PeriodicTask: work that is done again and again, at an interval or by a cron expression."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.base_work import must_override
from sparts.counters import counter, own
from sparts.errors import OptionError
from sparts.option_types import Expected, duration, expectation
from sparts.options import Option, dest_of, flag_of, option, origin_of
from sparts.tasks.event import EventTask, ExecuteContext, TryLater
from sparts.tasks.schedules import Cron, Every, Schedule

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from datetime import timedelta

    from sparts.tasks.runs import Run

__all__ = ["ExecuteContext", "PeriodicTask", "TryLater"]


def _seconds(value: float | str | timedelta | None) -> float | None:
    if isinstance(value, str):
        return duration(value)
    if value is None or isinstance(value, int | float):
        return value
    if not hasattr(value, "total_seconds"):
        raise Expected(f"{expectation(duration)}, a number of seconds or a timedelta")
    return value.total_seconds()


class PeriodicTask(EventTask):
    """Calls `execute` at ``start + n x interval``, by the monotonic clock: it does not drift.

    A run that takes longer than the interval delays the next; the times that it has missed are made
    up for by one run (``n_missed`` counts the others), and the schedule stays where it was. With
    more than one of ``workers``, each runs by a schedule of its own, and runs may overlap. Runs
    that `trigger` and `execute_async` ask for come at once, between those of the schedule. After
    ``TryLater(after=s)`` nothing but these comes before ``s`` seconds have passed; after a plain
    `TryLater` the next attempt is the next run of the schedule.
    """

    _GONE: ClassVar[Mapping[str, str]] = {"_handle_try_later": "Catch TryLater in `execute`."}
    CALL_KIND: ClassVar[str] = "periodic"
    INTERVAL: float | str | timedelta | None = None
    """Time between two runs: seconds, a string such as ``"5m"``, or a timedelta; 0: no pause."""
    JITTER: float | str | timedelta = 0.0
    """Each run but that at the start is delayed at random by up to this; delays do not add up."""
    RUN_AT_START: bool = True
    """Whether the first run is at the start or one interval later; ``CRON`` ignores it."""
    CRON: str | None = None
    """A cron expression instead of an interval (needs ``sparts-core[cron]``); a run that is missed
    because the previous one still works is made up for as above."""
    TIMEZONE: str = "UTC"
    """The time zone of ``CRON``."""

    interval: Option[float] = option(
        type=duration,
        default=lambda cls: _seconds(cls.INTERVAL),
        metavar="DURATION",
        help="time between two runs",
    )
    jitter: Option[float] = option(
        type=duration,
        default=lambda cls: _seconds(cls.JITTER),
        metavar="DURATION",
        help="delay each run at random by up to this",
        advanced=True,
    )
    run_at_start: Option[bool] = option(
        type=bool,
        default=lambda cls: cls.RUN_AT_START,
        help="run at the start, too",
        advanced=True,
    )
    cron: Option[str] = option(
        default=lambda cls: cls.CRON,
        metavar="EXPRESSION",
        help="when to run instead of an interval: minute, hour, day, month, weekday",
    )
    timezone: Option[str] = option(
        default=lambda cls: cls.TIMEZONE,
        metavar="ZONE",
        help="the time zone of the cron expression",
        advanced=True,
    )

    n_slow_iterations: counter = counter(help="Runs that took longer than the interval.")
    n_missed: counter = counter(help="Runs that were left out because earlier ones took too long.")

    def initTask(self) -> None:  # noqa: N802
        """Check the schedule.

        OptionError: there is none, or it is none. UsageError: the ``cron`` extra is missing.
        """
        super().initTask()
        self._make_schedule()

    def check(self) -> None:
        """See whether there is a schedule, as `initTask` does."""
        super().check()
        self._make_schedule()

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse a cron expression or a time zone that is not valid."""
        super().check_options(options)
        if cron := getattr(options, dest_of(type(self), "cron"), None):
            zone = getattr(options, dest_of(type(self), "timezone"))
            self._make_cron(cron, zone, options)

    def on_options_changed(self, names: frozenset[str]) -> None:
        """Take in a new interval at once; anything else with the next start."""
        super().on_options_changed(names)
        with self._runs.wakeup:
            for worker in self._runs.workers:
                if isinstance(worker.schedule, Every):
                    worker.schedule.change(self._interval())
            self._runs.wakeup.notify_all()

    @must_override
    def execute(self, context: ExecuteContext | None = None) -> Any:
        """Do the work of one run; see `EventTask.execute`."""
        return super().execute(context)

    def _make_schedule(self) -> Schedule | None:
        """Make the schedule of one worker, from now on; None for a task that has none."""
        if self.cron:
            return self._make_cron(self.cron, self.timezone, self._instance.options)
        return Every(type(self).clock, self._interval(), self.jitter or 0.0, self.run_at_start)

    def _make_cron(self, cron: str, zone: str, options: argparse.Namespace) -> Cron:
        where = partial(origin_of, options, type(self))
        return Cron(type(self).clock, cron, zone, self.jitter or 0.0, self.name, where)

    def _interval(self) -> float:
        interval: float | None = self.interval
        if interval is None:
            from sparts.places import place_of

            cls = type(self)
            raise OptionError(
                f"{self.name} ({place_of(cls)}) has no interval: set "
                f"{cls.__name__}.INTERVAL, or give {flag_of(cls, 'interval')}."
            )
        return interval if interval >= 1e-6 else 0.0  # clocks do not distinguish such times

    def _took(self, run: Run, seconds: float) -> None:
        super()._took(run, seconds)
        own(self, PeriodicTask.n_missed).add(run.missed)
        if run.worker.schedule is not None and 0 < run.worker.schedule.interval < seconds:
            own(self, PeriodicTask.n_slow_iterations).increment()
