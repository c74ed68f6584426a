"""check_task: every task type of the core keeps its contract, and what breaks it is named."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sparts import entry_points
from sparts.errors import SkipTask
from sparts.options import option
from sparts.rpc import rpc
from sparts.tasks.asyncio import AsyncioTask
from sparts.testing.conformance import check_task, find_problems
from sparts.vtask import VTask

from tests.core.leaving import LEFT, leave_a_descriptor


async def _wait(self: Any, *arguments: Any) -> None:
    await asyncio.get_running_loop().create_future()


async def _nothing_async(self: Any, *arguments: Any) -> None:
    pass


def _nothing(self: Any, *arguments: Any) -> None:
    pass


class Described:
    """An interface of RPC."""

    @rpc
    def nothing(self) -> None:
        """Do nothing."""


#: What a subclass has to add to each task type of the core before it can run at all.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "AsyncPeriodicTask": {"execute": _nothing_async, "INTERVAL": 0.001},
    "AsyncQueueTask": {"execute": _nothing_async},
    "AsyncioLoopTask": {},
    "AsyncioServerTask": {"make_protocol": lambda self: asyncio.Protocol()},
    "AsyncioTask": {"run": _wait},
    "DirectoryWatcherTask": {},
    "EventTask": {"execute": _nothing},
    "PeriodicTask": {"execute": _nothing, "INTERVAL": 0.001},
    "PollerTask": {"fetch": lambda self: 1, "INTERVAL": 0.001},
    "PriorityQueueTask": {"execute": _nothing},
    "QueueTask": {"execute": _nothing, "WORKERS": 3},
    "RPCClientTask": {"INTERFACE": Described, "URL": "local:Described"},
    "SelectTask": {},
    "UniqueQueueTask": {"execute": _nothing},
}


@pytest.mark.parametrize("name", [e.name for e in entry_points.find("sparts.tasks")
                                  if e.distribution == "sparts-core"])  # fmt: skip
def test_every_task_type_of_the_core_conforms(name: str, tmp_path: Path) -> None:
    task: Any = entry_points.load_task(name, "sparts-core")
    attributes = dict(BODIES[name])
    if name == "DirectoryWatcherTask":
        attributes["PATH"] = str(tmp_path)
    if attributes:
        task = type(name, (task,), {**attributes, "__doc__": task.__doc__})
    check_task(task)


class Well(VTask):
    """Waits for the end."""

    def _runloop(self) -> None:
        self.stop_event.wait()


def test_a_task_that_does_all_passes() -> None:
    assert find_problems(Well, cycles=2) == []


def problems_of(task: Any, *argv: str, deadline: float = 30.0) -> str:
    with pytest.raises(AssertionError) as caught:
        check_task(task, *argv, cycles=3, deadline=deadline)
    message = str(caught.value)
    assert message.startswith(f"{getattr(task, '__name__', task)} does not do what every task must")
    return message


class Undocumented(Well):
    word = option(type=str)


class _Hidden(Well):
    """Waits."""


class Spaced(Well):
    """Waits."""

    OPT_PREFIX = "my prefix"


class Greedy(Well):
    """Waits."""

    @classmethod
    def option_prefix(cls) -> str:
        return "greedy"

    word = option(type=str, help="a word")


class Leaking(Well):
    """Leaves something behind."""

    left: ClassVar[list[Callable[[], object]]] = []


@pytest.fixture
def mend() -> Iterator[None]:
    """Let go of what the leaking tasks left behind."""
    yield
    for end in Leaking.left:
        end()
    Leaking.left.clear()


@pytest.mark.usefixtures("mend")
@pytest.mark.parametrize(("leave", "told"), LEFT)
def test_what_is_left_behind_is_told(
    leave: Callable[[], Callable[[], object]], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Leaks(Leaking):
        """Leaves something behind."""

        def initTask(self) -> None:  # noqa: N802
            self.left.append(leave())

    monkeypatch.setattr("sparts.testing.leftovers.PATIENCE", 0.01)
    message = problems_of(Leaks)
    assert told in message
    assert "When stopped before its start, it left behind" in message
    assert "When started and stopped (times: 3), it left behind" in message


class NeedsItsStart(Well):
    """Stops well only when it was started."""

    def start(self) -> None:
        self.started_well = True
        super().start()

    def stop(self) -> None:
        super().stop()
        if not self.started_well:
            raise AssertionError("never")


def test_stop_that_fails_before_start_is_told() -> None:
    message = problems_of(NeedsItsStart)
    assert "When stopped before its start, it logged at level ERROR" in message
    assert "When started" not in message


class NeverStops(VTask):
    """Never stops."""

    gate: ClassVar[threading.Event] = threading.Event()

    def _runloop(self) -> None:
        self.gate.wait()


def test_task_that_does_not_stop_is_reported() -> None:
    try:
        message = problems_of(NeverStops, deadline=0.1)
    finally:
        NeverStops.gate.set()
    assert "StopTimeoutError: Not stopped, although 0.1 s have passed: NeverStops" in message


class NeverReady(Well):
    """Never gets ready."""

    def initTask(self) -> None:  # noqa: N802
        self.set_ready(False)


def test_task_that_never_gets_ready_is_reported() -> None:
    message = problems_of(NeverReady, deadline=0.05)
    assert "NeverReady is ALIVE, not ready" in message


class Crashes(VTask):
    """Crashes."""

    def _runloop(self) -> None:
        raise ValueError("no such host")


class Skipped(Well):
    """Leaves itself out."""

    def initTask(self) -> None:  # noqa: N802
        raise SkipTask("not configured")


class CannotReload(Well):
    """Cannot reload."""

    def reload(self) -> None:
        raise OSError("no such file")


class Unhealthy(Well):
    """Is ill."""

    @property
    def healthy(self) -> bool:
        return False


class OnlyOnce(Well):
    """Can run but once."""

    LOOPLESS = True
    runs: ClassVar[list[int]] = []

    def start(self) -> None:
        self.runs.append(1)
        if len(self.runs) > 5:
            raise OSError("in use")


class StopsWhatNeverBegan(AsyncioTask):
    """Stops badly on a loop in which it never began."""

    async def run(self) -> None:
        await _wait(self)

    def stop(self) -> None:
        super().stop()
        if self.loop_task.open and not self._begun:
            raise RuntimeError("nothing to stop")


class FailsItsFourthStop(Well):
    """Fails when it is stopped right after its start: that is its fourth life."""

    stops: ClassVar[list[int]] = []

    def stop(self) -> None:
        super().stop()
        self.stops.append(1)
        if len(self.stops) == 4:
            raise OSError("too early")


def test_stop_that_fails_right_after_start_is_told() -> None:
    message = problems_of(FailsItsFourthStop)
    assert message.count("\n- ") == 1
    assert "When stopped right after its start, it logged at level ERROR" in message


class NotPlain(Well):
    """Says about itself what no transport can show."""

    def initTask(self) -> None:  # noqa: N802
        value: Any = Path("/")
        self.service.setExportedValue("root", value)


class LeaksAtRestarts(Leaking):
    """Leaves a descriptor behind when its service restarts."""

    def stop(self) -> None:
        super().stop()
        if self.service.health.restarting:
            self.left.append(leave_a_descriptor())


@pytest.mark.usefixtures("mend")
def test_what_a_restart_leaves_behind_is_told() -> None:
    message = problems_of(LeaksAtRestarts)
    assert message.count("\n- ") == 1
    assert "When restarted, it left behind: the descriptor" in message


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (int, "no subclass of sparts.vtask.VTask"),
        (Undocumented, "It has no docstring"),
        (Undocumented, "--Undocumented-word has no help"),
        (_Hidden, "begins with an underscore"),
        (Spaced, "'my prefix' makes no good flags"),
        (Greedy, "do not go together"),
        (Crashes, "ValueError: no such host"),
        (Skipped, "left itself out"),
        (CannotReload, "Reload of CannotReload failed: no such file"),
        (Unhealthy, "says that it is not healthy"),
        (OnlyOnce, "start of OnlyOnce failed: OSError: in use"),
        (StopsWhatNeverBegan, "stopped before its start, on tasks that run"),
        (NotPlain, "What the service says about it is not plain: TypeError"),
    ],
)
def test_what_breaks_the_contract_is_told(task: type, told: str) -> None:
    assert told in problems_of(task)
