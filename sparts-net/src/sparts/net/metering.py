"""What every server does with its requests: counts, times, names and logs them.

A server task derives from `Metered`, and calls its `Meter` when a request begins and ends. Both
calls together take about a microsecond. `Requests` limits the memory that the requests of all
clients of a server take together.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from logging import Logger
from math import floor, inf
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import CallbackCounter, counter, own
from sparts.counters.metric import Labelled, labelled
from sparts.counters.sampling import SampleType, samples
from sparts.logs import level_name, log_fields
from sparts.masking import one_line
from sparts.option_types import Expected
from sparts.options import Option, option
from sparts.shown import ours

if TYPE_CHECKING:
    from sparts.protocols import Service


SMALL = 4096
"""Bytes of a request that are not counted: so many every client may have."""
FULL = "The requests of all clients take too much memory."
"""Why a request is refused."""


class Requests:
    """The requests that arrive or are not answered, of which the slowest give way to others.

    So clients that only hold memory do not keep out those that use it. For the thread of the loop.

    A sender has two methods: ``sending_for()`` returns for how many seconds the client has been
    sending, or None if it has sent all. ``refuse_for_memory()`` refuses a request that was
    released, as the protocol says it.

    Args:
        limit: how many bytes they may take; 0: no limit.
        logger: warns when requests are refused, at most once a minute.
    """

    def __init__(self, limit: int, logger: Any) -> None:
        self._limit, self._logger, self._warn_from = limit or inf, logger, 0.0
        self._held: dict[Any, int] = {}
        self.taken: int = 0
        self.n_refused: int = 0
        """How many requests were refused to make room."""

    def hold(self, sender: Any, size: int) -> bool:
        """Note how many bytes a request takes now; False: it was refused, to make room.

        Requests that have come wholly are not refused, except the one that is held.
        """
        self.taken += size - self._held.get(sender, 0)
        self._held[sender] = size
        if self.taken > self._limit:
            self._make_room(sender)
        return sender in self._held

    def _make_room(self, newest: Any) -> None:
        rates = {newest: inf}
        for sender, size in self._held.items():
            if (seconds := sender.sending_for()) is not None:
                rates[sender] = size / max(seconds, 1e-6)
        for sender in sorted(rates, key=lambda each: rates[each]):
            if self.taken <= self._limit * 15 / 16:
                break
            self.release(sender)
            self.n_refused += 1
            sender.refuse_for_memory()
        if monotonic() >= self._warn_from:
            self._warn_from = monotonic() + 60.0
            text = "Requests of all clients take more than %d MiB of memory: some are refused"
            self._logger.warning(text, int(self._limit) >> 20)

    def release(self, sender: Any) -> None:
        """Note that a request was answered, or that its client has gone."""
        self.taken -= self._held.pop(sender, 0)


#: What is taken over from a client: what proxies make, and nothing that could break a log line.
# -- what each server does -------------------------------------------------------------------------

VALID_ID = r"[A-Za-z0-9._~+/=:@-]{1,128}"  # compiled at the first use

LOST = 6
"""The outcome ``lost`` of HTTP."""

_AT_ONCE = 64
"""Durations that are collected before they are added to the samples. More would save little, and
the requests that wait meanwhile would make the slowest hundredth (p99) slower."""
_made = itertools.count(1)
_process = os.urandom(6).hex()
_FIELD = "request_id"


def valid_or_new_id(given: str) -> str:
    """Return the id that a client gave its request if it is a valid one, or else a new one."""
    return given if given and re.fullmatch(VALID_ID, given) else f"{_process}-{next(_made):x}"


def request_id() -> str:
    """Return the id of the request that the present context serves; empty: it serves none."""
    return str(log_fields.get({}).get(_FIELD, ""))


class RequestFields(Mapping[str, object]):
    """The log fields of a request: its id, which is looked for or made when it is first read.

    Args:
        headers: pairs of bytes, the names in lower case: ``x-request-id`` may be among them.
    """

    __slots__ = ("_headers", "_id")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = headers
        self._id = ""

    @property
    def request_id(self) -> str:
        """The id of the request."""
        if not self._id:
            given = (value for name, value in self._headers if name == b"x-request-id")
            self._id = valid_or_new_id(next(given, b"").decode("latin-1"))
        return self._id

    def __getitem__(self, name: str) -> object:
        """Give the id; KeyError for another name."""
        if name != _FIELD:
            raise KeyError(name)
        return self.request_id

    def __iter__(self) -> Iterator[str]:
        """Give the one name."""
        return iter((_FIELD,))

    def __len__(self) -> int:
        """Give the number of fields, 1."""
        return 1


def access_level_name(text: str) -> str:
    """A level of the standard library by its name, or OFF."""
    if text.strip().upper() == "OFF":
        return "OFF"
    try:
        return level_name(text)
    except Expected as exc:
        raise Expected(f"{exc}, or OFF") from None


class Lasting(counter):
    """A counter that knows also after a reset how much was counted in all."""

    _start: float = 0

    def reset(self, value: float = 0) -> None:
        """Back to ``value``."""
        if not hasattr(self, "_cells"):
            super().reset()
            # Counts without Python's code, in any thread; but each look counts, too.
            self._ones, self._looks = itertools.count(), 0
            vars(self)["increment"] = self._ones.__next__
        self._start = self.total() - value

    def total(self) -> float:
        """What was added since it was made."""
        with self._lock:
            ones = next(self._ones) - self._looks
            self._looks += 1
        return ones + super().__call__()

    def __call__(self) -> float:
        """What was added since the last reset."""
        return self.total() - self._start


class Metered:
    """A mixin for server tasks: the counters of their requests, and their access log.

    Put it before the other bases. Code that serves a request calls `Meter.begin` and `Meter.end`.
    """

    OUTCOMES: ClassVar[Mapping[str, int]] = {
        "other": logging.ERROR, "1xx": logging.INFO, "2xx": logging.INFO, "3xx": logging.INFO,
        "4xx": logging.WARNING, "5xx": logging.ERROR, "lost": logging.WARNING,
    }  # fmt: skip
    """How a request can end, each with the level of its log line. HTTP: the class of the status,
    or ``lost`` if the client had gone before its response was complete."""

    access_log: Option[str] = option(
        type=access_level_name,
        default="WARNING",
        metavar="LEVEL",
        help="which requests to log: INFO all, WARNING those that failed, ERROR those that failed "
        "by a fault of the server, OFF none",
        advanced=True,
    )

    requests: Lasting = Lasting(help="Requests.")
    responses: Labelled[Lasting] = labelled(
        Lasting(help="Requests that have ended, by their outcome."), "status"
    )
    request_duration_ms: samples = samples(
        types=[SampleType.COUNT, SampleType.AVG, SampleType.P50, SampleType.P90, SampleType.P99,
               SampleType.P999, SampleType.MAX],
        windows=[60, 3600],
        help="Time from the headers of a request to the end of its response.",
        unit="ms",
    )  # fmt: skip
    in_flight: CallbackCounter = CallbackCounter(
        lambda task: task.n_in_flight(), help="Requests that have begun and not ended."
    )

    access_logger: Logger
    access_level: int
    meter: Meter
    if TYPE_CHECKING:
        logger: logging.Logger

    def __init__(self, service: Service) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)  # type: ignore[call-arg]
        self.access_logger = logging.getLogger(f"{ours(self).logger.name}.access")
        self.access_level = logging.WARNING
        self.meter = Meter(self)

    def n_in_flight(self) -> int:
        """Return how many requests have begun and not ended; called in any thread."""
        ended = sum(own(self, Metered.responses).labels(name).total() for name in self.OUTCOMES)
        return int(
            own(self, Metered.requests).total() - ended
        )  # in this order: it is never below 0

    def initTask(self) -> None:  # noqa: N802
        """Take in which requests to log."""
        super().initTask()  # type: ignore[misc]
        self._take_access_level()

    def on_options_changed(self, names: frozenset[str]) -> None:
        """Take in which requests to log."""
        super().on_options_changed(names)  # type: ignore[misc]
        self._take_access_level()

    def _take_access_level(self) -> None:
        name = self.access_log or "OFF"
        self.access_level = (logging.getLevelNamesMapping() | {"OFF": logging.CRITICAL + 1})[name]


class Collected(counter):
    """A counter of what is collected elsewhere: ``collect`` adds that, before each read."""

    collect: Callable[[], object] = int

    def reset(self, value: float = 0) -> None:
        """Back to ``value``."""
        self.collect()
        super().reset(value)

    def __call__(self) -> float:
        """What was added up to now."""
        self.collect()
        return super().__call__()


class Durations:
    """Collects durations for samples, many at once: that costs a fifth of adding one by one.

    Args:
        found: the samples that they are added to, in milliseconds.
        counted: counts them.
    """

    __slots__ = ("_collected", "_counted", "_flushing", "_samples", "_until")

    def __init__(self, found: Any, counted: Collected | None = None) -> None:
        self._samples = found
        self._counted = counted
        self._collected = array("d")
        self._until = 0.0  # when the second ends whose durations are collected
        self._flushing = threading.Lock()
        found.collect = self._flush
        if counted is not None:
            counted.collect = self._flush

    def add(self, began: float) -> float:
        """Add the time since ``began`` (`time.perf_counter`), and return the time now; from any
        thread.
        """
        now, collected = perf_counter(), self._collected
        if now >= self._until or len(collected) >= _AT_ONCE:
            self._flush()
            self._until = floor(now) + 1.0
        collected.append((now - began) * 1000.0)
        return now

    def _flush(self) -> None:
        with self._flushing:
            batch = self._collected[:]
            del self._collected[: len(batch)]
            self._samples.add_many(batch)
            if self._counted is not None:
                self._counted.add(len(batch))


class Meter(Durations):
    """Meters the requests of one task; `end` is for one thread at a time, the rest for any."""

    __slots__ = ("_ended", "_levels", "_task", "begin")

    def __init__(self, task: Metered) -> None:
        super().__init__(task.request_duration_ms)
        self._task = task
        self.begin: Callable[[], None] = task.requests.increment
        """Call it when a request begins, and note `time.perf_counter` for its end."""
        self._ended = [task.responses.labels(name).increment for name in task.OUTCOMES]
        self._levels = list(task.OUTCOMES.values())

    def end(self, outcome: int, began: float) -> float:
        """Count and time a request that has ended; return the time now (`time.perf_counter`).

        Args:
            outcome: its number in the order of ``OUTCOMES``; of HTTP: the status // 100.
            began: when it began.
        """
        self._ended[outcome]()
        return self.add(began)

    def logs(self, outcome: int) -> bool:
        """Return whether a request that ended so is to be logged."""
        task, level = self._task, self._levels[outcome]
        return level >= task.access_level and task.access_logger.isEnabledFor(level)

    def log(
        self,
        outcome: int,
        status: object,
        method: str,
        path: str,
        remote: str,
        seconds: float,
        fields: Mapping[str, object],
    ) -> None:
        """Write the line of a request: never what a query, a header or a body holds.

        Args:
            outcome: how it ended; it gives the level of the line.
            status: its status, for the line.
            method: its method.
            path: its path, without the query.
            remote: the address of the client.
            seconds: how long it took.
            fields: the fields of the line, the ``request_id`` among them.
        """
        extra: dict[str, Any] = {
            "status": status, "method": method, "path": path, "remote_ip": remote,
            "duration_ms": round(seconds * 1000.0, 3),
        }  # fmt: skip
        known = log_fields.set(fields)
        try:
            self._task.access_logger.log(
                self._levels[outcome],
                "%s %s %s (%s) %.2f ms",
                status,
                one_line(method),
                one_line(path),
                one_line(remote),
                seconds * 1000.0,
                extra=extra,
            )
        finally:
            log_fields.reset(known)
