"""The status of a service that runs as several copies: the one that is asked answers for all.

It asks the others through their parent (`sparts.builtin.processes`), and itself the same way.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric
from sparts.builtin import MOST_COPIES
from sparts.errors import SpartsError, message_of
from sparts.tasks.tornado.status.actions import ACTING, perform, prepare_drain
from sparts.tasks.tornado.status.detail import describe_task
from sparts.tasks.tornado.status.exposition import Exposition
from sparts.tasks.tornado.status.feed import Feed, Source, shown_keys
from sparts.tasks.tornado.status.handlers import RefusedError, format_stacks
from sparts.tasks.tornado.status.history import EVERY
from sparts.tasks.tornado.status.peers import summary

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from concurrent.futures import Future

    from sparts.builtin.processes.copying import Copy
    from sparts.tasks.tornado.status.base import StatusTask

LONGEST = 10.0
"""Seconds that an answer of this copy may take; who asks waits less."""
OF_ONE = ("retry", "discard", "dismiss")
"""Actions on what has a number in one copy; ``copy`` in the request says in which."""


class Copies:
    """All copies of a service, as the status task of one of them knows them.

    Args:
        status: the status task.
        copy: this copy.
    """

    def __init__(self, status: StatusTask, copy: Copy) -> None:
        self._status, self._copy = status, copy
        self.number: int = copy.number
        """Which of the copies this is."""
        self._feeds: dict[int, Feed] = {}
        asker = status.asker  # where a question that hangs is asked once only
        copy.answers("readiness", lambda _: self._in_loop(asker.ask("readiness")))
        copy.answers("metrics", lambda _: _packed(self._in_loop(asker.ask("metrics"))))
        copy.answers("summary", lambda _: self._in_loop(asker.run("summary", self._summary)))
        copy.answers("stacks", lambda _: format_stacks(status))
        copy.answers("task", self._describe_task)
        copy.answers("page", self._page)
        copy.answers("lines", lambda _: [each._asdict() for each in status.recent.after(0)])
        copy.answers("drain", lambda _: prepare_drain(status.service))
        copy.answers("control", self._perform)

    def _in_loop(self, waiting: Coroutine[Any, Any, Any], seconds: float = LONGEST) -> Any:
        """Wait in a thread for what comes in the loop of the status task."""
        return asyncio.run_coroutine_threadsafe(waiting, self._status.server.loop).result(seconds)

    # -- the page ----------------------------------------------------------------------------------

    def feed(self, copy: str) -> Feed:
        """Return what keeps pages up to date that show a copy; in the loop.

        Raises:
            RefusedError: there is no such copy.
        """
        number = int(copy) if copy.isdecimal() and len(copy) < 4 else 0
        if number == self.number:
            own: Feed = self._status.feed
            return own
        if not 1 <= number <= MOST_COPIES:
            raise RefusedError(404, f"There is no copy {copy!r}.")
        if number not in self._feeds:
            self._feeds[number] = Feed(self._status, _Another(self, self._status, number))
        return self._feeds[number]

    def close_feeds(self) -> None:
        """End the connections of all pages that show other copies."""
        for feed in self._feeds.values():
            feed.close()

    async def page(self, number: int, after: int, past: bool) -> dict[str, Any] | None:
        """Return what the page shows of one copy; None: it does not answer now.

        Args:
            number: of the copy.
            after: the number of the last log line that is known.
            past: whether to return the past of the numbers, too.
        """
        told = await self._ask("page", [after, past], to=number)
        found: dict[str, Any] | None = told["answers"].get(str(number), {}).get("value")
        return found

    def _page(self, value: Any) -> dict[str, Any]:
        """Return the page of this copy; in a thread."""
        status, (after, past) = self._status, value
        sections = self._in_loop(status.asker.ask("page"))
        return {
            "sections": sections,
            "history": status.history.told(shown_keys(sections)) if past else None,
            "lines": [each._asdict() for each in status.recent.after(after)],
        }

    def _describe_task(self, name: str) -> Any:
        asking = self._status.asker.run("task", lambda: describe_task(self._status, name))
        return self._in_loop(asking)

    async def _ask(self, question: str, value: Any = None, **more: Any) -> Any:
        return await self._answer(self._copy.ask(question, value, **more))

    async def _answer(self, asked: Future[Any]) -> Any:
        """Wait for the parent.

        Raises:
            RefusedError: it has gone.
        """
        try:
            return await asyncio.wrap_future(asked)
        except SpartsError as error:
            raise RefusedError(503, message_of(error)) from error

    # -- to read -----------------------------------------------------------------------------------

    async def readiness(self) -> dict[str, str]:
        """Return why the whole should not be sent work, by copy and task or check."""
        found: dict[str, str] = {}
        answers = (await self._ask("readiness"))["answers"]
        for number, answer in sorted(answers.items()):
            problems = answer.get("value") or {"": answer.get("error", "")}
            found |= {f"copy {number} {what}".rstrip(): why for what, why in problems.items()}
        return found or {"copies": "none is ready"}

    async def metrics(self) -> list[Metric]:
        """Return the metrics of all copies, each sample with a label ``copy``."""
        told = await self._ask("metrics")
        families = [_copies_metric(told["parent"])]
        by_name: dict[tuple[str, str], Metric] = {}
        for number, answer in sorted(told["answers"].items()):
            for name, text, kind, unit, samples in answer.get("value", ()):
                family = by_name.get((name, kind))
                if family is None:
                    family = by_name[name, kind] = Metric(name, text, kind, unit)
                for sample, labels, value in samples:
                    mine = {f"exported_{k}" if k == "copy" else k: v for k, v in labels.items()}
                    family.add_sample(sample, {"copy": number, **mine}, value)
        return list(Exposition().valid([*families, *by_name.values()]))

    async def summaries(self) -> list[dict[str, Any]]:
        """Return a summary of each copy, also of those that start, stop or wait to be started."""
        told = await self._ask("summary")
        found = []
        for child in told["parent"]["copies"]:
            answer = told["answers"].get(str(child["number"]), {})
            ready = child["state"] == "READY"
            more = answer.get("value") or {"error": answer.get("error", "")} if ready else {}
            found.append({"url": "", "status": child["state"], "ready": False, **child, **more})
        for number, seconds in sorted(told["parent"]["starts_again_in"].items()):
            error = f"it has failed, and is started again in {seconds:.0f} s"
            found.append({"url": "", "number": int(number), "error": error})
        return sorted(found, key=lambda each: int(each["number"]))

    async def described(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return ``/status.json`` of the whole: that of this copy, and what concerns all."""
        ready = not any((await self.readiness()).values())
        copies = await self.summaries()
        return {**told, "pid": self._copy.parent, "ready": ready, "copies": copies}

    async def lines(self) -> list[dict[str, Any]]:
        """Return the last log lines of all copies, in the order of their times."""
        answers = (await self._ask("lines"))["answers"]
        found = [
            {**line, "copy": int(number)}
            for number, answer in answers.items()
            for line in answer.get("value", ())
        ]
        return sorted(found, key=lambda line: float(line["time"]))

    async def stacks(self) -> str:
        """Return where the threads of all copies are."""
        answers = (await self._ask("stacks"))["answers"]
        texts = (
            f"Copy {number}\n\n{answer.get('value', answer.get('error'))}"
            for number, answer in sorted(answers.items())
        )
        return "\n".join(texts)

    async def task(self, name: str, number: int) -> Any:
        """Return everything about one task of one copy; None: there is no such task."""
        answer = (await self._ask("task", name, to=number))["answers"].get(str(number))
        if answer is None or "error" in answer:
            raise RefusedError(503, f"Copy {number} does not answer now.")
        return answer["value"]

    def _summary(self) -> dict[str, Any]:
        stats = self._status._instance.stats
        figures = self._status.figures()
        values = dict(zip((each.key for each in figures.figures), figures.values, strict=True))
        told = summary(stats.describe_state(), "")
        return {**told, "figures": {task: values[key] for task, key in figures.keys.items()}}

    # -- to act ------------------------------------------------------------------------------------

    async def act(self, action: str, asked: dict[str, Any]) -> str:
        """Do what is asked for to all copies, or have the parent do it; return what is said of it.

        Raises:
            RefusedError: it cannot be done.
        """
        if action == "scale":
            number = asked.get("number")
            if not isinstance(number, int) or not 1 <= number <= MOST_COPIES:
                raise RefusedError(400, f"The 'number' of copies must be from 1 to {MOST_COPIES}.")
            return await self._order("scale", number)
        if action == "shutdown":
            return await self._order("stop")
        if "task" not in asked and action in ("restart", "drain"):
            if action == "restart":
                return await self._order("replace")
            await self._ask("drain")
            await self._order("stop")
            return "All copies drain, and then stop."
        if action == "verify":
            return await perform(self._status, action, asked)
        only = asked.get("copy", self.number) if action in OF_ONE else None
        told = await self._ask("control", [action, asked], timeout=ACTING + 5, to=only)
        return _said([answer for _, answer in sorted(told["answers"].items())])

    async def _order(self, what: str, value: Any = None) -> str:
        return str(await self._answer(self._copy.order(what, value)))

    def _perform(self, value: Any) -> dict[str, Any]:
        """Act on this copy; in a thread."""
        try:
            return {"message": self._in_loop(perform(self._status, *value), ACTING + 4)}
        except RefusedError as error:
            return {"refused": error.status_code, "message": error.text}


