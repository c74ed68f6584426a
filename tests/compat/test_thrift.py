"""Thrift as services and clients of sparts 0.7 use it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sparts.errors import UsageError
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.testing import ServiceFactory, make_service, service_of
from sparts.thrift import compiler
from sparts.thrift.client import AsyncThriftClient, ThriftClient
from sparts.thrift.fb303 import FacebookService, ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.TTransport import (
    TBufferedTransport,
    TFramedTransport,
    TTransportException,
)

from tests.thrift.clients import client_of, processed

pytestmark = pytest.mark.needs("thrift-compiler")
HERE = ("--thrift-host", "127.0.0.1")
WORDS = """
exception Refused { 1: string why }
service Words {
    string repeat(1: string word, 2: i16 times) throws (1: Refused refused),
    oneway void note(1: string word),
}
service Numbers { i64 add(1: i64 a, 2: i64 b) }
"""


@pytest.fixture(scope="module")
def idl() -> Any:
    return compiler.CompileContext().importThriftStr(WORDS)


def words(idl: Any, **attributes: Any) -> type[ThriftHandlerTask]:
    def repeat(self: Any, word: str, times: int) -> str:
        if not word:
            raise idl.Refused(why="nothing to repeat")
        if times < 0:
            raise ValueError("backwards")
        return word * times

    def note(self: Any, word: str) -> None:
        self.noted = [*getattr(self, "noted", []), word]

    own = {"MODULE": idl.Words, "repeat": repeat, "note": note, **attributes}
    return type("WordsHandler", (ThriftHandlerTask,), own)


class Multiplexed(NBServerTask):
    MULTIPLEX = True


def test_handler_is_multiplexed_by_name_of_its_task(
    idl: Any, service_factory: ServiceFactory
) -> None:
    handler = words(idl)
    service = service_factory(service_of(handler, Multiplexed), *HERE)
    assert service.requireTask(handler).service_name == "WordsHandler"
    for name in ("WordsHandler", "Words"):
        with client_of(service, idl.Words, multiplex_service=name) as client:
            assert client.repeat("ab", 2) == "abab"
    named = words(idl, SERVICE_NAME="named")
    assert make_service(service_of(named)).tasks.WordsHandler.SERVICE_NAME == "named"


def test_processor_is_there_before_the_task_is_initialised(idl: Any) -> None:
    handler = words(idl)
    task = handler(make_service(service_of(handler)))
    assert processed(task.processor, TBinaryProtocol, idl.Words, "repeat", "a", 3) == "aaa"


def test_processor_of_ones_own_answers_the_calls(idl: Any, service_factory: ServiceFactory) -> None:
    made: list[Any] = []

    def make(self: Any) -> Any:
        made.append(idl.Words.Processor(self))
        return made[-1]

    handler = words(idl, _makeProcessor=make)
    service = service_factory(service_of(handler, NBServerTask), *HERE)
    task: Any = service.requireTask(handler)
    with client_of(service, idl.Words) as client:
        assert client.repeat("ab", 2) == "abab"
        with pytest.raises(idl.Refused, match="nothing to repeat"):
            client.repeat("", 1)
        with pytest.raises(TApplicationException):
            client.repeat("a", -1)
        client.note("b")
        assert client.repeat("c", 1) == "c"
    assert made == [task.processor]
    assert task.noted == ["b"]


@pytest.mark.parametrize("server", [NBServerTask, Multiplexed])
def test_server_shows_what_it_serves(
    idl: Any, service_factory: ServiceFactory, server: type[NBServerTask]
) -> None:
    seen: list[Any] = []

    class Shows(server):  # type: ignore[misc, valid-type]
        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            seen.append((self.num_threads, self.socket.getsockname()))

    service = service_factory(service_of(words(idl), Shows), *HERE)
    task = service.requireTask(Shows)
    assert seen == [(10, task.bound_addrs[0])]
    assert task.server is not None

    def protocol(buffer: Any) -> Any:
        plain = TBinaryProtocol(buffer)
        return TMultiplexedProtocol(plain, "WordsHandler") if task.MULTIPLEX else plain

    assert processed(task.processor, protocol, idl.Words, "repeat", "a", 3) == "aaa"


def test_server_serves_an_interface_that_was_compiled_twice(
    idl: Any, service_factory: ServiceFactory
) -> None:
    again = compiler.CompileContext().importThriftStr(WORDS)
    served = type("Served", (NBServerTask,), {"MODULE": again.Words})
    service = service_factory(service_of(words(idl), served), *HERE)
    with client_of(service, again.Words) as client:
        assert client.repeat("ab", 2) == "abab"


# -- fb303 -----------------------------------------------------------------------------------------


class Monitored(FB303HandlerTask):
    stopped = False

    def getStatus(self) -> Any:  # noqa: N802
        return ttypes.fb_status.WARNING if super().getStatus() == 2 else super().getStatus()

    def getStatusDetails(self) -> str:  # noqa: N802
        return f"all is {super().getStatusDetails() or 'well'}"

    def shutdown(self) -> None:
        self.stopped = True
        super().shutdown()


def test_methods_of_fb303_are_extended_by_super(service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(Monitored, NBServerTask), *HERE)
    task = service.requireTask(Monitored)
    with client_of(service, FacebookService) as client:
        assert client.getStatus() == ttypes.fb_status.WARNING == task.getStatus()
        assert client.getStatusDetails() == "all is well"
        assert client.getName() == task.getName() == "Service"
        assert client.getOption("logfile") == client.getOptions()["logfile"] == "__None__"
        assert client.getCounters().keys() >= {"NBServerTask.n_accepted"}
        client.shutdown()
    service.join(30)
    assert task.stopped


def test_overridden_control_is_refused_to_others(service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(Monitored, NBServerTask), *HERE)
    task = service.requireTask(Monitored)
    with pytest.raises(TApplicationException, match="--fb303-control allows it"):
        task.processor.methods["shutdown"].function()  # from nowhere that is known
    assert not task.stopped
    task.shutdown()
    service.join(30)


class OwnCounters(ThriftHandlerTask):
    MODULE: ClassVar[Any] = FacebookService

    def implementation(self, name: str) -> Any:
        return super().implementation(name) or (lambda *_: None)

    def getCounters(self) -> Any:  # noqa: N802
        return {"mine": 7}


def test_handler_may_have_counters_of_its_own(service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(OwnCounters, NBServerTask), *HERE)
    with client_of(service, FacebookService) as client:
        assert client.getCounters() == {"mine": 7}


def test_generated_code_of_fb303_has_its_old_path() -> None:
    gen = importlib.import_module("sparts.gen.fb303")
    assert gen.FacebookService is FacebookService
    assert importlib.import_module("sparts.gen.fb303.ttypes") is ttypes
    assert importlib.import_module("sparts.gen.fb303.FacebookService") is FacebookService


# -- clients ---------------------------------------------------------------------------------------


def test_client_class_says_where_and_what(idl: Any, service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(words(idl), NBServerTask), *HERE)

    class MyClient(ThriftClient):
        MODULE = idl.Words
        HOST = "127.0.0.1"
        PORT = service.requireTask(NBServerTask).bound_port
        CONNECT_TIMEOUT = 3.0

    for client in (MyClient(), MyClient.for_localhost(), MyClient.for_hostport(lazy=False)):
        with client:
            assert client.repeat("ab", 2) == "abab"
            assert client.port == MyClient.PORT
    assert MyClient().host == "127.0.0.1"
    assert MyClient.for_hostport("other.example", 7).host == "other.example"


def test_client_that_is_not_lazy_connects_at_once(idl: Any) -> None:
    with pytest.raises(TTransportException, match="refused"):  # nobody serves port 1
        ThriftClient.for_hostport("127.0.0.1", 1, module=idl.Words, lazy=False)
    ThriftClient.for_hostport("127.0.0.1", 1, module=idl.Words, lazy=True).close()
    with pytest.raises(UsageError, match="leave out lazy="):
        AsyncThriftClient("127.0.0.1", 1, idl.Words, lazy=False)


def test_client_is_given_classes_of_apaches(idl: Any, service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(words(idl), NBServerTask), *HERE)
    options = {"protocol_class": TCompactProtocol, "transport_class": TFramedTransport}
    with client_of(service, idl.Words, **options) as client:
        assert client.repeat("ab", 2) == "abab"
    with pytest.raises(UsageError, match="transport_class is TFramedTransport"):
        client_of(service, idl.Words, transport_class=TBufferedTransport)
    with pytest.raises(UsageError, match="protocol_class is one of TBinaryProtocol"):
        client_of(service, idl.Words, protocol_class=int)


# -- the compiler ----------------------------------------------------------------------------------


def test_module_compiles_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.thrift").write_text(WORDS)
    assert compiler.compile(str(tmp_path / "words.thrift")).Words.Iface
    assert compiler.get_executable() == compiler.require_executable()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler.get_executable() is None
    with pytest.raises(compiler.CompileError, match="No program 'thrift'"):
        compiler.require_executable()


def test_context_finds_files_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("folder", "root", "dependent"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.thrift").write_text(f"struct {name.title()} {{ }}")
    monkeypatch.chdir(tmp_path)
    text = """
