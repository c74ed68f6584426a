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
import itertools
import math
import threading
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.calls import CallRefusedError, Reason
from sparts.rpc.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentsError,
    NoSuchMethodError,
    RPCError,
    UnavailableError,
)
from sparts.rpc.interface import rpc
from sparts.rpc.proxies import connect, connect_async
from sparts.testing.rpc.kit import (
    Circle,
    Colour,
    Forbidden,
    Kit,
    Point,
    Square,
    TooFar,
    Tree,
    Wrapping,
    chain,
    one_of_each,
    waited,
)
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparts.vservice import VService
    from sparts.vtask import VTask


def failure(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the error with which a call ends."""
    try:
        result = call(*arguments, **options)
    except (RPCError, CallRefusedError) as error:
        return error
    raise AssertionError(f"It returned {result!r}.")


def newer(self: Kit) -> None:
    """Do what older servers cannot."""


class RPCTransportContract:
    """What holds for every transport and its client.

    Override `transport` and `url`.
    """

    transport: ClassVar[type[VTask] | None] = None
    """The class of the transport task under test; None: there is none, as for ``local:``."""
    argv: ClassVar[Sequence[str]] = ()
    """What the service's command line holds."""
    connect_options: ClassVar[dict[str, Any]] = {}
    """Further options of `connect`."""
    cancels: ClassVar[bool] = True
    """Whether a caller that goes cancels an ``async def`` method."""

    _factory: ClassVar[ServiceFactory]
    service: ClassVar[VService]
    """The service, which serves `Kit`."""
    wrapping: ClassVar[Wrapping]
    """What wraps its calls."""

    @abstractmethod
    def url(self, service: VService) -> str:
        """Return the URL of a service that runs."""

    # -- helpers -----------------------------------------------------------------------------------

    @classmethod
    def service_class(cls, name: str = "Service") -> type[VService]:
        """Return the service of the kit and the transport."""
        found = service_of(Kit, *(() if cls.transport is None else (cls.transport,)))

        def initService(self: VService) -> None:  # noqa: N802 - the established name
            self.hooks.register(cls.wrapping)

        return type(name, (found,), {"initService": initService})

    @classmethod
    def setup_class(cls) -> None:
        """Run the service."""
        cls._factory, cls.wrapping = ServiceFactory(), Wrapping()
        cls.service = cls._factory(cls.service_class(), *cls.argv)

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

    def awaited_failure(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return the error with which a call by an asynchronous proxy ends."""
        return failure(self.run, lambda kit: getattr(kit, method)(*arguments), **options)

    def check_survives(self, call: Callable[[Any], Any], *values: Any) -> None:
        """Check that each value comes back as it was, or is refused by a clear error."""
        for value in values:
            try:
                result = call(value)
            except InvalidArgumentsError as error:
                assert str(error), value  # noqa: PT017
            else:
                assert result == value or (value != value and result != result)
                assert type(result) is type(value)

    # -- values ------------------------------------------------------------------------------------

    def test_value_of_each_kind_survives(self) -> None:
        """Fields, containers, None."""
        values = [
            one_of_each(),
            one_of_each(maybe=0, perhaps=Point(0.0, -0.0), points=[Point(1.0, 2.0)] * 2),
            one_of_each(data=b"", items=[], names=set(), counts={}, nested=[[], [1, 2]]),
            one_of_each(by_name={"": Point(0.5, 1.0)}, shape=Circle(Point(1.0, 1.0))),
        ]
        with self.connect() as kit:
            for value in values:
                assert kit.everything(value) == value
            kit.nothing()

        async def main(kit: Any) -> None:
            for value in values:
                assert await kit.everything(value) == value
            assert await kit.nothing() is None

        self.run(main)

    def test_values_that_hypothesis_makes_survive(self) -> None:
        """Any value survives, or is refused by a clear error."""
        from hypothesis import HealthCheck, given, settings
        from sparts.testing.rpc.values import everything

        unchecked: Any = {"suppress_health_check": list(HealthCheck)}
        with self.connect() as kit:

            @settings(max_examples=40, deadline=None, database=None, **unchecked)
            @given(everything())
            def check(value: Any) -> None:
                self.check_survives(kit.everything, value)

            check()

    def test_values_at_the_edges_survive_or_are_refused(self) -> None:
        """Limits of numbers, odd strings, what is large or deep."""
        with self.connect() as kit:
            assert [kit.echo_int(each) for each in (-(2**63), 2**63 - 1)] == [-(2**63), 2**63 - 1]
            for number in (2**63, -(2**63) - 1, 2**64, 10**30):
                assert isinstance(failure(kit.echo_int, number), InvalidArgumentsError)
            self.check_survives(kit.echo_float, 0.0, -0.0, 5e-324, 1.7976931348623157e308)
            self.check_survives(kit.echo_float, math.nan, math.inf, -math.inf)
            self.check_survives(kit.echo_str, "", "\0", "a\0b", "\uffff", "🦊", "\ud800", '"\\')
            self.check_survives(kit.echo_ints, [], [0] * 1000, [-(2**63)])
            self.check_survives(kit.echo_options, {}, {"depth": 1}, {"names": []})
            self.check_survives(kit.echo_maybe, None, "", "None")
            square = Tree("", [Tree("a")], Square(Point(1.0, 2.0)))
            self.check_survives(kit.echo_tree, chain(30), square, chain(3000))
            assert kit.echo_int(1) == 1

    def test_15_megabytes_survive(self) -> None:
        """As bytes and as a string."""
        with self.connect() as kit:
            data = bytes(range(256)) * (15 * 4096)
            assert kit.echo_bytes(data) == data
            text = "ü" * (15 * 2**19)
            assert kit.echo_str(text) == text

    def test_defaults_and_keywords_are_those_of_python(self) -> None:
        """Also an Optional with the default None."""
        with self.connect() as kit:
            assert kit.distance(Point(0.0, 0.0), b=Point(3.0, 4.0)) == 5.0
            assert kit.distance(Point(0.0, 0.0), Point(3.0, 4.0), scale=2.0) == 10.0
            assert kit.echo_maybe() is None
            assert kit.colour() is Colour.GREEN

    def test_streams_give_their_items_in_order(self) -> None:
        """Or a transport collects them."""
        with self.connect() as kit:
            assert list(kit.count(3)) == [0, 1, 2]
            assert list(kit.count(0)) == []

        async def main(kit: Any) -> None:
            assert [each async for each in kit.count_async(3)] == [0, 1, 2]
            assert [each async for each in kit.count(300)] == list(range(300))

        self.run(main)

    # -- errors ------------------------------------------------------------------------------------

    def test_declared_errors_arrive_as_their_classes(self) -> None:
        """With their messages."""
        with self.connect() as kit:
            for how, error, message in (
                ("far", TooFar, "too far: far"),
                ("default", Forbidden, "Another declared error."),
                ("unshowable", TooFar, "<Unshowable that cannot be shown: RuntimeError>"),
                ("half", TooFar, "caf\\udce9"),
            ):
                raised = failure(kit.fail, how)
                assert (type(raised), str(raised)) == (error, message)

        raised = self.awaited_failure("fail_narrowed", "far")
        assert (type(raised), str(raised)) == (TooFar, "far")

    def test_undeclared_errors_arrive_as_internal_errors(self) -> None:
        """With the id that the log has, and nothing else."""
        with self.connect() as kit:
            calls = kit.fail, waited(kit.fail_narrowed), kit.wrong
            for call, how in itertools.product(calls, ("otherwise", "cancelled")):
                raised = failure(call, how)
                assert type(raised) is InternalError
                assert "secret" not in str(raised)
                assert raised.id
                assert raised.id in str(raised)

    def test_wrong_values_are_refused_before_the_call(self) -> None:
        """The client or the server does."""
        wrong: Any = Point("1", 2.0)  # type: ignore[arg-type]
        with self.connect() as kit:
            before = self.calls_of("distance")
            for value in (wrong, "a", None, 7, {"x": 1.0}):
                assert isinstance(failure(kit.distance, value, Point(0, 0)), InvalidArgumentsError)
            assert self.calls_of("distance") == before

    def calls_of(self, method: str) -> float:
        """Return how often a method was called."""
        return float(self.kit.n_calls.labels(method)())

    # -- time --------------------------------------------------------------------------------------

    def test_call_ends_at_its_deadline(self) -> None:
        """That of the caller, or that of the method."""
        try:
            with self.connect(timeout=0.2) as kit:
                assert isinstance(failure(kit.hold), DeadlineExceededError)

            late = self.awaited_failure("hold", timeout=0.2)
            assert isinstance(late, DeadlineExceededError)
            with self.connect() as kit:
                assert isinstance(failure(waited(kit.short)), DeadlineExceededError)
        finally:
            self.kit.release.set()  # and it stays so, for a call that begins late

    def test_caller_that_goes_cancels_the_method(self) -> None:
        """An ``async def`` one, where the transport reports it."""
        kit = self.kit

        async def main(proxy: Any) -> None:
            call = asyncio.ensure_future(proxy.hold_async())
            assert await asyncio.to_thread(kit.entered_async.wait, WAIT)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()

        try:
            self.run(main)
            assert not self.cancels or kit.cancelled.wait(WAIT)
        finally:
            kit.finish.set()
        assert kit.ended.wait(WAIT)

    def test_calls_run_at_the_same_time(self) -> None:
        """Of one proxy in many threads, and of many in one loop."""
        number = 8
        barrier = threading.Barrier(number, timeout=WAIT)
        self.kit.meet = barrier.wait
        with self.connect() as kit, ThreadPoolExecutor(number) as threads:
            got = list(threads.map(lambda n: kit.together(n), range(number)))
        assert got == list(range(number))

        async def main(kit: Any) -> Any:
            return await asyncio.gather(*(kit.echo_async(str(n)) for n in range(50)))

        assert self.run(main) == [str(n) for n in range(50)]

    def test_stop_lets_calls_finish_and_takes_none(self) -> None:
        """What has begun gets its result; later the server is unavailable."""
        factory = ServiceFactory()
        try:
            service = factory(self.service_class("Stopped"), *self.argv)
            kit: Kit = service.requireTask(Kit)
            url = self.url(service)
            with (
                connect(url, Kit, **self.connect_options) as proxy,
                ThreadPoolExecutor(1) as thread,
            ):
                result = thread.submit(proxy.hold)
                assert kit.entered.wait(WAIT)
                assert service.getCounter("Kit.in_flight") == 1
                service.shutdown()
                stopping = kit if self.transport is None else service.requireTask(self.transport)
                assert stopping.stop_event.wait(WAIT)
                kit.release.set()
                assert result.result(WAIT) == "released"
                factory.stop(service)
                assert isinstance(failure(proxy.echo_int, 1), UnavailableError)
        finally:
            factory.close()

    def test_closed_proxy_refuses_each_call(self) -> None:
        """It does not connect again, and says why."""

        async def main(proxy: Any) -> None:
            await proxy.nothing()
            await proxy.close_async()
            [each async for each in proxy.count(2)]

        with self.connect() as kit:
            kit.nothing()
        calls = waited(kit.echo_async), kit.echo_str, lambda _: list(kit.count(2))
        for each in (*(failure(call, "a") for call in calls), failure(self.run, main)):
            assert isinstance(each, UnavailableError)
            assert (str(each), each.maybe_run) == ("This client is closed.", False)

    # -- what plugins and operators see ------------------------------------------------------------

    def test_wrappers_see_each_call_and_refuse(self) -> None:
        """Kind, name, and the caller's deadline."""
        self.wrapping.calls.clear()
        with self.connect() as kit:
            kit.nothing()
            refused = failure(kit.refused)
        assert isinstance(refused, CallRefusedError)
        assert (refused.reason, str(refused)) == (Reason.TOO_MANY, "not so often")
        seen = [(kind, name) for kind, name, *_ in self.wrapping.calls]
        assert seen == [("rpc", "Kit.nothing"), ("rpc", "Kit.refused")]

    def test_stream_that_a_wrapper_keeps_back_is_refused(self) -> None:
        """It is not an empty stream."""
        with self.connect() as kit:
            self.wrapping.kept_back = "Kit.count"
            refused = failure(lambda: list(kit.count(2)))
            self.wrapping.kept_back = ""
        assert isinstance(refused, CallRefusedError)
        assert refused.reason is Reason.FORBIDDEN

    def test_method_that_the_server_lacks_is_an_error(self) -> None:
        """As when the server is older than its client."""
        newer_kit: Any = type("Kit", (Kit,), {"newer": rpc(newer)})
        with connect(self.url(self.service), newer_kit, **self.connect_options) as kit:
            assert isinstance(failure(kit.newer), NoSuchMethodError)

    def test_calls_and_errors_are_counted_by_method(self) -> None:
        """And timed."""
        with self.connect() as kit:
            names = ("n_calls", "n_errors")
            before = [getattr(self.kit, name).labels("fail")() for name in names]
            failure(kit.fail, "far")
            after = [getattr(self.kit, name).labels("fail")() for name in names]
            assert after == [count + 1 for count in before]
        assert self.service.getCounter("Kit.in_flight") == 0
