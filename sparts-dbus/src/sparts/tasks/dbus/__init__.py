"""Tasks that offer and call objects on D-Bus."""

from sparts.tasks.dbus.calls import caller
from sparts.tasks.dbus.client import DBusClientTask
from sparts.tasks.dbus.errors import BusError, CallTimeoutError, DBusError
from sparts.tasks.dbus.exporting import (
    DBusObject,
    dbus_details,
    dbus_method,
    dbus_property,
    dbus_signal,
)
from sparts.tasks.dbus.mainloop import DBusMainLoopTask, DBusTask
from sparts.tasks.dbus.proxy import Proxy
from sparts.tasks.dbus.service import DBusServiceTask
from sparts.tasks.dbus.service_object import ServiceObject as VServiceDBusObject

__all__ = [
    "BusError",
    "CallTimeoutError",
    "DBusClientTask",
    "DBusError",
    "DBusMainLoopTask",
    "DBusObject",
    "DBusServiceTask",
    "DBusTask",
    "Proxy",
    "VServiceDBusObject",
    "caller",
    "dbus_details",
    "dbus_method",
    "dbus_property",
    "dbus_signal",
]
