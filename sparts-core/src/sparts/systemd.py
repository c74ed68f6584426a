"""What systemd and a service exchange: notifications and the watchdog.

Sources: the manual pages sd_notify(3) and sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

from sparts.escaping import one_line

_LEAST_INTERVAL = 0.02  # seconds: more often is no question of health

LONGEST = 3000
"""How many bytes of a notification are sent; systemd drops a message of more than 4096."""


def notify(*assignments: str) -> None:
    """Send notifications (``READY=1``, ``STATUS=...``) to the socket named by ``NOTIFY_SOCKET``.

    Does nothing without that variable. Never blocks and never raises: a service does not depend on
    who watches it.

    Args:
        assignments: what is sent in one message. Each stays one line, so that a string in it cannot
            assign anything else, and is cut to `LONGEST` bytes.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    import socket  # needed only under systemd

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect("\0" + address[1:] if address[0] == "@" else address)
            sender.send(b"\n".join(map(_line, assignments)))
    except (OSError, ValueError):
        return


def notify_reloading() -> None:
    """Send systemd that a reload begins; ``READY=1`` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={int(monotonic() * 1e6)}")


def _line(assignment: str) -> bytes:
    return one_line(assignment[:LONGEST]).encode()[:LONGEST].decode(errors="ignore").encode()


def watchdog_interval(warn: Callable[[str], object] = lambda text: None) -> float | None:
    """Return the seconds within which systemd wants a ``WATCHDOG=1``, or None if it wants none.

    Args:
        warn: called with what is wrong if the variables are not what systemd sets.
    """
    usec, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if usec is None:
        return None
    for name, value in (("WATCHDOG_PID", pid), ("WATCHDOG_USEC", usec)):
        if not (value.isascii() and value.isdecimal() and 0 < len(value) < 19 and int(value)):
            warn(f"{name} is {value!r:.40}, which is no number of systemd's: it is ignored.")
            return None
    ours = int(pid) == os.getpid()
    return max(int(usec) / 1_000_000, _LEAST_INTERVAL) if ours else None
