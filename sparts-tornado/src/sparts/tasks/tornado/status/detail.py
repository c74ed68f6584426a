"""What is shown of one task: its kind, what may be done to it, and panels for its type.

A panel is a title and data: a table (a list of dicts), facts (a dict) or a string. A task type has
panels of its own where it has a method ``status_panels``, which returns a list of such dicts;
plugins add theirs to any task by the hook ``sparts_status_panels``.
"""

from __future__ import annotations

import inspect
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from sparts.counters import metrics_of, own
from sparts.errors import describe, text_of
from sparts.loops import LoopTask
from sparts.masking import masked
from sparts.net.listeners import Listening
from sparts.shown import ours
from sparts.states import TaskState
from sparts.tasks.event import EventTask
from sparts.tasks.item_work import ItemWork
from sparts.tasks.tornado.status.letters import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparts.tasks.tornado.status.base import StatusTask
    from sparts.vtask import VTask

WAITING = 20
"""How many waiting items are shown."""
LAG = 1.0
"""Seconds that an event loop has to answer."""


def kind_of(task: VTask) -> str:
    """Return what a task is: queue, periodic, event, server, loop or task."""
    if isinstance(task, ItemWork):
        return "queue"
    if isinstance(task, EventTask):
        return "periodic" if hasattr(task, "interval") else "event"
    if isinstance(task, Listening) or hasattr(task, "bound_addrs"):
        return "server"
    return "loop" if isinstance(task, LoopTask) else "task"


def actions_of(status: StatusTask, task: VTask) -> list[str]:
    """Return what may be done to a task now."""
    found: list[str] = []
    if task._supervisor.held:
        return found
    alive = task._supervisor.state in (TaskState.ALIVE, TaskState.DEGRADED)
    if isinstance(task, EventTask) and task._supervisor.running:
        found.append("run")
    if alive and task._supervisor.name in status.watch.gates:
        found.append("resume" if status.watch.paused(task._supervisor.name) else "pause")
    if task._supervisor.name not in status.needed:
        found += ["drain", "restart"] if alive else ["restart"]
    return found


def describe_task(status: StatusTask, name: str) -> dict[str, Any] | None:
    """Return all there is to know of one task, as JSON can carry it; None: there is none."""
    service, watch = ours(status.service), status.watch
    task = service.getTask(name)
    if task is None:
        return None
    keys = [key for key in status.known_keys() if key.startswith(f"{name}/")]
    letters, error = watch.letters.get(name), task._supervisor.failed
    return {
        "name": name,
        "kind": kind_of(task),
        "class": f"{type(task).__module__}.{type(task).__qualname__}",
        "doc": inspect.getdoc(type(task)) or "",
        "state": str(task._supervisor.state),
        "since": watch.since.get(name, service.start_time),
        "ready": task._supervisor.ready,
        "paused": watch.paused(name),
        "problem": "" if error is None else masked(describe(error)),
        "actions": actions_of(status, task),
        "depends_on": [need._supervisor.name for need in service.tasks.dependencies(task)],
        "needed_by": [each._supervisor.name for each in service.tasks.dependants(task)],
        "threads": [thread.name for thread in task._supervisor.threads if thread.is_alive()],
        "restarts": int(task._supervisor.n_restarts()),
        "failures": int(task._supervisor.n_failures()),
        "errors": watch.errors(name),
        "letters": None if letters is None else letters.told(),
        "stacks": masked(task._format_stacks()),
        "panels": panels_of(status, task),
        "history": status.history.told(keys),
    }


def panels_of(status: StatusTask, task: VTask) -> list[dict[str, Any]]:
    """Return the panels of a task: those for its type, then those of plugins."""
    found: list[dict[str, Any]] = []
    for matches, panels in (
        (isinstance(task, ItemWork), _queue),
        (isinstance(task, EventTask), _runs),
        (isinstance(task, LoopTask), _loop),
        (hasattr(task, "bound_addrs"), _server),
        (True, _calls),
    ):
        if matches:
            try:
                found += panels(status, task)
            except Exception as error:  # of a task's own method
                found.append({"title": "Not available", "data": masked(describe(error))})
    try:
        for panel in getattr(task, "status_panels", tuple)():
            title, data = panel["title"], panel["data"]
            found.append({"title": text_of(title), "data": masked(_plain(data))})
        items = status._instance.hooks.collect("sparts_status_panels", task=task)
        return found + [
            {"title": text_of(title), "data": masked(_plain(data))} for title, data in _pairs(items)
        ]
    except Exception as error:  # it names the plugin
        return [*found, {"title": "Not available", "data": masked(describe(error))}]


