"""What the fb303 interface says about a service: its methods, without a transport.

fb303 is the interface by which tools ask thrift services for their status, counters and options.
Its names, numbers and types are those of ``fb303.thrift`` in Apache Thrift's contrib folder, and of
``fb303_core.thrift`` in fbthrift for the counters by pattern and the exported values. sparts-thrift
serves it over thrift and sparts-dbus over D-Bus; every answer comes from the service's own
introspection.
"""

from __future__ import annotations

import enum
import json
import math
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.errors import SpartsError, message_of
from sparts.masking import encodable
from sparts.net.asking import Asking
from sparts.patterns import matcher
from sparts.shown import ours
from sparts.states import ServiceStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sparts.protocols import Service


T = TypeVar("T")


class FB303Status(enum.IntEnum):
    """The status of a service, as the interface numbers it."""

    DEAD = 0
    STARTING = 1
    ALIVE = 2
    STOPPING = 3
    STOPPED = 4
    WARNING = 5


CONTROLS = frozenset({"setOption", "reinitialize", "shutdown"})
"""The methods that change something. A transport decides whom it lets call them."""
UNSET = "__None__"
"""What stands for an option without a value."""
I64 = range(-(2**63), 2**63)
LONGEST_PROFILE = 600
"""Seconds that a CPU profile may take at most."""

_profiling = threading.Lock()


