"""What a service and systemd exchange, and ``--systemd-install``: units for systemd.

Sources: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import TYPE_CHECKING

from sparts.builtin import Installing, ProcessOptions, switch
from sparts.hookspecs import hookimpl
from sparts.masking import one_line
from sparts.options import Option, OptionGroup
from sparts.shown import ours
from sparts.states import ServiceStatus

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from sparts.vservice import VService


_LEAST_INTERVAL = 0.02  # seconds: more often is no question of health

LONGEST = 3000
"""How many bytes of a notification are sent; systemd drops a message of more than 4096."""


class Systemd(ProcessOptions):
    """Options of `systemd`."""

    systemd_install: Option[bool] = switch(
        "write systemd units that run this command line, and exit (--dryrun prints them)"
    )


@hookimpl
def sparts_options_add() -> list[type[OptionGroup]]:
    """Add the options."""
    return [Systemd, Installing]


@hookimpl
def sparts_service_run(
    service_class: type[VService], options: argparse.Namespace, name: str | None
) -> int | None:
    """Write units instead of running, if ``--systemd-install`` is given."""
    if not Systemd.of(service_class, options).systemd_install:
        return None
    from sparts.builtin.systemd.units import install

    return install(service_class, options, name)


_ENDS = (ServiceStatus.STOPPING, ServiceStatus.STOPPED, ServiceStatus.DEAD)


# -- notifications ---------------------------------------------------------------------------------


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


@hookimpl
def sparts_service_change(service: VService, old: ServiceStatus, new: ServiceStatus) -> None:
    """Send systemd the status, and feed its watchdog while the service is alive."""
    if new is ServiceStatus.STOPPING:
        if ours(service).health.restarting:  # after STOPPING=1, systemd would kill the process
            begin_reload()
        else:
            notify("STOPPING=1")
    if new in _ENDS and not ours(service).health.restarting:
        _end_watchdog(service)
    if os.environ.get("NOTIFY_SOCKET"):
        # Without the checks: one that takes its time must not hold up start or stop.
        details = ours(service).health.status_details(ours(service).health.known_checks())
        notify(f"STATUS={new}: {details}".rstrip(": "))


@hookimpl
def sparts_service_ready(service: VService, ready: bool) -> None:
    """Report to systemd that the service has started, and feed its watchdog from then on."""
    if ready:
        notify("READY=1")
        _begin_watchdog(service)


@hookimpl(tryfirst=True, specname="sparts_service_reload")
def begin_reload() -> None:
    """Report to systemd that a reload begins."""
    notify_reloading()


@hookimpl(trylast=True, specname="sparts_service_reload")
def end_reload() -> None:
    """Report to systemd that the reload is over."""
    notify("READY=1")


# -- the watchdog ----------------------------------------------------------------------------------


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
    mine = int(pid) == os.getpid()
    return max(int(usec) / 1_000_000, _LEAST_INTERVAL) if mine else None


def _begin_watchdog(service: VService) -> None:
    """Feed the watchdog in a thread of its own: a health check may hang, and systemd then acts."""
    if (watchdog := ours(service).hooks.kept.get("watchdog")) is not None:
        watchdog.service = service
        return
    interval = watchdog_interval(lambda text: ours(service).logger.warning("%s", text))
    if interval is None:
        return
    ours(service).hooks.kept["watchdog"] = watchdog = Watchdog(service, interval)
    name = f"{service._instance.name} watchdog"
    threading.Thread(target=watchdog.feed, name=name, daemon=True).start()


class Watchdog:
    """Feeds systemd's watchdog while the service is healthy, and while it restarts.

    Args:
        service: the instance that runs, or that ran before a restart.
        interval: the seconds that systemd waits for the next notification.
    """

    def __init__(self, service: VService, interval: float) -> None:
        self.service = service
        self.interval = interval
        self.ended: threading.Event = threading.Event()

    def feed(self) -> None:
        """Notify systemd at half the interval until `ended` is set."""
        while True:
            if ours(self.service).health.restarting or ours(self.service).health.healthy:
                notify("WATCHDOG=1")
            if self.ended.wait(self.interval / 2):
                return


def _end_watchdog(service: VService) -> None:
    if (watchdog := ours(service).hooks.kept.pop("watchdog", None)) is not None:
        watchdog.ended.set()
