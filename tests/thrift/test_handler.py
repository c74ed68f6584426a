"""ThriftHandlerTask: what fails its start, what its callers learn, and what it counts."""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import Any

import pytest
import thriftpy2
from sparts.counters import counters_of
from sparts.errors import StartError
from sparts.net.hosts import is_loopback
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask
from sparts.testing.conformance import check_task
from sparts.testing.running import ServiceFactory, running, service_of
from sparts.testing.waiting import log_of, wait_ended
from sparts.thrift.calls import Caller, caller
from sparts.thrift.compiler import CompileContext
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.TTransport import TMemoryBuffer

from tests.thrift.clients import client_of, processed
from tests.thrift.echo import (
    HERE,
    AsyncHandler,
    Echo,
    EchoHandler,
    InlineHandler,
    Other,
    OtherHandler,
    apache_client,
    interop,
    ttypes,
)
from tests.thrift.generated import IDL, generated

defaults = generated("defaults")


def start_error(handler: type[ThriftHandlerTask]) -> str:
    with pytest.raises(StartError) as failed, running(service_of(handler, NBServerTask), *HERE):
        pass
    return str(failed.value)


class Nothing(ThriftHandlerTask):
    MODULE = Other


class Half(Nothing):
    def answer(self) -> int:
        return 42


class Derived(Half, Other.Iface):  # type: ignore[misc]
    """Has the generated methods, which do not count as written."""


@pytest.mark.parametrize(
    ("handler", "missing"),
    [
        (Nothing, "it has no method answer(); it has no method text(text)."),
        (Half, "it has no method text(text)."),
        (Derived, "it has no method text(text)."),
    ],
)
def test_every_missing_method_is_named_at_the_start(handler: Any, missing: str) -> None:
    name = handler.__name__
    assert start_error(handler) == f"{name} does not implement the service Other: {missing}"
    service = service_of(handler).from_args([])
    service.tasks.create(service)
    with pytest.raises(StartError, match=re.escape(missing)):  # as a dry run does
        service.requireTask(handler).check()


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (lambda self: 42, "text() does not take what text(text) gives"),
        (lambda self, a, b: 42, "text(a, b) does not take what text(text) gives"),
        (lambda self, *, text: 42, "text(*, text) does not take what text(text) gives"),
        ("no function", "it has no method text(text)"),
    ],
)
def test_method_with_other_parameters_is_named_at_start(method: Any, told: str) -> None:
    class Wrong(OtherHandler):
        text = method

    assert start_error(Wrong) == f"Wrong does not implement the service Other: {told}."


@pytest.mark.parametrize(
    "method",
    [
        lambda self, other_name: other_name.upper(),
        lambda self, *args: args[0].upper(),
        lambda self, text, more=1: text.upper(),
    ],
)
def test_names_of_parameters_are_the_handlers_own(method: Any, serve: Any) -> None:
    class Free(OtherHandler):
        text = method

    service = serve(Free)
    with apache_client(service, made=Other) as asking:
        assert asking.text("a") == "A"


RESERVED = ("start", "stop", "join", "name", "processor", "initTask")


@pytest.mark.parametrize("written", [False, True], ids=["missing", "written"])
def test_methods_named_like_attributes_of_tasks_fail_start(written: bool) -> None:
    made = thriftpy2.load(str(IDL / "reserved.thrift"), "reserved_thrift")
    methods = {name: lambda self, other: None for name in RESERVED} if written else {}
    reserved = type("ReservedHandler", (ThriftHandlerTask,), {"MODULE": made, **methods})

    error = start_error(reserved)

    for name in RESERVED:
        assert f"its method {name}(" in error
        assert f'return self.on_{name} for "{name}"' in error


