"""RPC over D-Bus: the task that serves it, and the client of ``dbus:`` URLs."""

from sparts.tasks.dbus.rpc.task import RPCDBusTask

__all__ = ["RPCDBusTask"]
