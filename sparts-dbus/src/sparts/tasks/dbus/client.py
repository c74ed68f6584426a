"""A connection to a bus as a task: made at the start, and made again when the bus was lost."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from dbus_fast import DBusError
from sparts.base_work import base_work
from sparts.clock import retry_delay
from sparts.errors import message_of
from sparts.option_types import duration, size
from sparts.options import Option, option, prefix_of
from sparts.shown import renamed
from sparts.tasks.dbus.bus import Bus, session_address, system_address
from sparts.tasks.dbus.errors import BusError
from sparts.tasks.dbus.mainloop import DBusTask
from sparts.tasks.dbus.proxy import Proxy
from sparts.tasks.dbus.watches import SignalMatch, Subscription, Watches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from dbus_fast import Message
    from sparts.vservice import VService


class DBusClientTask(DBusTask):
    """Keeps a connection to a bus, to call what others offer there.

    When the bus is lost (its daemon was restarted), the task is not ready and the service has a
    warning until it has connected again, which it tries by itself, at growing intervals.
    """

    OPT_PREFIX: ClassVar[str | None] = "dbus-client"
    DEFAULT_BUS: ClassVar[str] = "session"
    """The bus where no option says otherwise: ``session``, ``system`` or an address."""
    USE_SYSTEM_BUS: ClassVar[bool] = False
    """Whether ``DEFAULT_BUS`` is the system bus."""
    RETRY_AFTER: ClassVar[float] = 0.2
    """Seconds before the first attempt to connect again; they double with each that fails."""
    RETRY_MAX_WAIT: ClassVar[float] = 30.0
    """Seconds between attempts at most."""
    FIRST_RETRY: ClassVar[float] = renamed("RETRY_AFTER")
    MAX_RETRY: ClassVar[float] = renamed("RETRY_MAX_WAIT")

    UNIX_FDS: ClassVar[bool | None] = True
    """Whether messages may have file descriptors."""

    system_bus: Option[bool] = option(
        action="store_true",
        default=lambda cls: cls.USE_SYSTEM_BUS or cls.DEFAULT_BUS == "system",
        reloadable=False,
        help="use the system bus instead of the session bus",
    )
    address: Option[str] = option(
        type=str,
        default=lambda cls: None if cls.DEFAULT_BUS in ("session", "system") else cls.DEFAULT_BUS,
        metavar="ADDRESS",
        reloadable=False,
        help="use the bus at this address, such as unix:path=/run/my_bus",
    )
    optional: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="if there is no bus, start without it, warn, and try again later",
        advanced=True,
    )
    timeout: Option[float] = option(
        type=duration,
        default=25.0,
        metavar="DURATION",
        help="time limit for calls to other services; 0: no limit",
        advanced=True,
    )
    max_message: Option[int] = option(
        type=size,
        default="32MiB",
        metavar="SIZE",
        reloadable=False,
        help="refuse to send larger messages, for which a bus disconnects the sender (the "
        "default is the limit of system buses)",
        advanced=True,
    )

    _bus: Bus | None
    _keeper: asyncio.Task[None] | None
    _trouble: tuple[str, int] | None  # the message, the id of the warning
    _watches: Watches
    _jobs: set[asyncio.Task[None]]

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self._bus = self._keeper = self._trouble = None
        self._watches = Watches(self)
        self._jobs = set()

    @property
    def connected(self) -> bool:
        """Whether there is a bus just now; from any thread."""
        return self._bus is not None and self._bus.connected

    @property
    def unique_name(self) -> str | None:
        """The name that the bus gave this connection, such as ``:1.42``; None: there is no bus."""
        bus = self._bus
        return bus.unique_name if bus is not None and bus.connected else None

    def bus_address(self) -> str:
        """Return the address of the bus that the options ask for.

        Raises:
            BusError: it is the session's, and there is none.
        """
        if self.address:
            return str(self.address)
        if self.system_bus:
            return system_address()
        return session_address(prefix_of(type(self)))

    def check(self) -> None:
        """See whether it is known where the bus is, unless the service may start without."""
        super().check()
        if not self.optional:
            self.bus_address()

    def passes_fds(self) -> bool:
        """Whether messages may have file descriptors; asked before connecting."""
        return bool(self.UNIX_FDS)

    def bus_label(self) -> str:
        """Return what messages call the bus."""
        if self.address:
            return f"the bus at {self.address}"
        return "the system bus" if self.system_bus else "the session bus"

    # -- to use, from any thread -------------------------------------------------------------------

    def proxy(self, name: str, path: str, interface: str | None = None) -> Proxy:
        """Return an object of another on the bus, to call it; see `Proxy`. Asks nobody yet."""
        return Proxy(self, name, path, interface)

    def watch_name(self, name: str, callback: Callable[[str], Any]) -> Subscription:
        """Have a function called, in the loop, whenever a name on the bus gets another owner.

        Its argument is the owner's unique name; ``""`` when there is none any more, also since the
        bus was lost. If the name has an owner now, it is called at once.
        """
        return self.subscribe(name, callback)

    def subscribe(self, what: SignalMatch | str, callback: Callable[..., Any]) -> Subscription:
        """Listen to signals, or to who owns a name. Outside of the loop, return once the bus was
        told.

        Raises:
            DBusError: the bus refuses.
            LoopStoppedError: the loop has ended for good.
        """
        subscription = Subscription(self._watches, what, callback)
        if threading.current_thread() in self.loop_task.threads:
            self.spawn(self._watches.add(subscription))
        else:
            self.loop_task.call(self._watches.add, subscription).result()
        return subscription

    def wait_for(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Run a coroutine function in the loop, wait for its end and return its result.

        Raises:
            RuntimeError: in the loop's thread, which would wait for itself.
        """
        if threading.current_thread() in self.loop_task.threads:
            raise RuntimeError("The loop's thread would wait for itself: await it.")
        return self.loop_task.call(fn, *args).result()

    @property
    def bus(self) -> Bus | None:
        """The connection, for use in the loop's thread alone; None: there is none now."""
        return self._bus

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the loop, which is this thread's; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._jobs.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.logger.error("%s", message_of(error), exc_info=error)

        task.add_done_callback(ended)

    # -- life, in the loop's thread ----------------------------------------------------------------

    async def start_in_loop(self) -> None:
        """Connect.

        Raises:
            BusError: it could not, and ``--PREFIX-optional`` was not given.
        """
        try:
            await self._connect()
        except BusError as error:
            if not self.optional:
                raise
            self.troubled(message_of(error), ready=True)
        self._keeper = asyncio.get_running_loop().create_task(
            self._keep(), name=f"{self._supervisor.logger.name} keeper"
        )
        self._keeper.add_done_callback(self._left)

    async def stop_in_loop(self) -> None:
        """Leave the bus."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        self._watches.end()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=min(1.0, self.seconds_to_stop()))
        if (bus := self._bus) is not None and bus.connected:
            try:
                async with asyncio.timeout(min(1.0, self.seconds_to_stop())):
                    await self.leaving(bus)
            except Exception as error:  # a bus that hangs or is lost keeps nobody from leaving it
                self.logger.debug("Left %s in a hurry: %s", self.bus_label(), message_of(error))
        self._drop()
        self.well()

    @base_work
    async def joining(self, bus: Bus) -> None:
        """Do what is to be done on a bus that was just connected to; called in the loop.

        The default asks for all that is listened to. A `BusError` or DBusError means that the bus
        is of no use.
        """
        await self._watches.joining(bus)

    @base_work
    def joined(self) -> None:
        """Note that the task works on the bus now; called in the loop after `joining`.

        The default reports that all is well, by `well`.
        """
        self.well()

    async def leaving(self, bus: Bus) -> None:
        """Take leave of the bus, in at most a second; called in the loop at the stop."""

    def on_message(self, bus: Bus, message: Message) -> bool:
        """Act on a message, in the loop; True: it needs nothing more."""
        self._watches.heard(message)
        return False

    async def _connect(self) -> None:
        self._bus = bus = await Bus.to(
            self.bus_address(), self.on_message, self.passes_fds(), self.max_message
        )
        try:
            await self.joining(bus)
        except BaseException as error:
            self._drop()
            if isinstance(error, DBusError):
                raise BusError(f"{self.bus_label()} is of no use: {message_of(error)}") from error
            raise
        self.logger.info("Connected to %s as %s", self.bus_label(), bus.unique_name)
        self.joined()

    async def _keep(self) -> None:
        """Connect again whenever the bus is lost, until cancelled."""
        attempt = 0
        try:
            while True:
                if (bus := self._bus) is not None:
                    why = await bus.lost()
                    self._drop()
                    message = f"{self.name} has lost {self.bus_label()}{_because(why)}"
                    self.troubled(message, ready=bool(self.optional))
                    attempt = 0
                delay = retry_delay(attempt, self.RETRY_AFTER, self.RETRY_MAX_WAIT, jitter=0.1)
                await asyncio.sleep(delay)
                attempt += 1
                try:
                    await self._connect()
                except BusError as error:
                    self.troubled(message_of(error), ready=bool(self.optional))
        finally:
            if not self.loop_task.open:  # the loop has failed: nothing of it may stay
                self._drop()

    def _left(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            self._supervisor.fail(error)

    def _drop(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()
            self._watches.lost()

    # -- what others see of it ---------------------------------------------------------------------

    def troubled(self, message: str, ready: bool = False) -> None:
        """Show why the task cannot do its work: as a warning of the service, until `well`.

        Args:
            message: why, for a person.
            ready: whether the task counts as ready nonetheless.
        """
        self.set_ready(ready)
        if self._trouble is None or self._trouble[0] != message:
            before, self._trouble = self._trouble, (message, self.service.registerWarning(message))
            if before is not None:
                self.service.clearWarning(before[1])

    def well(self) -> None:
        """Show that the task does its work."""
        trouble, self._trouble = self._trouble, None
        self.set_ready(True)  # before the status changes: what reports that reports both
        if trouble is not None:
            self.service.clearWarning(trouble[1])


def _because(error: BaseException | None) -> str:
    return f": {message_of(error)}" if error is not None else "."
