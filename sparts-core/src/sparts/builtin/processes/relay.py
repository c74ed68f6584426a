"""What copies ask of each other, and of the parent, goes through the parent: here."""

from __future__ import annotations

from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.builtin.processes.child import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.builtin.processes.channel import Message
    from sparts.builtin.processes.child import Child


class _Question:
    """A question of one copy to all of them."""

    def __init__(self, asker: Child, number: int, timeout: float, asked: list[Child]) -> None:
        self.asker, self.number = asker, number
        self.due = monotonic() + timeout
        self.waits = dict.fromkeys(asked, "it did not answer in time")
        self.answers: dict[int, Any] = {}


class Relay:
    """Puts the questions of copies to all copies, and does what they order."""

    def __init__(self, parent: Any) -> None:
        self._parent = parent
        self._questions: dict[int, _Question] = {}
        self._numbers = count(1)

    def take(self, child: Child, message: Message) -> None:
        """Act on a message of a copy."""
        if "question" in message:
            self._ask(child, message)
        elif "order" in message:
            self._obey(child, message)
        elif (question := self._questions.get(message["id"])) is not None:
            self._answered(message["id"], question, child, message["answer"])

    def inform(self, warnings: list[str]) -> None:
        """Have each copy know what to warn of, and how many connections all have."""
        counts = {child.pid: child.connections for child in self._parent.children}
        news = {"warnings": warnings, "connections": counts}
        for child in self._parent.children:
            if child.knows != news and not child.channel.wants_to_write:  # it has taken the last
                child.knows = news
                child.channel.send(news)

    def _ask(self, child: Child, message: Message) -> None:
        only = message["to"]
        ready = [
            each
            for each in self._parent.children
            if each.state is State.READY and only in (None, each.number)
        ]
        number = next(self._numbers)
        timeout = message["timeout"]
        question = self._questions[number] = _Question(child, message["id"], timeout, ready)
        passed = {"question": message["question"], "value": message["value"], "id": number}
        for each in ready:
            each.channel.send(passed)
        self._end(number, question)

    def _answered(self, number: int, question: _Question, child: Child, answer: Any) -> None:
        if question.waits.pop(child, None) is not None:
            question.answers[child.number] = answer
            self._end(number, question)

    def _end(self, number: int, question: _Question) -> None:
        """Give the answers to the copy that asked, once they are there or the time has passed."""
        if question.waits and monotonic() < question.due:
            return
        del self._questions[number]
        late = {child.number: {"error": why} for child, why in question.waits.items()}
        found = {"answers": {**question.answers, **late}, "parent": self._parent.told()}
        if question.asker in self._parent.children:
            question.asker.channel.send({"answer": found, "id": question.number})

    def gone(self, child: Child) -> None:
        """Wait for no answers of a copy that has ended."""
        for number, question in list(self._questions.items()):
            self._answered(number, question, child, {"error": "it has ended"})

    def timers(self) -> Iterator[tuple[float, Callable[[], object]]]:
        """Give when questions are answered at the latest, and what that does."""
        for number, question in list(self._questions.items()):
            yield question.due, partial(self._end, number, question)

    def _obey(self, child: Child, message: Message) -> None:
        match message["order"]:
            case "replace":
                told = self._parent.replace()
            case "scale":
                told = self._parent.scale(message["value"])
            case _:
                told = "The service shuts down."
                if not self._parent.stopping:
                    self._parent.stop()
        child.channel.send({"answer": told, "id": message["id"]})
