"""Twisted: its reactor, and what lives on it, as tasks of a service.

Import this before anything that imports ``twisted.internet.reactor``.
"""

from sparts.tasks.twisted import global_reactor  # isort: skip # noqa: F401 - has to come first
from sparts.tasks.twisted.awaiting import deferToTask
from sparts.tasks.twisted.reactor_task import TwistedReactorTask
from sparts.tasks.twisted.server import TwistedServerTask
from sparts.tasks.twisted.task import TwistedServiceTask, TwistedTask
from sparts.tasks.twisted.web import TwistedWebTask

__all__ = [
    "TwistedReactorTask",
    "TwistedServerTask",
    "TwistedServiceTask",
    "TwistedTask",
    "TwistedWebTask",
    "deferToTask",
]
