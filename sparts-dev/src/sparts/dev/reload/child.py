"""What a service does beside being one, if its parent starts it again after each change."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sparts.dev.reload import RELOADED
from sparts.errors import UsageError
from sparts.shown import ours

if TYPE_CHECKING:
    import argparse

    from sparts.vservice import VService

_parent: socket.socket | None = None


def begin(options: argparse.Namespace) -> None:
    """Take what the parent passed on; nothing in a process that it has not started itself.

    Raises:
        UsageError: the service is to leave its terminal.
    """
    global _parent
    if getattr(options, "daemon", False):
        raise UsageError("--reload is for development: leave out --daemon.")
    descriptor, _, pid = os.environ[RELOADED].partition(":")
    if _parent is None and pid == str(os.getppid()):
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.set_inheritable(int(descriptor), False)
        _parent = socket.socket(fileno=int(descriptor))
        threading.Thread(target=_follow, args=(_parent,), name="sparts-parent", daemon=True).start()


def hand_over(service: VService) -> None:
    """Have the parent hold the sockets of a service."""
    listeners: Any = ours(service).hooks.kept.get("listeners")
    if _parent is None or listeners is None:
        return
    sockets = listeners.hand_over()
    names = [name for name, _ in sockets]
    with suppress(OSError):  # it has ended
        socket.send_fds(_parent, [json.dumps(names).encode()], [each for _, each in sockets])


def _follow(parent: socket.socket) -> None:
    """End this process when the parent has ended, however that came."""
    with suppress(OSError):
        parent.recv(1)  # nothing else comes
    os.kill(os.getpid(), signal.SIGTERM)
