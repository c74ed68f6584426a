"""The parent of the copies: it opens the sockets, starts, watches, replaces and stops the copies.

Its main thread waits in `Parent.run` for signals, notifications, messages, ends of copies and
deadlines. After each it looks in `_step` what there is to do. It runs no code of a task. Another
thread writes the log, which may have to wait for its reader.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from logging import DEBUG, ERROR, INFO, WARNING
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.builtin import MOST_COPIES, Processes, daemon, logs, systemd
from sparts.builtin.processes.channel import Notifications
from sparts.builtin.processes.child import LONGEST_DELAY, STEADY, Again, Child, Plan, State
from sparts.builtin.processes.relay import Relay
from sparts.inbox import SAME, STACKS, STOP, await_ready
from sparts.this_process import EXIT_DEADLINE, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.vservice import VService

GRACE = 4.0
"""Seconds past its own deadline after which a copy is killed."""
LATE = 0.5
"""Seconds past its time after which a timer shows that the parent itself did not run."""
READY_WITHIN = 60.0
"""Seconds that a copy has to become ready where ``--start-timeout`` says nothing; the first copies
may take any time."""
SIGNALS = (*STOP, signal.SIGHUP, STACKS, signal.SIGTTIN, signal.SIGTTOU)


class Parent:
    """Keeps the copies of a service running.

    Args:
        service: what they are copies of; it does not run here.
        plan: how they are started, but for the variables.
        signals: where the numbers of signals are read that have come.
        later: calls a function in a thread that may wait, as for somebody who reads the log.
    """

    def __init__(
        self, service: VService, plan: Plan, signals: int, later: Callable[..., object]
    ) -> None:
        asked = Processes(service)
        self.target: int = asked.processes or 1
        """How many copies there are to be."""
        self.children: list[Child] = []
        """All copies that live, those too that are being replaced."""
        self.rolling: list[int] = []
        """The numbers of the copies that are to be replaced still."""
        self.trouble: str = ""
        """Why copies were not replaced; ``""``: they were."""
        self._service, self._signals, self._later = service, signals, later
        limits = map(service.getOption, ("start_timeout", "stop_timeout"))
        self._start_timeout, self._stop_timeout = limits
        self._watchdog = systemd.watchdog_interval(partial(self._say, WARNING))  # systemd's
        self._patience = self._watchdog or asked.processes_watchdog or 0.0
        self._again = Again()
        self.stopping: bool = False
        """Whether all copies are to stop."""
        self._started, self._replaces_later, self._replacing = False, False, 0
        self._status, self._told = 0, ""
        self._signalled: dict[int, float] = {}
        self._fed = monotonic()
        self._relay = Relay(self)
        self._notify = Notifications()
        variables = {"NOTIFY_SOCKET": self._notify.address}
        if self._patience:
            variables["WATCHDOG_USEC"] = str(int(self._patience * 1e6))
        self._plan = plan._replace(variables=variables)

    # -- waiting -----------------------------------------------------------------------------------

    def run(self) -> int:
        """Run copies until the end of all of them; return the exit status."""
        try:
            self._step()
            while self.children or not self.stopping:
                self._wait()
                self._step()
                trouble = [f"Not all copies were replaced: {self.trouble}"] if self.trouble else []
                self._relay.inform(trouble + self._again.warnings())
                self._tell()
            return self._status
        finally:
            for child in self.children:  # only after an error: they end when we have gone
                child.channel.close()
            self._notify.close()

    def _wait(self) -> None:
        """Wait until something happens, and act on it."""
        ends = {child.pidfd: child for child in self.children}
        channels = {one.channel.fileno(): one for one in self.children if one.channel.fileno() >= 0}
        due = min((when for when, _ in self._timers()), default=inf)
        ready = await_ready(
            (self._signals, self._notify.fileno(), *ends, *channels),
            due - monotonic(),
            (each for each, child in channels.items() if child.channel.wants_to_write),
        )
        if (now := monotonic()) - due > LATE:  # stopped as a whole: nobody could send anything
            for child in self.children:
                child.heard = max(child.heard, now)
        self._take_notifications()
        for descriptor in ready:
            if descriptor == self._signals:
                for number in os.read(self._signals, 4096):
                    self._on_signal(signal.Signals(number))
            elif descriptor in channels:
                self._on_messages(channels[descriptor])
        for descriptor in ready:
            if descriptor in ends:
                self._on_end(ends[descriptor])
        now = monotonic()
        for when, act in list(self._timers()):
            if when <= now:
                act()

    def _timers(self) -> Iterator[tuple[float, Callable[[], object]]]:
        """Give what is to be done at a time, by `time.monotonic`."""
        for child in self.children:
            if child.deadline is not None:
                yield child.deadline, partial(self._kill, child)
            if child.state is State.READY and child.number in self._again.failures:
                yield child.began + STEADY, partial(self._again.failures.pop, child.number)
            if self._patience and child.state is State.READY:
                yield child.heard + self._patience, partial(self._kill, child)
        yield from ((when, bool) for when in self._again.due.values())  # which `_step` does
        yield from self._relay.timers()
        if self._watchdog:
            yield self._fed + self._watchdog / 2, self._feed

    # -- what happens ------------------------------------------------------------------------------

    def _on_signal(self, number: signal.Signals) -> None:
        now = monotonic()
        if number in STOP:
            if now - self._signalled.get(number, -inf) >= SAME:
                self._signalled[number] = now
                self._say(INFO, "%s Received!  Stopping the copies...", number.name)
                self.stop()
        elif number == signal.SIGHUP:
            self.replace()
        elif number == STACKS:
            # one that starts has no handler yet, so that the signal might end it
            for child in [each for each in self.children if each.state is not State.STARTING]:
                child.send(STACKS)
        else:
            self.scale(self.target + (1 if number == signal.SIGTTIN else -1))

    def _take_notifications(self) -> None:
        for pid, lines in self._notify.receive():
            for child in self.children:
                if child.pid == pid:
                    self._on_notification(child, lines)

    def _on_notification(self, child: Child, lines: list[str]) -> None:
        child.heard = monotonic()
        if "READY=1" in lines and child.state is State.STARTING:
            child.enter(State.READY)
            self._say(INFO, "%s is ready", child)
            for other in self._of(child.number, State.READY):
                if other is not child:
                    self._end(other)
        elif "STOPPING=1" in lines and child.state is State.READY:  # by itself
            self._failed(child)
            self._stops(child)

    def _on_messages(self, child: Child) -> None:
        child.channel.flush()
        messages = child.channel.receive()
        if messages is None:
            child.channel.close()
        for message in messages or ():
            if "connections" in message:
                child.connections = {**child.connections, message["task"]: message["connections"]}
            else:
                self._relay.take(child, message)

    def _on_end(self, child: Child) -> None:
        status = child.reap()
        self.children.remove(child)
        self._relay.gone(child)
        if child.asked and status == -signal.SIGTERM:  # it had not come so far as to handle it
            status = 0
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended: {status}"
        if self.stopping:
            status = EXIT_DEADLINE if child.late else status
            self._status = max(self._status, 1 if status < 0 else status)
        if child.asked and not status:
            self._say(DEBUG, "%s has ended", child)
        else:
            self._say(ERROR, "%s %s", child, how)
        if self.stopping:
            return
        if child.state is State.STARTING and not self._started:
            self._say(ERROR, "The start has failed")
            self._status = 1 if status <= 0 else status
            self.stop()
            return
        again = child.number in self.rolling  # with newer code
        if child.state is State.STARTING and self._replacing == child.number and not again:
            self._give_up_replacing(f"{child} {how}, before it was ready")
        if child.state is not State.STOPPING and not self._of(child.number):
            self._failed(child)

    def _failed(self, child: Child) -> None:
        """Start a copy that did not last again: at once the first time, then later and later."""
        if delay := self._again.failed(child):
            text = "Copy %d has failed %d times in a row: it is started again in %g s"
            self._say(WARNING, text, child.number, self._again.failures[child.number], delay)

    def _kill(self, child: Child) -> None:
        why = {
            State.STARTING: "has not become ready in time",
            State.READY: f"has not shown for {self._patience:g} s that it works",
            State.STOPPING: "has not ended in time",
        }
        self._say(ERROR, "%s %s: it is killed", child, why[child.state])
        child.deadline = child.heard = inf
        child.late = True
        child.send(signal.SIGKILL)

    # -- what there is to do -----------------------------------------------------------------------

    def stop(self) -> None:
        """Stop all copies; a second time, have them end at once."""
        again, self.stopping = self.stopping, True
        if not again:
            self._service._instance.health.stop_deadline = monotonic() + self._stop_timeout
            systemd.notify("STOPPING=1")
        for child in list(self.children):
            if again:
                child.send(signal.SIGTERM)
            elif not child.asked:
                self._end(child)

    def replace(self) -> str:
        """Replace all copies, one after the other; return what is said of it."""
        if self.stopping:
            return "The service stops: its copies are not replaced."
        if not self._started:
            self._replaces_later = True
            return "The copies are replaced when all have started."
        self._say(INFO, "Replacing the copies")
        if (logging := logs.logging_of(self._service)) is not None:
            self._later(logging.handler.reopen)
        systemd.notify_reloading()
        self.rolling, self.trouble = list(range(1, self.target + 1)), ""
        self._again = Again()  # the new code may not fail
        return f"Copies to replace, one after the other: {self.target}."

    def scale(self, target: int) -> str:
        """Change how many copies there are; return what is said of it."""
        if 1 <= target <= MOST_COPIES and not self.stopping:
            self.target = target
            self._say(INFO, "Copies wanted: %d", target)
        return f"Copies wanted: {self.target}."

    def told(self) -> dict[str, Any]:
        """Return what is shown of the parent and its copies, also of those that wait to start."""
        return {
            "pid": os.getpid(), "target": self.target,
            "replacing": bool(self.rolling or self._replacing), "trouble": self.trouble,
            **self._again.told(), "copies": [child.told() for child in self.children],
        }  # fmt: skip

    def _step(self) -> None:
        """Do what is to be done now."""
        if self.stopping:
            return
        self._choose_first()
        self._again.forget_due()
        for child in list(self.children):
            if child.number > self.target and child.state is not State.STOPPING:
                self._end(child)
        # At the start one goes first: what is wrong with all of them is said once.
        alone = not self._started and not self._of(1, State.READY)
        for number in range(1, (1 if alone else self.target) + 1):
            if number not in self._again.due and not self._of(number) and not self.stopping:
                self._start(number)
        if not self._started:
            self._started = len(self._ready()) >= self.target
            if self._started:
                self._say(INFO, "Copies ready: %d of %d", self.target, self.target)
                self._later(partial(daemon.sparts_service_ready, self._service, True))
                self._tell("READY=1")
                if self._replaces_later:
                    self.replace()
        if self._replacing or self.rolling:
            self._roll()

    def _roll(self) -> None:
        """Go on replacing copies: the next one, when the last is ready."""
        if self._of(self._replacing, State.STARTING):
            return
        self._replacing = 0
        while self.rolling and not self._replacing:
            number = self.rolling[0]
            if self._of(number, State.STARTING):  # perhaps with the old code
                return
            self.rolling.pop(0)
            if self._of(number, State.READY):
                self._replacing = number
                self._start(number)
        if not self._replacing:
            self._say(INFO, "All copies are replaced")
            self._tell("READY=1")

    def _give_up_replacing(self, why: str) -> None:
        self.rolling, self._replacing, self.trouble = [], 0, why
        self._say(ERROR, "No more copies are replaced, the old ones stay: %s", why)
        self._tell("READY=1")

    def _start(self, number: int) -> None:
        first = not any(child.first for child in self.children)
        try:
            child = Child(self._plan, number, first)
        except OSError as error:
            why = f"Copy {number} cannot be started: {reason_of(error)}"
            if self._started and self._replacing == number:
                self._give_up_replacing(why)
                return
            self._say(ERROR, "%s", why)
            self._again.due[number] = monotonic() + LONGEST_DELAY
            if not self._started:
                self._status = 1
                self.stop()
            return
        if limit := self._start_timeout or (READY_WITHIN if self._started else 0.0):
            child.deadline = monotonic() + limit + GRACE
        self.children.append(child)

    def _choose_first(self) -> None:
        """Have one copy run the tasks that must run once, when the one before has ended."""
        if not any(child.first for child in self.children) and (ready := self._ready()):
            chosen = min(ready, key=lambda one: one.number in (*self.rolling, self._replacing))
            chosen.first = True
            chosen.channel.send({"do": "first"})

    def _end(self, child: Child) -> None:
        """Ask a copy to stop."""
        child.asked = True
        child.send(signal.SIGTERM)
        self._stops(child)

    def _stops(self, child: Child) -> None:
        child.enter(State.STOPPING)
        if self._stop_timeout:
            child.deadline = monotonic() + self._stop_timeout + GRACE

    def _of(self, number: int, state: State | None = None) -> list[Child]:
        """Return the copies of a number that are not stopping, or are in a state."""
        return [
            child
            for child in self.children
            if child.number == number
            and (child.state is state if state else child.state is not State.STOPPING)
        ]

    def _ready(self) -> list[Child]:
        return [child for child in self.children if child.state is State.READY]

    def _say(self, level: int, text: str, *args: object) -> None:
        self._later(partial(self._service._instance.logger.log, level, text, *args))

    def _tell(self, *more: str) -> None:
        """Have systemd know how many copies are ready, if that has changed, and more."""
        text = f"STATUS=Copies ready: {len(self._ready())} of {self.target}. {self.trouble}"
        if more or text != self._told:
            self._told = text
            systemd.notify(*more, text.rstrip())

    def _feed(self) -> None:
        self._fed = monotonic()
        systemd.notify("WATCHDOG=1")
