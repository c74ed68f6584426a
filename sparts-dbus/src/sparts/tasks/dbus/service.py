"""A service on the bus: its name, and what it offers under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from dbus_fast import DBusError, MessageType, NameFlag, RequestNameReply
from sparts.base_work import base_work
from sparts.clock import timeout_of
from sparts.counters import counter
from sparts.errors import UsageError, message_of
from sparts.option_types import size
from sparts.options import Option, flag_of, option
from sparts.tasks.dbus.bus import DAEMON, Bus
from sparts.tasks.dbus.calls import Calls
from sparts.tasks.dbus.client import DBusClientTask
from sparts.tasks.dbus.errors import STANDARD, BusError, NameTakenError
from sparts.tasks.dbus.exporting import DBusObject
from sparts.tasks.dbus.interfaces import interfaces_of
from sparts.tasks.dbus.objects import ObjectTree
from sparts.tasks.dbus.service_object import FB303Object, ServiceObject, service_path
from sparts.tasks.dbus.validity import is_bus_name

if TYPE_CHECKING:
    from dbus_fast import Message
    from sparts.vservice import VService


class DBusServiceTask(DBusObject, DBusClientTask):
    """Owns a name on a bus, and offers its own methods, properties and signals there.

    Mark them with `dbus_method`, `dbus_property` and `dbus_signal`; further objects are offered by
    `export`.
    """

    OPT_PREFIX: ClassVar[str | None] = "dbus"
    CALL_KIND: ClassVar[str] = "dbus"
    PROCESSES: ClassVar[Literal["all", "first"]] = "first"  # a name has one owner
    BUS_NAME: ClassVar[str | None] = None
    """The name on the bus, such as ``org.example.Radio``; None: ``org.sparts.`` and the service's.
    """
    PATH: ClassVar[str | None] = None
    """Where the task's own members are offered; None: the name with slashes for dots."""

    BUS_CLASS: ClassVar[type[ServiceObject]] = ServiceObject
    """The class of the object that shows the service; made with the task."""

    UNIX_FDS: ClassVar[bool | None] = None
    """Whether messages may have file descriptors, which costs time at each; None: if a type of what
    is exported when the task connects is a `UnixFD`.
    """

    bus_name: Option[str] = option(
        type=str,
        default=lambda cls: cls.BUS_NAME,
        metavar="NAME",
        reloadable=False,
        help="the name to own on the bus",
    )
    replace: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="take the name from its owner, if the owner allows it",
        advanced=True,
    )
    allow_replacement: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="let others take the name, by their --dbus-replace; the service ends then",
        advanced=True,
    )
    queue: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="if the name is taken, start and wait for it, not ready until then",
        advanced=True,
    )
    control: Option[bool] = option(
        action="store_true",
        default=False,
        reloadable=False,
        help="let everybody on the bus set options and restart or end the service",
    )
    threads_for_calls: Option[int] = option(
        "threads",
        type=int,
        default=8,
        reloadable=False,
        help="how many plain (not async) methods run at a time",
        advanced=True,
    )
    max_memory: Option[int] = option(
        type=size,
        default="64MiB",
        metavar="SIZE",
        reloadable=False,
        help="memory limit for all calls that wait for their reply; further calls are refused",
        advanced=True,
    )

    calls: counter = counter(help="Calls of exported methods and properties.")
    errors: counter = counter(help="Calls that ended with an error.")
    n_refused: counter = counter(help="Calls refused for lack of memory.")

    objects: ObjectTree
    """What is exported."""
    _calls_running: Calls
    _owns_name: bool
    _on_duty: bool  # whether `joining` is over
    _about: ServiceObject | None

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self.objects = ObjectTree(
            lambda bus, message, bound: self._calls_running.begin(bus, message, bound),
            self._send,
            self.logger,
        )
        self._owns_name = self._on_duty = False
        self._about = None

    # -- to use ------------------------------------------------------------------------------------

    @property
    def name_on_bus(self) -> str:
        """The name that the task owns, or wants to own, on the bus."""
        return str(self.bus_name or f"org.sparts.{self._instance.name}")

    @property
    def path(self) -> str:
        """Where the task's own members are offered."""
        return self.PATH or "/" + self.name_on_bus.replace(".", "/").replace("-", "_")

    @property
    def owns_name(self) -> bool:
        """Whether the name is the task's just now."""
        return self._owns_name and self.connected

    def passes_fds(self) -> bool:
        """Return ``UNIX_FDS``, or whether anything exported takes or gives file descriptors."""
        return self.objects.passes_fds() if self.UNIX_FDS is None else self.UNIX_FDS

    def dbus_interface(self) -> str | None:
        """Return ``INTERFACE``, or by default the name on the bus that the class has."""
        return self.INTERFACE or self.BUS_NAME or self.name_on_bus

    def export(self, path: str, thing: DBusObject) -> None:
        """Offer an object at a path, from any thread; also when the bus was lost in between.

        Raises:
            UsageError: it cannot be offered; the message says why.
        """
        self.objects.export(path, thing)

    def unexport(self, path: str) -> None:
        """Take back what is offered at a path; from any thread.

        Raises:
            KeyError: nothing is.
        """
        self.objects.unexport(path)

    def on_name_lost(self) -> None:
        """Act when another has taken the name, as ``--dbus-allow-replacement`` lets it.

        Called in the loop. The default ends the service in order.
        """
        self.logger.warning("%s was taken by another; the service ends", self.name_on_bus)
        self.service.shutdown()

    # -- life --------------------------------------------------------------------------------------

    def initTask(self) -> None:  # noqa: N802
        """Check the name and all that is offered, and offer it."""
        super().initTask()
        self._check_settings()
        self._calls_running = Calls(
            self, self._instance.name, self.threads_for_calls, self.max_memory
        )
        self.objects.manager = self.path
        self.export(self.path, self)
        self.addHandlers()

    def addHandlers(self) -> None:  # noqa: N802
        """Offer what shows the service itself; called by `initTask`."""
        bus_class: object = self.BUS_CLASS  # a service may have any
        if not (isinstance(bus_class, type) and issubclass(bus_class, ServiceObject)):
            raise UsageError(
                f"{self.name}.BUS_CLASS is {bus_class!r}: make it a subclass of "
                "sparts.tasks.dbus.VServiceDBusObject, with its methods marked by dbus_method."
            )
        about = bus_class(self)
        self.export(about.path, about)
        self.export(f"{service_path(self._instance.name)}/fb303", FB303Object(self))
        self._about = about
        self._instance.hooks.register(about)

    def check(self) -> None:
        """See whether the name and all that is offered are in order, and where the bus is."""
        self.check_offer()
        super().check()

    def check_offer(self) -> None:
        """See whether the name and all that is offered are in order; needs no bus.

        Raises:
            UsageError: the name is none, or a member cannot be offered.
        """
        self._check_settings()
        interfaces_of(self)

    def _check_settings(self) -> None:
        if self.threads_for_calls < 1:
            flag = flag_of(type(self), "threads")
            raise UsageError(f"{flag} must be 1 or more, not {self.threads_for_calls}.")
        if not is_bus_name(self.name_on_bus) or self.name_on_bus.startswith(":"):
            raise UsageError(
                f"{self.name_on_bus!r} is no name on a bus: use org.you.Name (letters, digits, _ "
                f"and -, at least one dot), by BUS_NAME or {flag_of(type(self), 'bus-name')}."
            )

    async def start_in_loop(self) -> None:
        """Connect, and own the name; see `DBusClientTask.start_in_loop`."""
        self._calls_running.forget()
        await super().start_in_loop()

    @base_work
    async def joining(self, bus: Bus) -> None:
        """Ask for the name.

        Raises:
            BusError: it cannot be had.
        """
        await super().joining(bus)
        flags = NameFlag.NONE if self.queue else NameFlag.DO_NOT_QUEUE
        flags |= NameFlag.REPLACE_EXISTING if self.replace else NameFlag.NONE
        flags |= NameFlag.ALLOW_REPLACEMENT if self.allow_replacement else NameFlag.NONE
        name = self.name_on_bus
        self._owns_name = self._on_duty = False
        try:
            reply = RequestNameReply((await bus.ask("RequestName", "su", name, flags.value))[0])
        except DBusError as error:
            raise BusError(self._refused(error)) from error
        if reply is RequestNameReply.EXISTS:
            owner, flag = await _owner_of(bus, name), flag_of(type(self))
            raise NameTakenError(
                f"The name {name} on {self.bus_label()} is taken, by {owner}. "
                + ("It does not let itself be replaced. " if self.replace else "")
                + f"End that, choose another by {flag}-bus-name, or give {flag}-queue"
                + ("." if self.replace else f" or {flag}-replace.")
            )

    @base_work
    def joined(self) -> None:
        """Note that all is well if the name is the task's, else that it waits."""
        self._on_duty = True
        self._show_ownership()

    def _show_ownership(self) -> None:
        if self._owns_name:
            self.logger.info("Owns %s on %s", self.name_on_bus, self.bus_label())
            self.well()
        else:
            self.troubled(f"{self.name} waits for the name {self.name_on_bus}, which is taken.")

    def _refused(self, error: DBusError) -> str:
        text = f"{self.bus_label()} does not let this user own {self.name_on_bus}: {error.text}"
        if error.type == STANDARD + "AccessDenied":
            text += " Its policy has to allow that: `sparts dbus-install` writes such a file."
        return text[:1].upper() + text[1:]

    @base_work
    async def leaving(self, bus: Bus) -> None:
        """Give the name back: nobody else calls from then on."""
        self._on_duty = False
        await bus.ask("ReleaseName", "s", self.name_on_bus)

    def on_message(self, bus: Bus, message: Message) -> bool:
        """Answer calls; notice when the name comes or goes."""
        if message.message_type is MessageType.METHOD_CALL:
            return self.objects.handle(bus, message)
        moved = message.sender == DAEMON and message.member in ("NameAcquired", "NameLost")
        if moved and bus is self._bus and message.body == [self.name_on_bus]:
            self._name_moved(message.member == "NameAcquired")
        return super().on_message(bus, message)

    def _name_moved(self, ours: bool) -> None:
        """Note what the bus says of the name: this alone shows whose it is, in the right order."""
        self._owns_name = ours
        if not self._on_duty or not self._supervisor.running:
            return
        if ours or self.queue:
            self._show_ownership()
        else:
            self.troubled(f"{self.name} has lost the name {self.name_on_bus} to another.")
            self.on_name_lost()

    async def stop_in_loop(self) -> None:
        """Give the name back, and let the calls finish that have begun.

        What has not finished after `seconds_to_stop` is cut off, and logged.
        """
        cut = await self._calls_running.end(timeout_of(self.seconds_to_stop()))
        if cut:
            self.logger.warning("Calls cut off, which took too long to finish: %d", cut)
        await super().stop_in_loop()

    def join(self) -> None:
        """Wait for the end of the calls in threads."""
        super().join()
        if self._about is not None:
            self._instance.hooks.unregister(self._about)
        self.objects.clear()
        if hasattr(self, "_calls_running"):
            self._calls_running.close()

    def _send(self, message: Message) -> None:
        def send() -> None:
            if self._bus is None:
                return
            try:
                self._bus.send_quietly(message)
            except Exception as error:  # it is too large
                self.logger.error("%s was not sent: %s", message.member, message_of(error))

        self.loop_task.post_if_open(send)


async def _owner_of(bus: Bus, name: str) -> str:
    """Return who owns a name, for a person: its unique name, and what process that is."""
    try:
        (unique,) = await bus.ask("GetNameOwner", "s", name)
        (pid,) = await bus.ask("GetConnectionUnixProcessID", "s", unique)
    except DBusError:
        return "another"
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            command = file.read().replace("\0", " ").strip()
    except OSError:
        command = ""
    return f"{unique} (process {pid}{': ' if command else ''}{command[:80]})"
