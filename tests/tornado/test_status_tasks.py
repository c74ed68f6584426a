"""What the status task shows of single tasks, and does to them: panels, pauses, dead letters."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

import pytest
from sparts.counters import counter, labelled
from sparts.hookspecs import hookimpl
from sparts.net.asking import Asking
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.event import EventTask
from sparts.tasks.memory_backlog import MemoryBacklog
from sparts.tasks.queue import PriorityQueueTask, QueueTask
from sparts.tasks.tornado.ioloop import TornadoIOLoopTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.tasks.tornado.status.acting import in_lifecycle, stop_task, with_dependants
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT
from sparts.vtask import VTask

from tests.browsers import launched
from tests.tornado.page_services import Mailer, busy
from tests.tornado.status_clients import CONTROL, client_of, serving
from tests.tornado.test_status_page import go, opened, url_of


class Works:
    """Notes what it works on."""

    done: queue.SimpleQueue[Any]

    def note(self, item: Any = None) -> None:
        """Note an item."""
        self.done.put(item)


class Thread(Works, QueueTask[int, None]):
    def execute(self, item: int, context: Any) -> None:
        self.note(item)


class Priority(Works, PriorityQueueTask[int, None]):
    def execute(self, item: int, context: Any) -> None:
        self.note(item)


class Async(Works, AsyncQueueTask[int, None]):
    async def execute(self, item: int, context: Any) -> None:
        await asyncio.sleep(0)
        self.note(item)


class Event(Works, EventTask):
    def execute(self, context: Any = None) -> None:
        self.note(1)


class AsyncRuns(Works, AsyncPeriodicTask):
    INTERVAL = "1h"
    RUN_AT_START = False

    async def execute(self, context: Any = None) -> None:
        self.note(1)


def give(task: Any) -> None:
    """Give a task something to do."""
    task.trigger() if isinstance(task, EventTask) else task.queue.put(1)


KINDS = [Thread, Priority, Async, Event, AsyncRuns]


@pytest.mark.parametrize("kind", KINDS)
def test_paused_task_takes_nothing_until_it_is_resumed(kind: Any) -> None:
    kind.done = queue.SimpleQueue()
    with serving(kind, argv=CONTROL) as service:
        client, task = client_of(service), service.requireTask(kind)
        assert client.act("pause", {"task": kind.__name__}).status == 200
        assert client.ask(f"/task.json?name={kind.__name__}").json()["paused"]
        give(task)
        with pytest.raises(queue.Empty):
            kind.done.get(timeout=0.1)
        assert client.act("pause", {"task": kind.__name__}).status == 409
        assert client.act("resume", {"task": kind.__name__}).status == 200
        assert kind.done.get(timeout=WAIT) == 1
        assert client.act("resume", {"task": kind.__name__}).status == 409


@pytest.mark.parametrize("kind", [Thread, Priority, Async])
def test_stop_ends_pause_and_works_off_queue(kind: Any) -> None:
    kind.done = queue.SimpleQueue()
    with serving(kind, argv=CONTROL) as service:
        client_of(service).act("pause", {"task": kind.__name__})
        for _ in range(3):
            give(service.requireTask(kind))
    assert [kind.done.get(timeout=WAIT) for _ in range(3)] == [1, 1, 1]


def test_dead_letter_is_retried_or_discarded() -> None:
    with busy(*CONTROL) as service:
        client, mailer = client_of(service), service.requireTask(Mailer)

        def letters() -> Any:
            return client.ask("/task.json?name=Mailer").json()["letters"]

        mailer.may_end.set()
        while not (found := letters()):
            pass
        assert (found[0]["item"], found[0]["attempt"]) == ("'bad three'", 1)
        assert found[0]["error"] == "ValueError: no address in bad three"
        number = found[0]["number"]
        assert client.act("retry", {"task": "Mailer", "letter": number}).status == 200
        while not (found := letters()) or found[0]["number"] == number:
            pass
        assert client.act("retry", {"task": "Mailer", "letter": number}).status == 404
        assert client.act("discard", {"task": "Mailer", "letter": found[0]["number"]}).status == 200
        assert letters() == []
        assert client.act("discard", {"task": "Report", "letter": 1}).status == 400


def test_plugins_and_task_types_add_panels_without_markup() -> None:
    class Cache(VTask):
        LOOPLESS = True

        def status_panels(self) -> list[dict[str, Any]]:
            return [{"title": "Cache", "data": {"Entries": 12, "<b>": object}}]

    class Plugin:
        @hookimpl
        def sparts_status_panels(self, task: VTask) -> dict[str, Any]:
            if task.name == "Mailer":
                raise ValueError("not of this one")
            return {"title": "Of a plugin", "data": [{"a": 1}, {"a": 2}]}

    with busy(more=(Cache,)) as service:
        service.hooks.register(Plugin())
        client = client_of(service)
        panels = client.ask("/task.json?name=Cache").json()["panels"]
        assert panels == [
            {"title": "Cache", "data": {"Entries": 12, "<b>": "<class 'object'>"}},
            {"title": "Of a plugin", "data": [{"a": 1}, {"a": 2}]},
        ]
        broken = client.ask("/task.json?name=Mailer").json()["panels"]
        assert broken[0]["title"] == "Queue"
        assert "not of this one" in broken[-1]["data"]
        assert client.ask("/task.json?name=Nobody").status == 404


def test_calls_are_shown_by_method() -> None:
    class Calls(VTask):
        LOOPLESS = True
        calls = labelled(counter(), "method", "code")

    with busy(more=(Calls,)) as service:
        labels = service.requireTask(Calls).calls.labels
        labels("Get", "OK").add(3)
        labels("Put", "INTERNAL").add(5)
        (panel,) = client_of(service).ask("/task.json?name=Calls").json()["panels"]
        assert panel["title"] == "Calls by method"
        assert panel["data"] == [
            {"Method": "Put", "Code": "INTERNAL", "Count": 5},
            {"Method": "Get", "Code": "OK", "Count": 3},
        ]


def test_age_of_oldest_item_is_told_by_samples() -> None:
    with busy() as service:
        arrivals = service.requireTask("StatusHTTPTask").arrivals
        assert arrivals.oldest("Mailer") in ("less than 10 s", "about 0 s")
        service.requireTask(Mailer).queue.put("eight")
        arrivals.note()
        assert arrivals.oldest("Mailer") == "about 0 s"
        service.requireTask(Mailer).may_end.set()
        service.requireTask(Mailer).queue.join()
        assert arrivals.oldest("Mailer") == "none waits"


def test_check_that_hangs_does_not_end_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusHTTPTask, "SAMPLE", 0.0)
    monkeypatch.setattr(Asking, "TIMEOUT", 0.0)
    asked, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        let_go.wait()

    with serving() as service:
        history = service.requireTask("StatusHTTPTask").history
        service.add_check("hangs", hang)
        assert asked.wait(WAIT)
        before = history.told([])["times"][-1]
        while history.told([])["times"][-1] <= before:
            pass
        let_go.set()


def test_backlog_that_cannot_be_watched_is_left_alone() -> None:
    class Fixed(MemoryBacklog):
        def __setattr__(self, name: str, value: Any) -> None:
            if name in ("take", "bury"):
                raise AttributeError(name)
            super().__setattr__(name, value)

    class Plain(Works, QueueTask[int, None]):
        backlog_class = Fixed
        done = queue.SimpleQueue()

        def execute(self, item: int, context: Any) -> None:
            self.note(item)

    with serving(Plain, argv=CONTROL) as service:
        service.requireTask(Plain).queue.put(1)
        assert Plain.done.get(timeout=WAIT) == 1
        assert client_of(service).act("pause", {"task": "Plain"}).status == 409


class Stubborn(VTask):
    """Does not stop until it is let go."""

    STOP_TIMEOUT = 0.1
    let_go: threading.Event

    def _runloop(self) -> None:
        self.let_go.wait()


def test_unstoppable_task_is_reported() -> None:
    Stubborn.let_go = threading.Event()
    with serving(Stubborn, argv=CONTROL) as service:
        answer = client_of(service).act("restart", {"task": "Stubborn"})
        Stubborn.let_go.set()
        assert answer.status == 500
        assert "Stubborn did not stop within" in answer.json()["message"]
        assert client_of(service).ask("/livez").status == 200


def test_unstartable_task_is_dead_with_a_warning() -> None:
    class Once(VTask):
        LOOPLESS = True
        made = 0

        def initTask(self) -> None:  # noqa: N802
            Once.made += 1
            if Once.made > 1:
                raise OSError("not again")

    with serving(Once, argv=CONTROL) as service:
        answer = client_of(service).act("restart", {"task": "Once"})
        assert (answer.status, answer.json()["message"]) == (500, "OSError: not again")
        assert service.requireTask("Once").state == "DEAD"
        assert not service.ready
        (warning,) = service.getWarnings().values()
        assert warning == "Once did not start again: OSError: not again"


@pytest.mark.needs("chromium")
def test_instances_are_shown_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusHTTPTask, "TICK", 0.05)
    with serving() as other:
        peers = f"{url_of(other)},http://127.0.0.1:9/"
        with (
            serving(argv=("--status-peers", peers)) as service,
            launched() as browser,
            opened(browser, service) as page,
        ):
            page.get_by_role("link", name="Instances").wait_for()
            go(page, "instances")
            page.get_by_text("2 of 3 ready").wait_for()
            assert "refused" in page.locator("#instances-list").inner_text()
            assert page.get_by_role("link", name=url_of(other)).count() == 1


class First(VTask):
    LOOPLESS = True


class Loop(TornadoIOLoopTask):
    DEPS = [First]


class Last(VTask):
    LOOPLESS = True
    DEPS = [Loop]


def test_tasks_are_needed_through_others() -> None:
    with running(service_of(Last, StatusHTTPTask), "--status-port", "0") as service:
        assert service.requireTask(StatusHTTPTask).needed == {"First", "Loop", "StatusHTTPTask"}
        affected = with_dependants(service, service.requireTask(First))
        assert {each.name for each in affected} == {"First", "Loop", "Last", "StatusHTTPTask"}


class OnlyOnce(VTask):
    """Its stop may be called once, as `VTask.stop` promises."""

    LOOPLESS = True
    stops = 0

    def stop(self) -> None:
        super().stop()
        self.stops += 1


def test_task_that_was_stopped_is_not_stopped_again() -> None:
    with running(service_of(OnlyOnce, Last)) as service:
        task = service.requireTask(OnlyOnce)
        assert in_lifecycle(service, lambda: stop_task(service, task)).result(WAIT) == [task]
        assert task.stops == 1
    assert task.stops == 1
    assert task.state == "STOPPED"