class _Another(Source):
    """The page of another copy, asked once a tick."""

    def __init__(self, copies: Copies, status: StatusTask, number: int) -> None:
        super().__init__(status)
        self._copies, self._number = copies, number
        self._lines: deque[dict[str, Any]] = deque(maxlen=status.LOG_LINES)
        self._numbers, self._last = itertools.count(1), 0
        self._sections: dict[str, Any] = {}
        self._history: Any = None
        self._asked_at = -inf

    async def page(self) -> dict[str, Any]:
        """Return its sections; those of before while it does not answer."""
        past = monotonic() - self._asked_at >= EVERY
        found = await self._copies.page(self._number, self._last, past)
        if found is not None:
            before, self._sections = self._sections, found["sections"]
            if before and before["service"]["pid"] != self._sections["service"]["pid"]:
                self._last = 0  # it was replaced: the lines are numbered from 1 again
            elif found["lines"]:
                self._last = found["lines"][-1]["number"]
                self._lines += [{**line, "number": next(self._numbers)} for line in found["lines"]]
            if past:
                self._history, self._asked_at = found["history"], monotonic()
        if not self._sections:
            raise RefusedError(503, f"Copy {self._number} does not answer now.")
        return self._sections

    def history(self, keys: list[str]) -> Any:
        """Return the past of its numbers."""
        return self._history

    def lines(self, after: int) -> list[dict[str, Any]]:
        """Return its log lines after a number."""
        return [each for each in self._lines if each["number"] > after]


def _said(answers: list[dict[str, Any]]) -> str:
    """Return what the copies say of an action, if one has done it.

    Raises:
        RefusedError: none has; with what the first says.
    """
    values = [
        answer.get("value") or {"refused": 503, "message": answer["error"]} for answer in answers
    ]
    done = [value["message"] for value in values if "refused" not in value]
    if done:
        return " ".join(dict.fromkeys(done))
    if not values:
        raise RefusedError(404, "There is no such copy.")
    raise RefusedError(values[0]["refused"], values[0]["message"])


def _packed(families: Iterable[Metric]) -> list[Any]:
    """Return metric families as JSON can carry them."""
    return [
        (each.name, each.documentation, each.type, each.unit, [one[:3] for one in each.samples])
        for each in families
    ]


def _copies_metric(parent: dict[str, Any]) -> Metric:
    copies = Metric("sparts_copies", "How many copies of the service are in a state.", "gauge")
    states = [child["state"] for child in parent["copies"]]
    counts = {state.lower(): states.count(state) for state in ("STARTING", "READY", "STOPPING")}
    for state, number in {**counts, "wanted": parent["target"]}.items():
        copies.add_sample(copies.name, {"state": state}, number)
    return copies