def test_implementation_gives_reserved_names_another_method(serve: Any) -> None:
    made = thriftpy2.load(str(IDL / "reserved.thrift"), "reserved_thrift")

    class Renamed(ThriftHandlerTask):
        MODULE = made

        def implementation(self, name: str) -> Any:
            return getattr(self, f"on_{name}")

        def on_start(self) -> None: ...

        def on_stop(self) -> None: ...

        def on_join(self, other: str) -> str:
            return other

        def on_name(self) -> str:
            return "a name"

        def on_processor(self) -> str:
            return "a processor"

        def on_initTask(self, other: str) -> str:  # noqa: N802
            return other

    with client_of(serve(Renamed), made) as client:
        assert client.call("join", "me") == "me"
        assert client.call("initTask", "it") == "it"
        assert client.call("processor") == "a processor"
        assert client.call("name") == "a name"


class DefaultsHandler(ThriftHandlerTask):
    """Changes whatever it gets."""

    def append(self, numbers: list[int], number: int) -> list[int]:
        numbers.append(number)
        return numbers

    def inner(self, inner: Any) -> Any:
        inner.numbers.append(0)
        return inner

    def outer(self, outer: Any) -> Any:
        for inner in (*outer.inners, *outer.named.values()):
            inner.numbers.append(0)
        return outer

    def empty(self, refused: bool) -> Any:
        made = getattr(self.MODULE, "ttypes", self.MODULE)
        if refused:
            raise made.Refused(None)
        inner = made.Inner()
        inner.numbers = None
        return made.Outer([inner, inner], {"a": inner})

    def forgets(self) -> None:
        """Give nothing where the IDL promises a number."""

    def nothing(self) -> None:
        """Give nothing."""


@pytest.mark.parametrize("inline", [False, True], ids=["threads", "inline"])
@pytest.mark.parametrize("compiler", ["thrift", "thriftpy2"])
@pytest.mark.parametrize("protocol", ["binary", "compact"])
def test_each_call_has_its_own_defaults(
    serve: Any, compiler: str, protocol: str, inline: bool
) -> None:
    made = CompileContext(compiler=compiler).importThrift(IDL / "defaults.thrift")
    handler = type("Own", (DefaultsHandler,), {"MODULE": made, "INLINE": inline})
    service = serve(handler)
    with apache_client(service, protocol, defaults.Defaults) as client:
        for _ in range(2):
            assert without_arguments(client, "append") == [1, 3]
            assert without_arguments(client, "inner").numbers == [7, 0]
            inners = [defaults.ttypes.Inner(), defaults.ttypes.Inner()]
            for inner in inners:
                inner.numbers = None
            named = {"a": defaults.ttypes.Inner()}
            named["a"].numbers = None
            outer = client.outer(defaults.ttypes.Outer(inners, named))
            assert [inner.numbers for inner in outer.inners] == [[5, 0], [5, 0]]
            assert outer.named["a"].numbers == [5, 0]


@pytest.mark.parametrize(
    ("compiler", "protocol"),
    [("thrift", "binary"), ("thrift", "json"), ("thriftpy2", "binary"), ("thriftpy2", "compact")],
)
def test_each_answer_has_its_own_defaults(
    service_factory: ServiceFactory, compiler: str, protocol: str
) -> None:
    made = CompileContext(compiler=compiler).importThrift(IDL / "defaults.thrift")
    handler = type("Own", (DefaultsHandler,), {"MODULE": made})
    http = ("--thrift-http-host", "127.0.0.1", "--thrift-http-port", "0")
    service = service_factory(service_of(handler, ThriftHTTPTask), *http)
    asked = {"server": ThriftHTTPTask, "protocol": protocol, "path": "/"}
    with client_of(service, made, **asked) as client:
        for _ in range(2):
            answer = client.empty(False)
            for inner in (*answer.inners, *answer.named.values()):
                assert inner.numbers == [5]
                inner.numbers.append(0)
            with pytest.raises(getattr(made, "ttypes", made).Refused) as refused:
                client.empty(True)
            assert refused.value.numbers == [5]
            refused.value.numbers.append(0)


def send_without_arguments(protocol: Any, method: str) -> None:
    """Send a call of a method, and none of its arguments."""
    protocol.writeMessageBegin(method, TMessageType.CALL, 0)
    protocol.writeStructBegin("args")
    protocol.writeFieldStop()
    protocol.writeStructEnd()
    protocol.writeMessageEnd()
    protocol.trans.flush()


