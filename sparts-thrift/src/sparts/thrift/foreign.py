"""Processors that are not ours, such as Apache's generated ones, behind the servers of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.thrift.interfaces import describe
from sparts.thrift.processor import Method
from sparts.thrift.protocols import Processor
from sparts.thrift.wire import CALL, EXCEPTION, ONEWAY

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.TTransport import TMemoryBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparts.thrift.handlers import Handler
    from sparts.thrift.interfaces import MethodSpec
    from sparts.thrift.services import ThriftService


def methods_of(handler: Handler, service: ThriftService, processor: Any) -> Mapping[str, Method]:
    """Return the methods of a handler as its processor has them, by name.

    Args:
        handler: the task.
        service: the service that it implements.
        processor: ours, or any with Apache's ``process(iprot, oprot)``. That is handed each call as
            a binary message of its own, in the thread that would call the method.
    """
    if isinstance(processor, Processor):
        return processor.methods
    return {
        name: Method(handler, spec, _asking(processor, spec))
        for name, spec in describe(service).items()
    }


def _asking(processor: Any, spec: MethodSpec) -> Callable[..., Any]:
    """Return a function that has a processor make one call."""

    def call(*values: Any) -> Any:
        arguments = spec.arguments(**dict(zip(spec.parameters, values, strict=True)))
        asked = TMemoryBuffer()
        out = TBinaryProtocol(asked)
        out.writeMessageBegin(spec.name, ONEWAY if spec.result is None else CALL, 0)
        arguments.write(out)
        out.writeMessageEnd()
        answer = TMemoryBuffer()
        processor.process(TBinaryProtocol(TMemoryBuffer(asked.getvalue())), TBinaryProtocol(answer))
        return None if spec.result is None else _result(spec, answer.getvalue())

    return call


def _result(spec: MethodSpec, answer: bytes) -> Any:
    """Return what an answer says, or raise it."""
    read = TBinaryProtocol(TMemoryBuffer(answer))
    _, kind, _ = read.readMessageBegin()
    if kind == EXCEPTION:
        error = TApplicationException()
        error.read(read)
        raise error
    result = spec.result()
    result.read(read)
    for name, _ in spec.errors:
        if (raised := getattr(result, name)) is not None:
            raise raised
    return result.success if spec.returns else None
