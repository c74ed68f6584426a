"""Who may change something of a service by D-Bus.

With ``--dbus-control``, everybody whom the bus lets call. Else on the system bus root, the user
that the service runs as, and whom polkit lets do `action_of` the service; on other buses nobody.
https://www.freedesktop.org/software/polkit/docs/latest/eggdbus-interface-org.freedesktop.PolicyKit1.Authority.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from dbus_fast import DBusError, Message, MessageFlag, Variant
from sparts.options import flag_of
from sparts.tasks.dbus.calls import caller
from sparts.tasks.dbus.errors import STANDARD

if TYPE_CHECKING:
    from logging import Logger

    from sparts.tasks.dbus.calls import Caller
    from sparts.vservice import VService

POLKIT = "org.freedesktop.PolicyKit1"
ASK_THE_USER = 1
"""The flag of a check that may show the user a dialog."""


class Controlled(Protocol):
    """The task whose service is controlled over the bus."""

    @property
    def service(self) -> VService:
        """The service."""

    @property
    def logger(self) -> Logger:
        """Where it is noted who has controlled it."""

    @property
    def name_on_bus(self) -> str:
        """The name on the bus."""

    @property
    def control(self) -> bool:
        """Whether everybody may."""

    @property
    def system_bus(self) -> bool:
        """Whether it is on the system bus."""

    @property
    def address(self) -> str | None:
        """The address of the bus, if it is another."""


def action_of(bus_name: str) -> str:
    """Return the action that polkit is asked for, by the name of the service on the bus.

    Each service has one of its own: polkit answers who is not root only about actions that are
    declared to be that user's.
    """
    return bus_name.replace("_", "-") + ".control"  # no action may have a _ in it


async def authorize(task: Controlled, what: str) -> None:
    """Return if the caller of the method that runs here may change something of the service.

    Args:
        task: the task whose method is called.
        what: the name of the method, for the error.

    Raises:
        DBusError: ``AccessDenied``; the message says what would help.
    """
    if task.control:
        return
    flag = flag_of(type(task), "control")
    who = caller()
    if task.address or not task.system_bus:
        raise _denied(f"{what} is not allowed here: the service was not started with {flag}.")
    (uid,) = await who.bus.ask("GetConnectionUnixUser", "s", who.sender)
    if uid in (0, os.geteuid()) or await _polkit_agrees(task, who):
        task.logger.info("%s was asked for by %s, user %d", what, who.sender, uid)
        return
    raise _denied(
        f"{what} is not allowed to user {uid}: it takes root, user {os.geteuid()}, the action "
        f"{action_of(task.name_on_bus)} by polkit, or a service that was started with {flag}."
    )


async def _polkit_agrees(task: Controlled, who: Caller) -> bool:
    interactive = who.message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION
    subject = ["system-bus-name", {"name": Variant("s", who.sender)}]
    flags = ASK_THE_USER if interactive else 0
    message = Message(
        POLKIT,
        "/org/freedesktop/PolicyKit1/Authority",
        POLKIT + ".Authority",
        "CheckAuthorization",
        signature="(sa{sv})sa{ss}us",
        body=[subject, action_of(task.name_on_bus), {}, flags, ""],
    )
    try:
        ((authorized, _challenge, _details),) = await who.bus.request(message)
    except DBusError as error:  # there is no polkit, or it will not say
        task.logger.info("polkit does not say whether %s may: %s", who.sender, error)
        return False
    return bool(authorized)


def _denied(text: str) -> DBusError:
    return DBusError(STANDARD + "AccessDenied", text)
