"""What goes wrong with items and events at a broker."""

from __future__ import annotations

from queue import Full


class RemoteError(Exception):
    """What `execute` raised in another process.

    Attributes:
        type: the name of the exception's class there.
        text: its text.
    """

    def __init__(self, type: str, text: str) -> None:
        super().__init__(f"{type}: {text}" if text else type)
        self.type = type
        self.text = text


class ForeignError(ValueError):
    """A message is none that this queue can work on; the text says why."""


class RejectedError(Full):
    """The broker has no room for a message: its queue is full."""


class UnconfirmedError(Full):
    """The broker did not confirm a message in time. It may have it all the same."""


class UnroutableError(Exception):
    """No queue takes a message: there is none of that name, or none is bound to that topic."""


class BrokenError(ConnectionError):
    """The connection to the broker is lost, or could not be made."""


class TooLargeError(ValueError):
    """The broker takes no message as large as this one: see its ``max_message_size``."""
