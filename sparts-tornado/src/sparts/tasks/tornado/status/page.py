"""What the page shows: the description of the service in sections, with what a person asks beside.

Each section is sent again only when it has changed (see `feed`).
"""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

from sparts.masking import MASK, masked
from sparts.option_types import display
from sparts.options.binding import source_of, state_of
from sparts.shown import ours
from sparts.tasks.tornado.status.detail import actions_of, kind_of

if TYPE_CHECKING:
    from sparts.options.binding import Binding
    from sparts.tasks.tornado.status.base import StatusTask
    from sparts.tasks.tornado.status.figures import Figures

_OF_SERVICE = (
    *("name", "version", "pid", "status", "status_since", "status_details", "ready", "healthy"),
    *("start_time", "failing_since"),
)
_AS_THEY_ARE = ("checks", "exported_values", "plugins", "threads")


def describe_page(task: StatusTask) -> dict[str, Any]:
    """Return the sections of the page by name; in any thread."""
    service = ours(task.service)
    told = service.stats.describe_state()
    figures = task.figures()
    return {
        "service": {name: told[name] for name in _OF_SERVICE}
        | {
            "not_ready": _not_ready(task, told["checks"], told["failing_since"]),
            "host": platform.node(),
            "python": platform.python_version(),
            "peers": bool(task.peers or task.copies),
            "copy": task.copies.number if task.copies else None,
        },
        "tasks": [_task(task, each, figures) for each in told["tasks"]],
        "warnings": task.times_of(told["warnings"]),
        **{name: told[name] for name in _AS_THEY_ARE},
        "options": describe_options(task),
        "headline": figures.headline,
        "counters": figures.described(),
        "values": figures.plain_values(),
        "now": time.time(),
    }


def _not_ready(
    task: StatusTask, checks: dict[str, str], since: dict[str, float]
) -> list[dict[str, Any]]:
    """Return why the service should not be sent work, and since when, for the headline."""
    found: dict[str, str] = masked(task._instance.health.readiness(checks))
    times = {"service": task._instance.health.status_since, **task.watch.since, **since}
    return [
        {"what": what, "why": why, "since": times.get(what)} for what, why in found.items() if why
    ]


def _task(status: StatusTask, told: dict[str, Any], figures: Figures) -> dict[str, Any]:
    """Return what the tile of a task shows."""
    name = told["name"]
    task = status._instance.tasks.get(name)
    return {
        **told,
        "kind": "task" if task is None else kind_of(task),
        "since": status.watch.since.get(name, status._instance.health.start_time),
        "paused": status.watch.paused(name),
        "actions": [] if task is None else actions_of(status, task),
        "key": figures.keys.get(name, ""),
    }


def describe_options(task: StatusTask) -> list[dict[str, Any]]:
    """Return every option with its value as text, where that came from, and how it may change."""
    state = state_of(task._instance.options)
    if state is None:  # a namespace that was made by hand
        plain = task._instance.stats.options()
        return [{"name": name, "value": _text(value)} for name, value in plain.items()]
    return [_option(task, binding) for binding in state.bindings.values()]


def _option(task: StatusTask, binding: Binding) -> dict[str, Any]:
    service, declared = task.service, binding.option
    value = getattr(service.options, binding.dest, None)
    choices = ("yes", "no") if binding.kind is bool else declared.choices
    return {
        "name": binding.dest,
        "flag": binding.flag,
        "owner": "" if binding.owner is type(service) else binding.owner.__name__,
        "value": MASK if declared.secret and value is not None else masked(_text(value)),
        "source": str(source_of(service.options, binding.dest)),
        "help": declared.help or "",
        "reloadable": declared.reloadable,
        "secret": declared.secret,
        "choices": [display(choice) for choice in choices] if choices else None,
    }


def _text(value: object) -> str:
    return "" if value is None or value == [] else display(value)
