"""Single messages in any protocol of Apache's library, such as JSON, and its own processors."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sparts.errors import describe
from sparts.thrift.processor import MAX_DECODED, Router, unheard
from sparts.thrift.weight import CONTAINER, NUMBER, POINTER, STRING, TooHeavyError
from sparts.thrift.wire import CALL, EXCEPTION, ONEWAY, REPLY

from thrift.Thrift import TApplicationException, TProcessor, TType
from thrift.transport.TTransport import TMemoryBuffer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparts.thrift.processor import Method, Outcome


if TYPE_CHECKING:
    _Base = object
else:
    _Base = TProcessor


class WrongMessageError(Exception):
    """Bytes that are no message of the protocol."""


@functools.cache
def _weighing(protocol: Any) -> Any:
    """Return a protocol class of Apache's that counts what it reads costs in memory."""

    class Weighing(protocol):  # type: ignore[misc]
        limit: float = MAX_DECODED
        struct_size = 512
        cost = 0

        def _spend(self, cost: int) -> None:
            self.cost += cost
            if self.cost > self.limit:
                raise TooHeavyError(f"they would take more than {self.limit:.0f} bytes of memory")

        def readStructBegin(self) -> Any:  # noqa: N802
            self._spend(self.struct_size)
            return super().readStructBegin()

        def readString(self) -> Any:  # noqa: N802
            value = super().readString()
            self._spend(STRING + len(value))
            return value

        def readBinary(self) -> Any:  # noqa: N802
            value = super().readBinary()
            self._spend(STRING + len(value))
            return value

    def counting(name: str, begins: int) -> Any:
        def read(self: Any) -> Any:
            value = getattr(protocol, name)(self)
            self._spend(CONTAINER if begins else NUMBER + POINTER)
            return value

        return read

    for name in ("readListBegin", "readSetBegin", "readMapBegin"):
        setattr(Weighing, name, counting(name, 1))
    for name in ("readByte", "readI16", "readI32", "readI64", "readDouble"):
        setattr(Weighing, name, counting(name, 0))
    return Weighing


class ByProtocol:
    """One message that was received, and the answer to it.

    Args:
        protocol: a protocol class of Apache's.
        data: the message.
    """

    def __init__(self, protocol: Any, data: bytes) -> None:
        self._in = _weighing(protocol)(TMemoryBuffer(data))
        self._buffer = TMemoryBuffer()
        self._out = protocol(self._buffer)
        self._name = ""
        self._sequence = 0
        self._unheard = False
        self.why: str = ""
        """Why `read` gave None."""

    def read(self, router: Router) -> tuple[Any, Any] | None:
        """Return the method that it calls, and the arguments; None: the answer says why not.

        Raises:
            WrongMessageError: it is no message.
        """
        try:
            self._name, kind, self._sequence = self._in.readMessageBegin()
        except Exception as error:
            raise WrongMessageError(describe(error)) from error
        method = router.methods.get(self._name.encode())
        self._unheard = unheard(kind, method)
        if method is None:
            why = router.explain(self._name.encode())
            self._refuse(TApplicationException.UNKNOWN_METHOD, why)
            return None
        self._name = method.spec.name
        if kind not in (CALL, ONEWAY):
            self._refuse(TApplicationException.INVALID_MESSAGE_TYPE, f"{kind} is no type of a call")
            return None
        try:
            self._in.limit, self._in.struct_size = router.max_decoded, method.weight.largest
            arguments = method.spec.arguments()
            arguments.read(self._in)
            self._in.readMessageEnd()
            if method.unshare is not None:
                method.unshare(arguments)
        except Exception as error:
            why = f"the arguments of {self._name} cannot be read ({describe(error)})"
            self._refuse(TApplicationException.PROTOCOL_ERROR, why)
            return None
        return method, arguments

    @property
    def cost(self) -> int:
        """Bytes of memory that the arguments take which were read."""
        cost: int = self._in.cost
        return cost

    def _refuse(self, kind: int, why: str) -> None:
        self.why = why
        if self._unheard:
            return
        self._write(EXCEPTION, TApplicationException(kind, why))

    def write(self, method: Method, outcome: Outcome) -> bytes:
        """Return the answer to a call; nothing if the caller waits for none."""
        if method.oneway:
            return b""
        try:
            kind, struct = writable(method, outcome)
            self._write(kind, struct)
        except Exception as error:
            self._buffer = TMemoryBuffer()
            self._out = type(self._out)(self._buffer)
            self._write(*method.cannot_write(error)[:2])
        return self.written()

    def _write(self, kind: int, struct: Any) -> None:
        _write_message(self._out, self._name, kind, self._sequence, struct)

    def written(self) -> bytes:
        """Return the answer."""
        answer: bytes = self._buffer.getvalue()
        return answer

    def process(self, processor: Any) -> bytes:
        """Have a processor of Apache's answer, in this thread.

        Raises:
            WrongMessageError: it cannot.
        """
        try:
            processor.process(self._in, self._out)
        except Exception as error:
            raise WrongMessageError(describe(error)) from error
        return self.written()


class RouterProcessor(_Base):
    """What a router finds as a processor of Apache's, for any protocol of Apache's."""

    def __init__(self, router: Router) -> None:
        self.router = router

    def process(self, iprot: Any, oprot: Any) -> bool:
        """Read one call, make it in this thread, and write its answer.

        Raises:
            Exception: what was read is no message.
        """
        return process(self.router, iprot, oprot)


class Processor(RouterProcessor):
    """The methods of a handler as a processor of Apache's."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self.methods: dict[str, Method] = dict(methods)
        super().__init__(Router({method.name: method for method in methods.values()}))


def process(router: Router, iprot: Any, oprot: Any) -> bool:
    """Read one call from a protocol of Apache's, make it in this thread, and write the answer.

    Raises:
        Exception: what was read is no message.
    """
    name, kind, sequence = iprot.readMessageBegin()
    method: Any = router.methods.get(name.encode())
    if method is None or kind not in (CALL, ONEWAY):
        iprot.skip(TType.STRUCT)
        iprot.readMessageEnd()
        if not unheard(kind, method):
            why = router.explain(name.encode())
            error = TApplicationException(TApplicationException.UNKNOWN_METHOD, why)
            _write_message(oprot, name, EXCEPTION, sequence, error)
        return False
    arguments = method.spec.arguments()
    arguments.read(iprot)
    iprot.readMessageEnd()
    if method.unshare is not None:
        method.unshare(arguments)
    outcome = method.handler.invoke(method, arguments)
    if not method.oneway:
        kind, struct = writable(method, outcome)
        _write_message(oprot, method.spec.name, kind, sequence, struct)
    return True


def _write_message(oprot: Any, name: str, kind: int, sequence: int, struct: Any) -> None:
    oprot.writeMessageBegin(name, kind, sequence)
    struct.write(oprot)
    oprot.writeMessageEnd()
    oprot.trans.flush()


def writable(method: Method, outcome: Outcome) -> tuple[int, Any]:
    """Return what came of a call as a struct that can write itself."""
    kind, struct, _ = outcome
    if kind != REPLY:
        return kind, struct
    fields = [name for name, _ in method.spec.errors]
    if method.spec.returns:
        fields.append("success")
    return kind, method.spec.result(**{name: getattr(struct, name, None) for name in fields})
