"""What a task listens to on its bus: signals of others, and who owns which name.

Both are kept when the bus is lost, and asked for again at the next.
https://dbus.freedesktop.org/doc/dbus-specification.html#message-bus-routing-match-rules
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dbus_fast import DBusError, MessageType, unpack_variants
from sparts.errors import TaskStoppedError, log_error, message_of, text_of
from sparts.tasks.dbus.bus import DAEMON, DAEMON_PATH, Bus
from sparts.tasks.dbus.descriptors import with_fds
from sparts.tasks.dbus.errors import NoDescriptorsError
from sparts.tasks.dbus.validity import (
    UnsupportedTypeError,
    is_bus_name,
    is_interface_name,
    is_member_name,
    is_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from logging import Logger

    from dbus_fast import Message
    from sparts.loops import LoopTask


class Listener(Protocol):
    """The task that listens."""

    @property
    def name(self) -> str:
        """Its name, for errors."""

    @property
    def running(self) -> bool:
        """Whether it has not stopped."""

    @property
    def logger(self) -> Logger:
        """Where it is reported what fails."""

    @property
    def loop_task(self) -> LoopTask:
        """The loop that it lives on."""

    @property
    def bus(self) -> Bus | None:
        """The connection; None: there is none now."""

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the loop."""


class SignalMatch(NamedTuple):
    """Which signals are meant; None matches any."""

    sender: str | None
    path: str | None
    interface: str | None
    member: str | None

    def check(self) -> None:
        """Raise `UnsupportedTypeError` if a bus would refuse it."""
        for value, valid, kind in (
            (self.sender, is_bus_name, "name on a bus"),
            (self.path, is_path, "object path"),
            (self.interface, is_interface_name, "name of an interface"),
            (self.member, is_member_name, "name of a signal"),
        ):
            if value is not None and not valid(value):
                raise UnsupportedTypeError(f"{text_of(value, repr)} is no {kind}.")

    def rule(self) -> str:
        """Return the rule for the bus."""
        parts = {
            "sender": self.sender,
            "path": self.path,
            "interface": self.interface,
            "member": self.member,
        }
        found = [f"{key}='{value}'" for key, value in parts.items() if value is not None]
        return ",".join(["type='signal'", *found])


class Subscription:
    """Something that is listened to, until `cancel`.

    Raises:
        UnsupportedTypeError: a bus would refuse it.
    """

    def __init__(
        self, watches: Watches, what: SignalMatch | str, react: Callable[..., Any]
    ) -> None:
        (SignalMatch(what, None, None, None) if isinstance(what, str) else what).check()
        self._watches = watches
        self.what = what
        self.react = react
        self.ended: Callable[[], None] | None = None
        self.rules: list[str] = []
        """The rules that the bus was asked for on its behalf, so far."""

    def cancel(self) -> None:
        """Listen no more; from any thread. Once it returns in the loop, `react` is not called."""
        self._watches.task.loop_task.post_if_open(lambda: self._watches.remove(self))


