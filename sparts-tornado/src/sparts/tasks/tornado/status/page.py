"""What the page shows: the description of the service in sections, with what a person asks beside.

Each section is sent again only when it has changed (see `feed`).
"""

from __future__ import annotations

import platform
import time
from math import isfinite
from typing import TYPE_CHECKING, Any

from sparts.counters.metric import label_text
from sparts.masking import MASK, masked
from sparts.options.binding import display, source_of, state_of
from sparts.tasks.event import EventTask

if TYPE_CHECKING:
    from sparts.counters import Reading
    from sparts.options.binding import Binding
    from sparts.tasks.tornado.status.task import StatusHTTPTask

_OF_SERVICE = (
    *("name", "version", "pid", "status", "status_details", "ready", "healthy", "start_time"),
)
_AS_THEY_ARE = ("checks", "warnings", "exported_values", "plugins", "threads")


def describe_page(task: StatusHTTPTask) -> dict[str, Any]:
    """Return the sections of the page by name; in any thread."""
    service = task.service
    told = service.describe()
    readings = [each for each in service.describe_counters() if "le" not in each[1].labels]
    return {
        "service": {name: told[name] for name in _OF_SERVICE}
        | {"host": platform.node(), "python": platform.python_version()},
        "tasks": [
            {**each, "runs": isinstance(service.getTask(each["name"]), EventTask)}
            for each in told["tasks"]
        ],
        **{name: told[name] for name in _AS_THEY_ARE},
        "options": describe_options(task, told["options"]),
        "counters": [_counter(owner, reading) for owner, reading in readings],
        "values": [reading.value if isfinite(reading.value) else None for _, reading in readings],
        "now": time.time(),
    }


def _counter(owner: str, reading: Reading) -> dict[str, Any]:
    """What one number is, for a person: of which counter, and which part of that."""
    labels = dict(reading.labels)
    part, grows, unit = "", reading.kind == "counter", reading.unit
    if reading.kind in ("summary", "histogram"):
        what, window = labels.pop("type"), labels.pop("window", None)
        part = f"{what} of {window} s" if window else f"{what}, in all"
        grows = window is None
        unit = {"count": "", "rate": "/s"}.get(what, unit)
    name = reading.name + (" " + label_text(labels.items()) if labels else "")
    return {
        "task": owner,
        "name": name,
        "part": part,
        "grows": grows,
        "help": reading.help,
        "unit": unit,
    }


def describe_options(task: StatusHTTPTask, plain: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every option with its value as text, where that came from, and how it may change."""
    state = state_of(task.service.options)
    if state is None:  # a namespace that was made by hand
        return [{"name": name, "value": _text(value)} for name, value in plain.items()]
    return [_option(task, binding) for binding in state.bindings.values()]


def _option(task: StatusHTTPTask, binding: Binding) -> dict[str, Any]:
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