def without_arguments(client: Any, method: str) -> Any:
    """Call a method, sending none of its arguments."""
    send_without_arguments(client._oprot, method)
    return getattr(client, f"recv_{method}")()


def test_json_calls_have_their_own_defaults_too() -> None:
    handler = type("Own", (DefaultsHandler,), {"MODULE": defaults.Defaults})
    with running(service_of(handler, NBServerTask), *HERE) as service:
        for _ in range(2):
            buffer, answer = TMemoryBuffer(), TMemoryBuffer()
            send_without_arguments(TJSONProtocol(buffer), "append")
            asked = TJSONProtocol(TMemoryBuffer(buffer.getvalue()))
            service.requireTask(handler).processor.process(asked, TJSONProtocol(answer))
            client = defaults.Defaults.Client(TJSONProtocol(TMemoryBuffer(answer.getvalue())))
            assert client.recv_append() == [1, 3]


@pytest.mark.parametrize("inline", [False, True], ids=["threads", "inline"])
def test_a_forgotten_return_is_logged_and_counted(
    serve: Any, caplog: pytest.LogCaptureFixture, inline: bool
) -> None:
    handler = type("Own", (DefaultsHandler,), {"MODULE": defaults.Defaults, "INLINE": inline})
    service = serve(handler)
    with apache_client(service, made=defaults.Defaults) as client:
        client.nothing()
        with pytest.raises(TApplicationException) as failed:
            client.forgets()
    assert failed.value.type == TApplicationException.MISSING_RESULT
    assert "forgets returned None" in caplog.text
    task: Any = service.requireTask(handler)
    assert task.n_errors.labels("forgets")() == 1
    assert task.n_errors.labels("nothing")() == 0


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        (None, None, "has no MODULE: set it to what the thrift compiler made of your service"),
        (sys, None, "sys has no thrift service"),
        (interop, None, "has several services: Base, Echo, Other"),
        (interop, "Echoo", "has no service 'Echoo'. It has: Base, Echo, Other"),
    ],
)
def test_a_module_that_is_no_service_is_told(module: Any, name: str | None, told: str) -> None:
    class Wrong(ThriftHandlerTask):
        MODULE = module
        SERVICE_NAME = name

    message = start_error(Wrong)
    assert message.startswith("Wrong")
    assert told in message


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler])
def test_declared_exceptions_reach_the_client_alone(
    handler: type[ThriftHandlerTask], serve: Any
) -> None:
    service = serve(handler)
    with apache_client(service) as asking:
        with log_of(service) as log:
            with pytest.raises(ttypes.Refused) as refused:
                asking.fail("refused")
            with pytest.raises(ttypes.Gone, match="it"):
                asking.fail("gone")
            with pytest.raises(TApplicationException) as own:
                asking.fail("application")
        assert (refused.value.why, refused.value.code) == ("because", 403)
        assert own.value.type == TApplicationException.INVALID_TRANSFORM
        assert own.value.message == "by ourselves"
        assert log.items == []
        with log_of(service) as log, pytest.raises(TApplicationException) as failed:
            asking.fail("reason")
        assert failed.value.type == TApplicationException.INTERNAL_ERROR
        assert failed.value.message == "fail failed: internal error"
        (line,) = log.items
        assert line.startswith(f"ERROR:Service.{handler.__name__}:fail failed\nTraceback")
        assert line.endswith("ValueError: secret reason")
        with log_of(service) as log, pytest.raises(TApplicationException):
            asking.fail("broken")
        assert "BrokenError" in log.items[0]
        assert asking.text("goes on") == "goes on"


def test_result_of_another_type_is_an_error(serve: Any) -> None:
    class Wrong(OtherHandler):
        def answer(self) -> Any:
            return "42"

        def text(self, text: str) -> Any:
            return 2**70

    service = serve(Wrong)
    for protocol in ("binary", "compact"):
        with apache_client(service, protocol, Other) as asking, log_of(service) as log:
            for call in (asking.answer, lambda asking=asking: asking.text("a")):
                with pytest.raises(TApplicationException) as failed:
                    call()
                assert failed.value.type == TApplicationException.INTERNAL_ERROR
        assert [line.splitlines()[0] for line in log.items] == [
            "ERROR:Service.Wrong:answer returned what is not of its type",
            "ERROR:Service.Wrong:text returned what is not of its type",
        ]


