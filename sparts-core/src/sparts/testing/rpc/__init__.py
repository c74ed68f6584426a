"""The contract of RPC transports, as tests that the tests of any transport inherit.

    class TestMyTransport(RPCTransportContract):
        transport = MyRPCTask
        argv = ("--rpc-my-host", "127.0.0.1", "--rpc-my-port", "0")

        def url(self, service: VService) -> str:
            return f"my://127.0.0.1:{service.requireTask(MyRPCTask).bound_addrs[0][1]}"

pytest runs the methods. The service serves `Kit`; the client is what `connect` returns.
"""

# ruff: noqa: S101 - the assertions of tests

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.rpc.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentsError,
    RPCError,
)
from sparts.rpc.proxies import connect, connect_async
from sparts.testing.rpc.kit import Forbidden, Kit, Point, TooFar, one_of_each
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import WAIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.vservice import VService
    from sparts.vtask import VTask


class RPCTransportContract:
    """What holds for every transport and its client.

    Override `transport` and `url`.
    """

    transport: ClassVar[type[VTask] | str | None] = None
    """The transport task under test: its class, or its name; None: there is none, as for local:."""
    argv: ClassVar[Sequence[str]] = ()
    """What the service's command line holds."""
    connect_options: ClassVar[dict[str, Any]] = {}
    """Further options of `connect`."""

    _factory: ClassVar[ServiceFactory]
    service: ClassVar[VService]
    """The service, which serves `Kit`."""

    @abstractmethod
    def url(self, service: VService) -> str:
        """Return the URL of a service that runs."""

    # -- helpers -----------------------------------------------------------------------------------

    @classmethod
    def setup_class(cls) -> None:
        """Run the service."""
        cls._factory = ServiceFactory()
        transports = () if cls.transport is None else (cls.transport,)
        cls.service = cls._factory(service_of(Kit, *transports), *cls.argv)

    @classmethod
    def teardown_class(cls) -> None:
        """End the service, which leaves nothing behind."""
        cls._factory.close()

    @property
    def kit(self) -> Kit:
        """The task that is called."""
        kit: Kit = self.service.requireTask(Kit)
        return kit

    def connect(self, **options: Any) -> Kit:
        """Return a proxy; use it as a context manager."""
        return connect(self.url(self.service), Kit, **{**self.connect_options, **options})

    def run(self, main: Any, **options: Any) -> Any:
        """Run an ``async`` function, which gets an asynchronous proxy, and return its result."""

        async def within() -> Any:
            url = self.url(self.service)
            async with connect_async(url, Kit, **{**self.connect_options, **options}) as kit:
                return await main(kit)

        return asyncio.run(within())

    # -- values ------------------------------------------------------------------------------------

    def test_a_value_of_each_kind_survives(self) -> None:
        """A value of each kind survives."""
        value = one_of_each()
        with self.connect() as kit:
            assert kit.everything(value) == value
            value = one_of_each(maybe=0, perhaps=Point(0.0, 0.0), points=[Point(1.0, 2.0)] * 2)
            assert kit.everything(value) == value
            assert kit.nothing() is None

    def test_defaults_and_keywords_are_those_of_python(self) -> None:
        """Defaults and keywords are those of python."""
        with self.connect() as kit:
            assert kit.distance(Point(0.0, 0.0), b=Point(3.0, 4.0)) == 5.0
            assert kit.distance(Point(0.0, 0.0), Point(3.0, 4.0), scale=2.0) == 10.0
            assert kit.echo_maybe() is None
            assert kit.echo_maybe("") == ""

    # -- errors ------------------------------------------------------------------------------------

    def test_declared_errors_arrive_as_their_classes(self) -> None:
        """Declared errors arrive as their classes."""
        with self.connect() as kit:
            for how, error, message in (
                ("far", TooFar, "too far: far"),
                ("default", Forbidden, "Another declared error."),
            ):
                try:
                    kit.fail(how)
                except RPCError as raised:
                    assert (type(raised), str(raised)) == (error, message)  # noqa: PT017
                else:
                    raise AssertionError(f"{error} was not raised")

    def test_undeclared_errors_arrive_as_internal_errors(self) -> None:
        """Undeclared errors arrive as internal errors."""
        with self.connect() as kit:
            try:
                kit.fail("otherwise")
            except InternalError as raised:
                assert "secret" not in str(raised)  # noqa: PT017
                assert raised.id in str(raised)  # noqa: PT017
            else:
                raise AssertionError("no InternalError was raised")

    def test_wrong_values_are_refused_before_the_call(self) -> None:
        """Wrong values are refused before the call."""
        wrong: Any = Point("1", 2.0)  # type: ignore[arg-type]
        with self.connect() as kit:
            try:
                kit.distance(wrong, Point(0.0, 0.0))
            except InvalidArgumentsError:
                return
        raise AssertionError("no InvalidArgumentsError was raised")

    def test_a_call_ends_at_its_deadline(self) -> None:
        """A call ends at its deadline."""
        began = time.monotonic()
        with self.connect(timeout=0.2) as kit:
            try:
                kit.hold()
            except DeadlineExceededError:
                assert time.monotonic() - began < WAIT
            else:
                raise AssertionError("no DeadlineExceededError was raised")
            finally:
                self.kit.release.set()