class FB303:
    """The methods of the interface for one service. Safe for threads.

    Counters and checks that do not answer hold one thread and no caller: see `Asking`.

    Args:
        service: the service to describe.
    """

    def __init__(self, service: Service) -> None:
        self._service: Service = ours(service)
        self._asking = Asking()

    def _ask(self, question: str, function: Callable[[], T]) -> T:
        try:
            return self._asking.ask(question, function)
        except TimeoutError as error:
            raise SpartsError(message_of(error)) from error

    def getName(self) -> str:  # noqa: N802
        """Return the name of the service."""
        return self._service.name

    def getVersion(self) -> str:  # noqa: N802
        """Return the version of the service; ``""`` if it has none."""
        return self._service.VERSION

    def getStatus(self) -> FB303Status:  # noqa: N802
        """Return where the service is in its life, WARNING while a check fails. NEW, which fb303
        does not know, is STARTING."""
        with suppress(SpartsError):  # a check that hangs does not hide the rest
            self._ask("results", self._service.health.check_results)
        status = self._service.health.status
        return FB303Status[ServiceStatus.STARTING if status is ServiceStatus.NEW else status]

    def getStatusDetails(self) -> str:  # noqa: N802
        """Return why the status is what it is, for a person; ``""`` when all is well."""
        return encodable(self._ask("checks", self._service.health.status_details))

    def aliveSince(self) -> int:  # noqa: N802
        """Return when the service was made, in seconds since the epoch."""
        return int(self._service.health.start_time)

    # -- counters ----------------------------------------------------------------------------------

    def getCounters(self) -> dict[str, int]:  # noqa: N802
        """Return all counters that have a value, as whole numbers of 64 bits."""
        counters = self._ask("counters", self._service.getCounters)
        values = {name: value.real for name, value in counters.items()}  # as they were read
        return {name: _whole(value) for name, value in values.items() if math.isfinite(value)}

    def getCounter(self, key: str) -> int:  # noqa: N802
        """Return a counter as a whole number of 64 bits; 0 if there is none or it has no value."""
        try:
            value = self._ask(f"counter {key}", lambda: self._service.getCounter(key)).real
        except KeyError:
            return 0
        return _whole(value) if math.isfinite(value) else 0

    def getSelectedCounters(self, keys: Iterable[str]) -> dict[str, int]:  # noqa: N802
        """Return those of the counters that there are."""
        counters = self.getCounters()
        return {key: counters[key] for key in keys if key in counters}

    def getRegexCounters(self, regex: str) -> dict[str, int]:  # noqa: N802
        """Return the counters whose names a regular expression matches from their start on.

        Raises:
            SpartsError: the expression is not valid, too long, or needs an extra (`matcher`).
        """
        matches = matcher(regex)
        return {key: value for key, value in self.getCounters().items() if matches(key)}

    # -- exported values ---------------------------------------------------------------------------

    def getExportedValues(self) -> dict[str, str]:  # noqa: N802
        """Return all exported values."""
        values = self._service.getExportedValues()
        return {encodable(key): encodable(str(value)) for key, value in values.items()}

    def getExportedValue(self, key: str) -> str:  # noqa: N802
        """Return an exported value; ``""`` if there is none."""
        return encodable(str(self._service.getExportedValue(key)))

    def getSelectedExportedValues(self, keys: Iterable[str]) -> dict[str, str]:  # noqa: N802
        """Return those of the exported values that there are."""
        values = self.getExportedValues()
        return {key: values[key] for key in keys if key in values}

    def getRegexExportedValues(self, regex: str) -> dict[str, str]:  # noqa: N802
        """Return the exported values whose names a regular expression matches from their start on.

        Raises:
            SpartsError: the expression is not valid, too long, or needs an extra (`matcher`).
        """
        matches = matcher(regex)
        return {key: value for key, value in self.getExportedValues().items() if matches(key)}

    # -- options -----------------------------------------------------------------------------------

    def getOptions(self) -> dict[str, str]:  # noqa: N802
        """Return all options as texts by name (``http_port``), secret ones masked."""
        return {name: _text(value) for name, value in self._service.getOptions().items()}

    def getOption(self, key: str) -> str:  # noqa: N802
        """Return an option as text, a secret one masked; ``__None__`` if there is none or it is
        unset."""
        return self.getOptions().get(key.replace("-", "_"), UNSET)

    def setOption(self, key: str, value: str) -> None:  # noqa: N802
        """Set an option from a string, by the rules of the command line; ``__None__`` unsets it.

        Raises:
            OptionError: there is no such option, the value is not one for it, or it may not change
                at run time.
        """
        self._service.setOption(key, None if value == UNSET else value)

    # -- what else changes or costs something ------------------------------------------------------

    def reinitialize(self) -> None:
        """Ask the service to restart, and return at once."""
        self._service.restart()

    def shutdown(self) -> None:
        """Ask the service to stop, and return at once."""
        self._service.shutdown()

    def getCpuProfile(self, profileDurationInSec: int) -> str:  # noqa: N802, N803
        """Profile all threads of the process, and return which functions took its CPU time.

        Blocks as long as it profiles, but no longer than until the stop of the service. Every
        call of a function costs more meanwhile.

        Args:
            profileDurationInSec: how long, in seconds; 1 to 600.

        Raises:
            SpartsError: the time is out of range, another profile is being taken, or yappi, which
                takes it, is not installed.
        """
        if not 1 <= profileDurationInSec <= LONGEST_PROFILE:
            raise SpartsError(
                f"A CPU profile takes 1 to {LONGEST_PROFILE} seconds, not {profileDurationInSec}."
            )
        try:
            import yappi
        except ImportError as error:
            raise SpartsError("A CPU profile needs yappi: pip install yappi.") from error
        if not _profiling.acquire(blocking=False):
            raise SpartsError("Another CPU profile is being taken. Ask again when it has ended.")
        try:
            return _profile(yappi, lambda: self._service.health.wait_stopping(profileDurationInSec))
        finally:
            _profiling.release()


def _whole(value: float) -> int:
    return max(I64.start, min(I64.stop - 1, int(value)))


def _text(value: Any) -> str:
    if value is None:
        return UNSET
    return encodable(value) if isinstance(value, str) else json.dumps(value)


def _profile(yappi: Any, wait: Callable[[], object]) -> str:
    import io

    yappi.clear_stats()
    yappi.set_clock_type("cpu")
    yappi.start(builtins=True)
    try:
        wait()
    finally:
        yappi.stop()
    try:
        out = io.StringIO()
        columns = {0: ("name", 80), 1: ("ncall", 10), 2: ("tsub", 10), 3: ("ttot", 10)}
        yappi.get_func_stats().sort("tsub").print_all(out, columns)
        yappi.get_thread_stats().sort("ttot").print_all(out)
        return out.getvalue()
    finally:
        yappi.clear_stats()