def test_system_exit_in_method_ends_service_in_order(serve: Any) -> None:
    class Leaving(OtherHandler):
        def answer(self) -> int:
            raise SystemExit

    service = serve(Leaving)
    with apache_client(service, made=Other) as asking, pytest.raises(TApplicationException):
        asking.answer()
    assert wait_ended(service) is None


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler])
def test_calls_errors_and_durations_are_counted_by_method(
    handler: type[ThriftHandlerTask], serve: Any
) -> None:
    service = serve(handler)
    with apache_client(service) as asking:
        for _ in range(3):
            asking.text("a")
        with pytest.raises(TApplicationException):
            asking.fail("reason")
    counted = {name: read() for name, read in counters_of(service.requireTask(handler)).items()}
    assert counted['n_calls{method="text"}'] == 3
    assert counted['n_calls{method="fail"}'] == 1
    assert counted['n_errors{method="fail"}'] == 1
    assert counted['n_errors{method="text"}'] == 0
    assert (counted['call_duration_ms{method="text"}.avg.60'] or 0) > 0
    assert (counted['call_duration_ms{method="text"}.p99.60'] or 0) > 0


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler])
def test_a_method_can_ask_who_calls(handler: type[ThriftHandlerTask], serve: Any) -> None:
    service = serve(handler)
    with apache_client(service) as one, apache_client(service) as other:
        assert one.who().startswith("127.0.0.1:")
        assert one.who() != other.who()
    assert caller() is None


@pytest.mark.parametrize(
    ("address", "loopback", "local"),
    [
        (("127.0.0.1", 1), True, True),
        (("::1", 1, 0, 0), True, True),
        (("::ffff:127.0.0.1", 1, 0, 0), True, True),
        ("", False, True),
        (b"\0abstract", False, True),
        (None, False, True),
        (("10.0.0.1", 1), False, False),
        (("fe80::1%eth0", 1, 0, 2), False, False),
        (("::ffff:10.0.0.1", 1, 0, 0), False, False),
    ],
)
def test_caller_is_local_by_loopback_or_unix_socket(
    address: Any, loopback: bool, local: bool
) -> None:
    assert is_loopback(address) is loopback
    assert address is None or Caller(address).local is local


def test_the_asyncio_loop_comes_along_for_coroutines_alone() -> None:
    assert AsyncioLoopTask not in EchoHandler._dependencies()
    assert AsyncioLoopTask in AsyncHandler._dependencies()


@pytest.mark.parametrize("handler", [EchoHandler, AsyncHandler])
def test_the_processor_works_with_apaches_protocols(
    handler: type[ThriftHandlerTask], service_factory: ServiceFactory
) -> None:
    service = service_factory(service_of(handler))
    processor = service.requireTask(handler).processor
    for protocol in (TBinaryProtocol, TCompactProtocol, TJSONProtocol):
        ask = partial(processed, processor, protocol)
        assert ask(Echo, "text", "a") == "a"
        assert ask(Echo, "ping") is None
        with pytest.raises(ttypes.Refused):
            ask(Echo, "fail", "refused")
        with pytest.raises(TApplicationException) as unknown:
            ask(Other, "answer")
        assert unknown.value.type == TApplicationException.UNKNOWN_METHOD


@pytest.mark.parametrize("handler", [EchoHandler, AsyncHandler])
def test_a_handler_does_what_every_task_must(handler: type[ThriftHandlerTask]) -> None:
    check_task(handler)


def test_field_without_number_is_served_as_well(serve: Any) -> None:
    """Though Apache's C code cannot read it."""
    numberless = generated("numberless")

    class Handler(ThriftHandlerTask):
        MODULE = numberless.Numberless

        def join_texts(self, one: str, other: str) -> str:
            return one + other

    service = serve(Handler)
    for protocol in ("plain binary", "plain compact"):
        with apache_client(service, protocol, numberless.Numberless) as asking:
            assert asking.join_texts("a", "b") == "ab"