class Watches:
    """The subscriptions of one task; used in the loop's thread, but for `add`."""

    def __init__(self, task: Listener) -> None:
        self.task = task
        self._signals: list[Subscription] = []
        self._names: list[Subscription] = []
        self._owners: dict[str, str] = {}  # of the names that anything here is about
        self._told: dict[str, int] = {}  # how often the bus reported a name's owner
        self._counts: dict[str, int] = {}  # of match rules

    # -- to use ------------------------------------------------------------------------------------

    async def add(self, subscription: Subscription) -> None:
        """Begin to listen; what the bus refuses is not kept.

        Raises:
            DBusError: the bus refuses.
        """
        if not self.task.running:
            raise TaskStoppedError(f"{self.task.name} has stopped.")
        try:
            await self._begin(subscription)
        except BaseException:
            self.remove(subscription)
            raise

    async def _begin(self, subscription: Subscription) -> None:
        what = subscription.what
        if isinstance(what, str):
            self._names.append(subscription)
            if what in self._owners:
                self._react(subscription, self._owners[what])
            await self._watch_name(subscription, what)  # and report an owner not known yet
            return
        self._signals.append(subscription)
        if what.sender is not None and not what.sender.startswith(":"):
            await self._watch_name(subscription, what.sender)
        if subscription in self._signals:  # else it was removed meanwhile
            await self._ask_for(subscription, what.rule())

    def remove(self, subscription: Subscription) -> None:
        """Listen no more."""
        for known in (self._signals, self._names):
            if subscription in known:
                known.remove(subscription)
                for rule in subscription.rules:
                    self.task.spawn(self._count(rule, -1))
                for name in self._owners.keys() - self._watched_names():
                    del self._owners[name]  # nobody reports the next owner
        if subscription.ended is not None:
            subscription.ended()

    def end(self) -> None:
        """End all subscriptions: the task stops."""
        for subscription in [*self._signals, *self._names]:
            self.remove(subscription)

    # -- the bus comes, speaks and goes ------------------------------------------------------------

    async def joining(self, bus: Bus) -> None:
        """Ask the new bus for all that is listened to; what it refuses is logged."""
        for rule in list(self._counts):
            try:
                await bus.ask("AddMatch", "s", rule)
            except DBusError as error:
                if not bus.connected:
                    raise
                self.task.logger.error("The bus refuses %s: %s", rule, message_of(error))
        for name in self._watched_names():
            await self._learn_owner(bus, name)

    def lost(self) -> None:
        """Report that no name has an owner any more."""
        for name in list(self._owners):
            self._moved(name, "")

    def heard(self, message: Message) -> None:
        """Act on a signal."""
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.sender == DAEMON:
            name, _, owner = message.body
            if name in self._watched_names():
                self._told[name] = self._told.get(name, 0) + 1
                self._moved(name, owner)
        found = [s for s in self._signals if self._matches(s.what, message)]
        if not found:
            return
        try:
            body = with_fds(message) if message.unix_fds else message.body
        except NoDescriptorsError as error:
            self.task.logger.debug("A signal %s is left out: %s", message.member, error)
            return
        for subscription in found:
            if subscription in self._signals:  # else another's callback has cancelled it
                self._react(subscription, *body)

    def _matches(self, what: Any, message: Message) -> bool:
        sender = what.sender
        return (
            sender in (None, message.sender) or self._owners.get(sender) == message.sender
        ) and (
            what.member in (None, message.member)
            and what.path in (None, message.path)
            and what.interface in (None, message.interface)
        )

    def _moved(self, name: str, owner: str) -> None:
        if self._owners.get(name, "") == owner:
            return
        self._owners[name] = owner
        if not owner:
            del self._owners[name]
        for subscription in list(self._names):
            if subscription.what == name:
                self._react(subscription, owner)

    def _react(self, subscription: Subscription, *values: Any) -> None:
        try:
            subscription.react(*[unpack_variants(value) for value in values])
        except (SystemExit, KeyboardInterrupt) as error:
            self.task.loop_task.exit_asked(error)
        except BaseException:  # it is the callback's own, also where it is CancelledError
            log_error(self.task.logger, "A callback for %s failed", subscription.what)

    # -- match rules -------------------------------------------------------------------------------

    def _watched_names(self) -> set[str]:
        senders = {s.what.sender for s in self._signals if isinstance(s.what, SignalMatch)}
        names = {str(s.what) for s in self._names}
        return names | {name for name in senders if name and not name.startswith(":")}

    async def _watch_name(self, subscription: Subscription, name: str) -> None:
        await self._ask_for(subscription, _name_rule(name))
        if name not in self._owners and (bus := self.task.bus) is not None:
            await self._learn_owner(bus, name)

    async def _learn_owner(self, bus: Bus, name: str) -> None:
        """Ask who owns a name; what the bus reports meanwhile is newer than its answer."""
        told = self._told.get(name, 0)
        owner = await _owner(bus, name)
        if self._told.get(name, 0) == told and name in self._watched_names():
            self._moved(name, owner)

    async def _ask_for(self, subscription: Subscription, rule: str) -> None:
        subscription.rules.append(rule)
        await self._count(rule, 1)

    async def _count(self, rule: str, change: int) -> None:
        """Ask the bus for a rule with its first subscription, and no more after its last."""
        before = self._counts.get(rule, 0)
        self._counts[rule] = before + change
        if not self._counts[rule]:
            del self._counts[rule]
        bus = self.task.bus
        if bus is None or (before and before + change):
            return  # without a bus, the next is asked: see `joining`
        try:
            await bus.ask("AddMatch" if change > 0 else "RemoveMatch", "s", rule)
        except DBusError as error:
            if bus.connected and change > 0:
                raise
            self.task.logger.debug("The bus does not take %s: %s", rule, error)


def _name_rule(name: str) -> str:
    return (
        f"type='signal',sender='{DAEMON}',path='{DAEMON_PATH}',interface='{DAEMON}',"
        f"member='NameOwnerChanged',arg0='{name}'"
    )


async def _owner(bus: Bus, name: str) -> str:
    try:
        return str((await bus.ask("GetNameOwner", "s", name))[0])
    except DBusError:
        return ""


class Heard:
    """What comes by a subscription, for ``async for`` in a coroutine of any event loop.

    Use it as ``async with proxy.signals("Tuned") as heard: async for args in heard: ...``; it ends
    with the task. What is not taken waits, without limit.
    """

    def __init__(self, subscribe: Callable[[Callable[..., Any]], Subscription]) -> None:
        self._subscribe = subscribe
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Heard:
        loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[Any, ...] | None] = asyncio.Queue()

        def put(item: tuple[Any, ...] | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._queue.put_nowait, item)

        self._subscription = await asyncio.to_thread(self._subscribe, lambda *args: put(args))
        self._subscription.ended = lambda: put(None)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._subscription is not None:
            self._subscription.cancel()

    def __aiter__(self) -> Heard:
        return self

    async def __anext__(self) -> tuple[Any, ...]:
        item = await self._queue.get()
        if item is None:
            raise StopAsyncIteration
        return item
