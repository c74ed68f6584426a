"""RPCDBusTask: serves the RPC tasks of a service over D-Bus."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from dbus_fast import DBusError
from dbus_fast.signature import SignatureTree, get_signature_tree
from sparts.rpc.errors import InvalidArgumentsError
from sparts.rpc.transport import RPCTransport
from sparts.rpc.values import explain
from sparts.tasks.dbus.calls import Bound, caller
from sparts.tasks.dbus.exporting import DBusObject
from sparts.tasks.dbus.interfaces import Interface, Member
from sparts.tasks.dbus.objects import Exported
from sparts.tasks.dbus.rpc.errors import to_dbus
from sparts.tasks.dbus.rpc.forms import Forms
from sparts.tasks.dbus.rpc.methods import methods_of, place_of
from sparts.tasks.dbus.service import DBusServiceTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparts.rpc.serving import Served
    from sparts.tasks.dbus.rpc.methods import MethodForm


class RPCDBusTask(RPCTransport, DBusServiceTask):
    """Serves the methods of the service's `RPCTask` tasks on D-Bus, each task as an object.

    With the name ``org.example.Maps``, the task ``Geo`` is at ``/org/example/Maps/Geo``, and has
    the interface ``org.example.Maps.Geo``.
    """

    OPT_PREFIX: ClassVar[str | None] = "rpc-dbus"
    TRANSPORT: ClassVar[str] = "D-Bus"
    CALL_KIND: ClassVar[str] = ""  # the calls are those of the RPC tasks

    control = None  # type: ignore[assignment]  # it does not show the service itself

    @property
    def name_on_bus(self) -> str:
        """The name that the task owns, by default ``org.sparts.rpc.`` and that of the service."""
        return str(self.bus_name or f"org.sparts.rpc.{self._instance.name}")

    def addHandlers(self) -> None:  # noqa: N802
        """Offer the tasks; called by `initTask`."""
        for name, exported in self._exported():
            self.objects.export(place_of(self.name_on_bus, name)[0], exported)

    def check(self) -> None:
        """See whether the name and all methods are in order, and where the bus is."""
        super().check()
        self._exported()

    def _exported(self) -> list[tuple[str, RPCExported]]:
        """Return what is offered, by the names of the tasks.

        Raises:
            UsageError: D-Bus cannot carry a method; the message says which and why.
        """
        found, forms = [], Forms()
        for name, methods in self.find_served().items():
            _, interface = place_of(self.name_on_bus, name)
            found.append((name, RPCExported(interface, methods, forms)))
        return found


class RPCExported(Exported):
    """An `RPCTask` as an object on the bus."""

    def __init__(self, name: str, served: Mapping[str, Served], forms: Forms) -> None:
        task = next(iter(served.values())).task
        described = task.interface()
        self.thing: DBusObject = DBusObject()
        interface = Interface(name, described.doc)
        members: dict[str, Any] = dict(methods_of(described, forms))
        interface.methods = members
        self.interfaces: dict[str, Interface] = {name: interface}
        self.signals: dict[str, tuple[str, Member]] = {}
        self.methods: dict[tuple[str, str], Bound] = {(name, each): RPCBound(form, served[each])
                        for each, form in members.items()}  # fmt: skip


class RPCOrigin:
    """Where a call comes from: a name on the bus, and the headers that a client of ours sent."""

    def __init__(self, peer: str, headers: Mapping[str, str]) -> None:
        self.peer: str = peer
        self._headers = headers

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by lower-case name."""
        return {name.lower(): value for name, value in self._headers.items()}


class RPCBound(Bound):
    """A method of an `RPCTask`, ready to be called: a plain one in a thread of the task's."""

    __slots__ = ("_form", "_served")

    def __init__(self, form: MethodForm, served: Served) -> None:
        self._form, self._served = form, served
        self.label: str = form.method.qualified
        self.is_async: bool = form.method.is_async or served.task.INLINE
        self.in_signature: str = form.in_signature
        self.in_signatures: Container[str] = form.in_signatures
        self.takes_fds = self.gives_fds = False
        self.decode: Callable[[Sequence[Any]], list[Any]] | None = None
        self.encode: Any = _same
        self.out: SignatureTree = get_signature_tree(form.out_signature)
        self.fn: Callable[..., Any] = self._call if self.is_async else self._call_here

    async def _call(self, *body: Any) -> list[Any]:
        """Call the method, and return the body of the reply."""
        try:
            return self._written(await self._served.call(*self._given(body)))
        except Exception as error:
            raise to_dbus(self._form.method, error) from error

    def _call_here(self, *body: Any) -> list[Any]:
        """Call the method in this thread, and return the body of the reply."""
        try:
            return self._written(self._served.call_here(*self._given(body)))
        except Exception as error:
            raise to_dbus(self._form.method, error) from error

    def _given(self, body: Sequence[Any]) -> tuple[list[Any], RPCOrigin, float | None]:
        """Return the values of the parameters, where the call comes from, and its deadline."""
        calling = caller()
        try:
            values, context = self._form.values(body, calling.message.signature)
        except msgspec.ValidationError as error:
            raise InvalidArgumentsError(explain(error)) from error
        left = context.get("timeout")
        origin = RPCOrigin(calling.sender, context.get("headers", {}))
        return values, origin, None if left is None else monotonic() + left

    def _written(self, result: Any) -> list[Any]:
        try:
            return self._form.written(result)
        except Exception as error:
            raise self._served.bad_result(error) from error

    def bad_result(self, error: Exception) -> DBusError | None:
        """Return the error of a result that could not be written."""
        return to_dbus(self._form.method, self._served.bad_result(error))


def _same(body: list[Any]) -> list[Any]:
    return body
