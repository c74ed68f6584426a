"""What a copy does beside being an ordinary service: it follows its parent, and answers for it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from sparts.builtin import COPY_VARIABLE
from sparts.builtin.processes.channel import CopyEnd, Message
from sparts.errors import SpartsError, describe, log_error
from sparts.logs.formats import process_fields
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.vservice import VService
    from sparts.vtask import VTask


class ParentGoneError(SpartsError):
    """The parent of the copies has gone, or did not do what it was asked for."""


class Copy:
    """This process as one of the copies of a service; ``hooks.kept["processes"]`` has it.

    Args:
        told: what the parent says of it.
        sock: the way to the parent.
        service: the first instance.
    """

    def __init__(self, told: dict[str, Any], sock: socket.socket, service: VService) -> None:
        self.number: int = told["number"]
        """Which of the copies it is, from 1 on; the one that replaces it has the same number."""
        self.parent: int = told["parent"]
        """The process number of the parent."""
        self.first: bool = told["first"]
        """Whether it runs the tasks that one copy alone runs (``PROCESSES = "first"``)."""
        self._sockets: dict[str, int] = told["sockets"]
        self._shares: dict[str, Any] = {}
        self._counts: dict[str, dict[str, int | None]] = {}
        for descriptor in self._sockets.values():
            os.set_inheritable(descriptor, False)
        self._channel = CopyEnd(sock)
        self._service = service
        self._handlers: dict[str, Callable[[Any], Any]] = {}
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._texts: list[str] = []
        self._warnings: list[int] = []

    @classmethod
    def inherited(cls, service: VService) -> Self | None:
        """Return what the parent handed to this process; None: that was meant for another one.

        From then on, children do not find it, and ``LISTEN_PID`` is this process.
        """
        told = json.loads(os.environ.pop(COPY_VARIABLE))
        try:
            if os.fstat(told["channel"]).st_ino != told["inode"]:
                return None  # a child of a copy
        except OSError:
            return None
        if "LISTEN_FDS" in os.environ:
            os.environ["LISTEN_PID"] = str(os.getpid())
        return cls(told, socket.socket(fileno=told["channel"]), service)

    # -- the parent --------------------------------------------------------------------------------

    def follow(self) -> None:
        """Begin to do what the parent says, and stop the service when the parent has gone."""
        process_fields["copy"] = self.number
        name = f"{self._service._instance.name} parent"
        threading.Thread(target=self._follow, name=name, daemon=True).start()

    def _follow(self) -> None:
        service = self._service
        for message in self._channel.receive():
            try:
                self._act(message)
            except Exception as error:
                text = "What the parent of the copies has sent could not be used"
                log_error(service._instance.logger, text, error=error)
        ours(service).shutdown()
        for asked in list(self._asked.values()):
            asked.set_exception(ParentGoneError("The parent of the copies has gone."))

    def _act(self, message: Message) -> None:
        if "question" in message:
            name = f"answer to {message['question']}"
            threading.Thread(target=self._answer, args=(message,), name=name, daemon=True).start()
        elif "answer" in message:
            if (asked := self._asked.pop(message["id"], None)) is not None:
                asked.set_result(message["answer"])
        elif "connections" in message:
            self._counts = message["connections"]
            for task, share in list(self._shares.items()):
                share.others = self._others(task)
            if self._texts != message["warnings"]:
                self._texts = message["warnings"]
                self.in_service(0.0, self._warn)
        else:
            self.first = True
            self.in_service(0.0, self._release)

    def in_service(self, seconds: float, function: Callable[[VService], object]) -> None:
        """Have the lifecycle thread of the service call a function, after some seconds."""
        ours(self._service).health.call_later(seconds, partial(function, self._service))

    def _warn(self, service: VService) -> None:
        """Have the service warn of what the parent says, and of nothing that it said before."""
        while self._warnings:
            ours(service).clearWarning(self._warnings.pop())
        self._warnings = [ours(service).registerWarning(text) for text in self._texts]

    # -- tasks that one copy alone runs ------------------------------------------------------------

    def hold(self, service: VService) -> None:
        """Hold the tasks of an instance that another copy runs."""
        self._service = service
        for task in ours(service).getChildren().values():
            ours(task).supervisor.held = not self.first and runs_once(task)

    def _release(self, service: VService) -> None:
        """Initialise and start what was held; in the lifecycle thread."""
        health, tasks = ours(service).health, ours(service).tasks
        if not health.serves:
            return
        if names := ", ".join(tasks.held()):
            ours(service).logger.info("This copy runs from now on: %s", names)
            tasks.release()
            health.readiness_changed()

    # -- questions ---------------------------------------------------------------------------------

    def answers(self, question: str, function: Callable[[Any], Any]) -> None:
        """Have a function answer a question that any copy may put to all; see `ask`.

        It is called in a thread of its own with the value of the question. What it returns must fit
        into JSON. What it raises is the answer, as text.
        """
        self._handlers[question] = function

    def _answer(self, message: Message) -> None:
        found: dict[str, Any] = {"error": "it does not know that question yet"}
        if (function := self._handlers.get(message["question"])) is not None:
            try:
                found = {"value": function(message["value"])}
            except Exception as error:
                found = {"error": describe(error)}
        with contextlib.suppress(OSError):
            self._channel.send({"answer": found, "id": message["id"]})

    def ask(
        self, question: str, value: Any = None, timeout: float = 4.0, to: int | None = None
    ) -> Future[Any]:
        """Put a question to all copies, this one too, through the parent; from any thread.

        Args:
            question: one that `answers` knows in each copy.
            value: fits into JSON.
            timeout: seconds after which an answer that is missing is an error.
            to: the number of the only copy that is asked.

        Returns:
            the future of the answers and of what the parent knows: ``{"answers": {"1": {"value":
            ...}, "2": {"error": ...}}, "parent": {...}}``.
        """
        message = {"question": question, "value": value, "timeout": timeout, "to": to}
        return self._send(message)

    def order(self, what: str, value: Any = None) -> Future[Any]:
        """Have the parent do something: ``replace``, ``stop`` or ``scale``; from any thread.

        Returns:
            the future of what the parent says, for a person.
        """
        return self._send({"order": what, "value": value})

    def _send(self, message: Message) -> Future[Any]:
        number, asked = next(self._numbers), Future[Any]()
        asked.set_running_or_notify_cancel()  # a caller that gives up waiting does not cancel it
        self._asked[number] = asked
        try:
            self._channel.send({**message, "id": number})
        except OSError:
            del self._asked[number]
            asked.set_exception(ParentGoneError("The parent of the copies has gone."))
        return asked

    # -- what the parent has handed over -----------------------------------------------------------

    def take_part(self, task: str, share: Any) -> None:
        """Have ``share.others`` say how many connections a task has in the other copies."""
        self._shares[task] = share
        share.others = self._others(task)

    def tell_connections(self, task: str, number: int | None) -> bool:
        """Tell how many connections a task has here; None: it takes no part. False: not now."""
        return self._channel.offer({"connections": number, "task": task})

    def _others(self, task: str) -> dict[str, int]:
        """Return how many connections a task has in the other copies that take part."""
        mine = str(os.getpid())
        counts = {pid: told.get(task) for pid, told in self._counts.items() if pid != mine}
        return {pid: number for pid, number in counts.items() if number is not None}

    def socket(self, name: str) -> socket.socket | None:
        """Return a duplicate of a further socket that the parent has opened for all copies."""
        if name not in self._sockets:
            return None
        return socket.socket(fileno=os.dup(self._sockets[name]))


def runs_once(task: VTask) -> bool:
    """Return whether one copy alone runs a task: it says so, or it needs one that does."""
    needs = task._instance.tasks.dependencies(task)
    return ours(task).PROCESSES == "first" or any(runs_once(each) for each in needs)