def _pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Give the title and the data of each panel; ``collect`` has made a dict into its pairs."""
    rest = iter(items)
    for item in rest:
        if isinstance(item, dict):
            yield item["title"], item["data"]
        elif item[0] == "title":
            yield item[1], next(rest)[1]
        else:
            yield item


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {text_of(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [_plain(each) for each in data]
    plain = data is None or isinstance(data, bool | int | str)
    return data if plain else text_of(data)


def _ago(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _queue(status: StatusTask, task: Any) -> list[dict[str, Any]]:
    queue = task.queue
    running = [each for each in list(getattr(queue, "_running", {}).values()) if _is_item(each)]
    waiting = list(islice(_waiting(queue), WAITING))
    facts = {
        "Waiting": task.queue.depth(),
        "Put off until later": len(getattr(queue, "_later", ())),
        "Worked on now": len(running),
        "Age of the oldest": status.arrivals.oldest(task._supervisor.name),
    }
    return [
        {"title": "Queue", "data": facts},
        {
            "title": "Worked on now",
            "data": [
                {"Item": shown(each.item), "Attempt": each.attempt, "For": _ago(each.elapsed)}
                for each in running[:WAITING]
            ],
        },
        {
            "title": "Waiting items (a sample)",
            "data": [{"Item": shown(each.item), "Attempt": each.attempt} for each in waiting],
        },
    ]


def _is_item(context: Any) -> bool:
    return hasattr(context, "attempt")


def _waiting(queue: Any) -> Any:
    try:
        ready = list(islice(getattr(queue, "_ready", ()), WAITING))
    except RuntimeError:  # it changed meanwhile
        ready = []
    for each in ready:
        context = each if _is_item(each) else getattr(each, "context", None)
        if context is not None and _is_item(context):
            yield context
    for _, _, context in list(getattr(queue, "_later", ()))[:WAITING]:
        yield context


def _runs(status: StatusTask, task: Any) -> list[dict[str, Any]]:
    now, clock = time.time(), task.clock.monotonic()
    due = [worker.due() for worker in list(task._runs.workers)]
    times = sorted(now + each - clock for each in due if each is not None)
    gate = status.watch.gates.get(task._supervisor.name)
    last = [] if gate is None else [now - (time.monotonic() - each) for each in gate.taken]
    facts = {"Next run": {"time": times[0]} if times else "when it is asked for"}
    facts["Last run"] = {"time": last[-1]} if last else "none yet"
    facts["A run waits"] = "yes" if task.has_pending() else "no"
    return [
        {"title": "Runs", "data": facts},
        {"title": "Last runs", "data": [{"Began": {"time": each}} for each in reversed(last)]},
    ]


def _loop(status: StatusTask, task: Any) -> list[dict[str, Any]]:
    began = time.monotonic()
    try:
        task.call(lambda: None).result(LAG)
        lag = f"{(time.monotonic() - began) * 1000:.1f} ms"
    except TimeoutError:
        lag = f"more than {LAG:g} s"
    facts = {"Lag now": lag}
    if hasattr(task, "n_slow_callbacks"):
        facts["Slow callbacks"] = str(int(own(task, type(task).n_slow_callbacks)()))
    return [{"title": "Event loop", "data": facts}]


def _calls(status: StatusTask, task: VTask) -> list[dict[str, Any]]:
    """The calls by method, of a task that counts them: gRPC, RPC, thrift."""
    rows: list[dict[str, Any]] = [
        {**{label.title(): text for label, text in each.labels.items()}, "Count": int(each.value)}
        for each in metrics_of(task)
        if each.kind == "counter" and "method" in each.labels
    ]
    rows.sort(key=lambda row: -row["Count"])
    return [{"title": "Calls by method", "data": rows[:WAITING]}] if rows else []


def _server(status: StatusTask, task: Any) -> list[dict[str, Any]]:
    where = [text_of(each) for each in getattr(task, "bound_addrs", ())]
    facts: dict[str, Any] = {"Listens on": ", ".join(where) or "nothing"}
    if hasattr(task, "connections"):
        facts["Connections"] = int(task.connections())
    slowest = getattr(getattr(task, "application", None), "slowest", None)
    found: list[dict[str, Any]] = [{"title": "Server", "data": facts}]
    if slowest is not None:
        rows = [
            {"Route": route, "Requests": count, "Slowest": f"{worst * 1000:.1f} ms"}
            for route, (count, worst) in slowest()
        ]
        found.append({"title": "Slowest routes", "data": rows})
    return found
