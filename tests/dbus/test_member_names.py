"""Members named like something of a task or object: they work, or the error says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from sparts.errors import UsageError
from sparts.tasks.dbus import (
    DBusObject,
    DBusServiceTask,
    dbus_details,
    dbus_method,
    dbus_property,
    dbus_signal,
)
from sparts.tasks.dbus.interfaces import interfaces_of
from sparts.testing.running import running, running_task, service_of

from tests.dbus.daemons import Daemon
from tests.dbus.services import NAME, PATH, Greeter

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")
KINDS = ("method", "property", "signal")


def member(kind: str, attribute: str, on_bus: str | None = None) -> Any:
    """Return a member of a class, under a name on the bus of its own or that of the attribute."""

    def answer(self: Any) -> str:
        return "it"

    answer.__name__ = attribute
    if kind == "property":
        return dbus_property(dbus_details(name=on_bus)(answer) if on_bus else answer)
    return (dbus_method if kind == "method" else dbus_signal)(name=on_bus)(answer)


def names_of(cls: type[Any], thing: object = None) -> list[str]:
    """Return all names that mean something in a class, and in an instance of it."""
    annotated = (vars(base).get("__annotations__", {}) for base in cls.__mro__)
    late = ("SPARTS_ALLOW_NAMES", "bound_addrs", "open_for_copies", "status_panels")
    wrapped = {"__class_getitem__", "__init_subclass__", "__new__"}  # by Python, when it is made
    return sorted({*dir(cls), *vars(thing or cls), *late}.union(*annotated) - wrapped)


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_tasks_fails_with_its_remedy(kind: str, session_bus: Daemon) -> None:
    with running_task(DBusServiceTask, *session_bus.argv) as task:
        names = names_of(DBusServiceTask, task)
    assert len(names) > 100
    odd = {}
    for name in names:
        try:
            cls = type("Odd", (DBusServiceTask,), {"BUS_NAME": NAME, name: member(kind, name)})
            with running(service_of(cls), *session_bus.argv):
                odd[name] = "started"
        except UsageError as error:
            if f"Call it on_{name}, and mark it by @dbus_" not in str(error):
                odd[name] = str(error)
        except Exception as error:
            odd[name] = repr(error)
    assert odd == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_objects_fails_with_its_remedy(kind: str) -> None:
    for name in names_of(DBusObject):
        with pytest.raises(UsageError, match=f"on_{name}, and mark it by .*name='{name}'"):
            interfaces_of(type("Odd", (DBusObject,), {name: member(kind, name)})())


def test_remedy_and_names_like_those_of_tasks_work(session_bus: Daemon) -> None:
    public = [name for name in names_of(DBusServiceTask) if name[0] != "_"]
    taken = names_of(DBusServiceTask)
    near = {"".join(part.capitalize() for part in name.split("_")) for name in public}
    near |= {name.title() for name in public} | {name.lower() for name in public}
    near |= {f"{name[:-1]}x" for name in public}
    members = {name: member("method", name) for name in near if name not in taken}
    assert {"Start", "Stop", "Reload", "Subscribe"} < members.keys()
    remedy = {f"on_{name}": member("method", f"on_{name}", name) for name in ("start", "stop")}
    cls: Any = type("Near", (Greeter,), {**members, **remedy})
    with running_task(cls, *session_bus.argv) as task:
        proxy = task.proxy(NAME, PATH, NAME)
        for name in (*members, "start", "stop"):
            assert proxy.call(name) == "it"
