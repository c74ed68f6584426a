"""A task that runs commands on a Twisted reactor, and watches what they say and how they end."""

from sparts.tasks.twisted_command.process import CommandTransport
from sparts.tasks.twisted_command.task import Command, CommandTask

__all__ = ["Command", "CommandTask", "CommandTransport"]
