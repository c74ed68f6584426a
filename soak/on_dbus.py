"""The D-Bus side of the soaked service, and its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from sparts.tasks.dbus import DBusClientTask, DBusServiceTask, dbus_method

from soak import ledger
from soak.clients import Client, Http, expect, works
from soak.jobs import JOBS

NAME, PATH = "org.example.Soak", "/org/example/Soak"


class Bus(DBusServiceTask):
    """Answers on the bus."""

    BUS_NAME = NAME
    DEPS = JOBS

    @dbus_method
    def Twice(self, number: int) -> int:  # noqa: N802
        """Double a number by way of a queue."""
        ledger.handed("Ranked")
        return int(self.service.requireTask("Ranked").submit(number).result())

    @dbus_method
    async def ServiceName(self) -> str:  # noqa: N802
        """Return the name of the service, which is part of the paths of its objects."""
        return str(self.service.name)

    @dbus_method
    async def Slowly(self, text: str) -> str:  # noqa: N802
        """Take a little time on the loop."""
        await asyncio.sleep(0.005)
        return text


class Peers(DBusClientTask):
    """Calls what others offer on the bus; here, what the service itself does."""

    def slowly(self, text: str) -> Future[str]:
        """Have the service return a string over the bus."""
        return self.proxy(NAME, PATH, NAME).submit("Slowly", text)


class Caller:
    """Calls the service with dbus-fast alone, from a thread, on a connection for each round."""

    def __init__(self, address: str) -> None:
        self._address = address

    def call(self, path: str, interface: str, member: str, signature: str, *body: Any) -> list[Any]:
        """Call a method, and give what it answers; RuntimeError for an error."""
        message = Message(NAME, path, interface, member, signature=signature, body=list(body))
        return asyncio.run(self._call(message))

    async def _call(self, message: Message) -> list[Any]:
        async with asyncio.timeout(30):
            bus = MessageBus(bus_address=self._address)
            try:
                await bus.connect()
                answer = await bus.call(message)
            finally:
                bus.disconnect()
                await asyncio.sleep(0)
        if answer.message_type is not MessageType.METHOD_RETURN:
            raise RuntimeError(f"{message.member}: {answer.error_name}: {answer.body}")
        return list(answer.body)


def dbus_clients(address: str, port: int, away: Callable[[], bool]) -> list[Client]:
    """Make the clients, one of them by way of HTTP; what fails while the bus is away is excused."""
    caller, web = Caller(address), Http(port)

    def twice(number: int) -> None:
        expect(caller.call(PATH, NAME, "Twice", "x", number), [2 * number])

    def slowly(number: int) -> None:
        expect(caller.call(PATH, NAME, "Slowly", "s", str(number)), [str(number)])

    def tasks(number: int) -> None:
        (name,) = caller.call("/org/example/Soak", NAME, "ServiceName", "")
        found = caller.call(f"/{name}/sparts", "org.sparts.Service", "listTasks", "")
        expect("Bus" in found[0], True)

    clients = [
        Client("D-Bus Twice", twice),
        Client("D-Bus Slowly", slowly),
        Client("D-Bus listTasks", tasks),
        Client("D-Bus by the service", lambda n: works("/bus", "by bus", web, n)),
    ]
    clients[-1].close = web.close
    for client in clients:
        client.excused, client.PAUSE = away, 0.02
    return clients