include "folder.thrift"
include "root.thrift"
include "dependent.thrift"
struct All { 1: folder.Folder a, 2: root.Root b, 3: dependent.Dependent c }
"""
    for context in (compiler.CompileContext(root="root"), compiler.CompileContext("root")):
        context.addIncludeDir("folder")
        context.addDependentFilePath("dependent/dependent.thrift")
        assert context.importThriftStr(text).All()
    with pytest.raises(compiler.CompileError, match="no such folder"):
        context.addIncludeDir("nowhere")
    with pytest.raises(compiler.CompileError, match="no such file"):
        context.addDependentFilePath("nowhere.thrift")


def test_options_reach_the_compiler(tmp_path: Path) -> None:
    context = compiler.CompileContext()
    (tmp_path / "words.thrift").write_text("struct Word { 1: string text }")
    path = tmp_path / "words.thrift"
    made = context.importThrift(path, slots=True, new_style=True, utf8strings=True)
    assert not hasattr(made.Word(), "__dict__")
    assert context.importThrift(path, slots=True) is made
    with pytest.raises(compiler.CompileError, match="compiled with other options"):
        context.importThrift(path)
    with pytest.raises(compiler.CompileError, match="no option 'fast'"):
        context.importThrift(path, fast=True)
    with pytest.raises(compiler.CompileError, match="thriftpy2 has no options, but slots"):
        compiler.CompileContext(compiler="thriftpy2").importThrift(path, slots=True)


def test_files_of_a_compilation_are_kept_for_debugging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    compiler.CompileContext().importThriftStr("struct Word { }")
    assert list(tmp_path.iterdir()) == []
    compiler.CompileContext(debug=True).importThriftStr("struct Word { }")
    assert list(tmp_path.glob("sparts-thrift-*/*/*.thrift"))
