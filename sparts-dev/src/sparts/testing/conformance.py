"""`check_task`: whether a task type keeps what services expect of every task.

    def test_mailer_is_a_good_task() -> None:
        check_task(Mailer, "--mailer-host", "localhost")

It runs the task in services of its own, in this process, and says everything that it finds at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.base_work import marked_methods
from sparts.errors import UsageError, describe
from sparts.options import add_options, declared_options, prefix_of
from sparts.testing.leftovers import Leftovers
from sparts.testing.running import make_service, service_of
from sparts.testing.waiting import WAIT, log_of, restart, wait_for_event, wait_ready
from sparts.vservice import ServiceThread, VService
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN = 3
"""How many left-over things of one kind of life are shown."""


def check_task(task: type[VTask], *argv: str, cycles: int = 20, deadline: float = WAIT) -> None:
    """Check that a task type is declared well, and starts and stops well in any order.

    It has a name, a docstring and options with help of its own. It stops before it was started,
    right after its start and while others fail; it is reloaded and restarted; it works when a
    subclass overrides a method marked by `sparts.base_work` and does nothing there; and after
    ``cycles`` starts and stops nothing is left: threads, descriptors, unfinished coroutines.

    Args:
        task: the task type; for a base that does nothing by itself, a subclass that does.
        argv: the command line of the services that it runs in.
        cycles: how often it is started and stopped in search of what stays behind.
        deadline: seconds that a start, and a stop, may take.

    Raises:
        AssertionError: it does not; the message lists everything that was found.
    """
    problems = find_problems(task, *argv, cycles=cycles, deadline=deadline)
    if problems:
        name = getattr(task, "__name__", repr(task))
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise AssertionError(f"{name} does not do what every task must:{listed}")


def find_problems(
    task: type[VTask], *argv: str, cycles: int = 20, deadline: float = WAIT
) -> list[str]:
    """Return what is wrong with a task type, one sentence each; see `check_task`."""
    given: Any = task  # by people whose tests no type checker sees
    if not isinstance(given, type) or not issubclass(given, VTask):
        return ["It is no subclass of sparts.vtask.VTask."]
    trial = _Trial(task, argv, deadline)
    problems = [*_find_in_declaration(task)]
    if found := list(trial.warm_up()):
        return problems + found  # the others would say the same again and again
    for live in (trial.stop_before_start, trial.run, trial.restart, trial.override):
        problems += live()
    return problems + list(trial.cycle(cycles))


# -- the declaration -------------------------------------------------------------------------------


def _find_in_declaration(task: type[VTask]) -> Iterator[str]:
    if task.__name__.startswith("_"):
        yield f"Its name {task.__name__!r} begins with an underscore: nobody would find it."
    if not (task.__doc__ or "").strip():
        yield "It has no docstring, whose first line `-h` and `sparts tasks` show."
    prefix = prefix_of(task)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", prefix):
        yield f"Its option prefix {prefix!r} makes no good flags: use letters, digits and dashes."
    options = declared_options(task)
    for option in options:
        if not (option.help or "").strip():
            yield f"Its option {option.flag(prefix)} has no help."
    other: Any = type("other", (task,), {"OPT_PREFIX": "other", "__doc__": task.__doc__})
    try:
        parser = VService._makeArgumentParser()
        add_options(parser, VService, [task, other])
        parser.format_help()
    except UsageError as error:
        yield f"Its options, and those of a second task of its kind, do not go together: {error}"


# -- lives -----------------------------------------------------------------------------------------


class _BrokenOnPurpose(Exception):  # noqa: N818 - not an error
    """Raised by a task of ours, to end a start."""


class _Breaks(VTask):
    """Ends the start of a service."""

    LOOPLESS = True
    IN: ClassVar[str] = ""

    def initTask(self) -> None:  # noqa: N802
        self._break("initTask")

    def start(self) -> None:
        self._break("start")

    def _break(self, where: str) -> None:
        if where == self.IN:
            raise _BrokenOnPurpose


class _BreaksInInit(_Breaks):
    IN = "initTask"


class _BreaksInStart(_Breaks):
    IN = "start"


class _Trial:
    """The lives that a task is led through; each method yields what was wrong."""

    def __init__(self, task: type[VTask], argv: tuple[str, ...], deadline: float) -> None:
        self._task = task
        limit = f"{deadline:g}s"
        self._argv = ("--start-timeout", limit, "--stop-timeout", limit, *argv)
        self._deadline = deadline

    def warm_up(self) -> Iterator[str]:
        """Run once: what a process opens but once does not count as left behind."""
        yield from self._life("started and stopped", self._task)

    def stop_before_start(self) -> Iterator[str]:
        """Stop when only initialised, when only what it needs runs, and right after the start."""
        task = self._task
        when = {
            "stopped before its start": (task, _BreaksInInit),
            "stopped before its start, on tasks that run": (
                *task._dependencies(),
                _BreaksInStart,
                task,
            ),
            "stopped right after its start": (task, _BreaksInStart),
        }
        for what, tasks in when.items():
            yield from self._whole(what, *tasks, broken=True)

    def run(self) -> Iterator[str]:
        """Look at it while it runs, and have it reload."""

        def act(service: VService) -> Iterator[str]:
            task = service.getTask(self._task)
            if task is None:
                yield "It left itself out (SkipTask): give it what it needs."
                return
            if not task.healthy:
                yield "It runs but says that it is not healthy."
            try:
                json.dumps(service.stats.describe())
            except Exception as error:
                yield f"What the service says about it is not plain: {describe(error)}"

            reloaded = threading.Event()
            reload = service._instance.reloading.reload

            def note() -> None:
                reload()
                reloaded.set()

            service._instance.reloading.reload = note  # type: ignore[method-assign]
            service.health.request_reload()
            wait_for_event(reloaded, "the reload", service, self._deadline)
            yield from (f"It could not reload: {w}" for w in service.getWarnings().values())

        yield from self._whole("running", self._task, act=act)

    def restart(self) -> Iterator[str]:
        """Restart the service, and end it then."""

        def act(service: VService) -> tuple[str, ...]:
            restart(service, 2 * self._deadline)
            return ()

        yield from self._whole("restarted", self._task, act=act)

    def override(self) -> Iterator[str]:
        """Override each method that does work of the base, and do nothing in it."""
        for name in marked_methods(self._task):
            what = f"run with a {name} that does nothing, without super()"
            nothing = {
                name: lambda *_, **__: None,
                "__doc__": self._task.__doc__,
                "__module__": "tried",  # not one of sparts, whose own are marked
            }
            yield from self._whole(what, type(self._task.__name__, (self._task,), nothing))

    def cycle(self, cycles: int) -> Iterator[str]:
        """Start and stop again and again."""
        what, before = f"started and stopped (times: {cycles})", Leftovers()
        for _ in range(cycles):
            found = list(self._life(what, self._task))
            if found:
                yield from found
                return
        yield from _left(before, what)

    # -- helpers -----------------------------------------------------------------------------------

    def _whole(self, what: str, *tasks: Any, **life: Any) -> Iterator[str]:
        """Do what `_life` does, and yield what is left behind, too."""
        before = Leftovers()
        yield from self._life(what, *tasks, **life)
        yield from _left(before, what)

    def _life(
        self, what: str, *tasks: Any, act: Any = lambda service: (), broken: bool = False
    ) -> Iterator[str]:
        """Run a service of tasks to its end, ``act`` while it is ready; yield what goes wrong."""
        quiet = {"initLogging": lambda self: None, "REGISTER_SIGNAL_HANDLERS": False}
        service = make_service(service_of(*dict.fromkeys(tasks), **quiet), *self._argv)
        thread = ServiceThread(service)
        problems: list[str] = []
        with log_of(service, logging.ERROR) as log:
            thread.start()
            try:
                if broken:
                    service.health.ended.wait(3 * self._deadline)
                else:
                    wait_ready(service, 2 * self._deadline)
                    problems += act(service)
            except AssertionError as error:
                if not service.health.ended.is_set():  # else the reason comes below
                    problems.append(f"When {what}: {error}")
            finally:
                thread.service.shutdown()
                with contextlib.suppress(Exception):
                    thread.join(3 * self._deadline)
        yield from problems
        if thread.is_alive():
            yield f"When {what}, the service did not end."
        cause = getattr(thread.error, "__cause__", None)
        on_purpose = broken and isinstance(cause, _BrokenOnPurpose)
        if thread.error is not None and not on_purpose:
            yield f"When {what}: {describe(thread.error)}"
        elif broken and not on_purpose:
            yield f"When {what}, its start kept those after it from theirs."
        if thread.error is not None and not on_purpose:
            return  # what was logged says the same
        for line in log.items:
            level, name, message = line.splitlines()[0].split(":", 2)
            if name.startswith(f"{service.name}."):
                yield f"When {what}, it logged at level {level}: {message}"


def _left(before: Leftovers, what: str) -> Iterator[str]:
    found = before.find()
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        yield f"When {what}, it left behind: {', '.join(found[:SHOWN])}{more}."
