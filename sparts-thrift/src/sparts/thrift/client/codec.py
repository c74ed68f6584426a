"""Calls as bytes: what is sent for a call, and what came back.

The protocols are Apache Thrift's, in C where they can, for its generated code, and thriftpy2's for
modules of thriftpy2. Nothing here reads or writes a socket.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError, message_of
from sparts.thrift.defaults import answer_unsharer
from sparts.thrift.interfaces import describe

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.protocol.TProtocol import TProtocolException
from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.TTransport import TMemoryBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparts.thrift.services import ThriftMethod, ThriftService

PROTOCOLS = {
    "binary": "application/vnd.apache.thrift.binary",
    "compact": "application/vnd.apache.thrift.compact",
    "json": "application/vnd.apache.thrift.json",
}
"""The protocols, and what HTTP calls them: https://www.iana.org/assignments/media-types."""


class Codec:
    """Writes the calls of a service, and reads the answers. Safe for threads.

    Args:
        service: the service.
        protocol: ``"binary"``, ``"compact"`` or ``"json"``.
        multiplex: the name under which a multiplexing server knows the service; "": it does not.
    """

    def __init__(self, service: ThriftService, protocol: str, multiplex: str) -> None:
        if protocol not in PROTOCOLS:
            raise UsageError(
                f"No protocol is named {protocol!r}. There are: {', '.join(PROTOCOLS)}."
            )
        self.service = service
        self.protocol = protocol
        self.multiplex = multiplex

    @cached_property
    def _unsharers(self) -> Mapping[str, Callable[[Any], None] | None]:
        """What gives answers of each method their own copies of defaults."""
        try:
            methods = describe(self.service)
        except UsageError:  # not all of it can be described
            return {}
        return {name: answer_unsharer(method) for name, method in methods.items()}

    def _read(self, method: ThriftMethod, read: Callable[[], Any]) -> Any:
        """Read the answer to a call of a method, and return or raise it."""
        unshare = self._unsharers.get(method.name)
        if unshare is None:
            return read()
        try:
            answer = read()
        except Exception as error:
            unshare(error)
            raise
        unshare(answer)
        return answer

    @property
    def content_type(self) -> str:
        """What HTTP calls the protocol."""
        return PROTOCOLS[self.protocol]

    def encode(self, method: ThriftMethod, number: int, args: Any, kwargs: Any) -> bytes:
        """Return a call as bytes.

        Raises:
            TypeError: the arguments are not those of the method, or not of their types.
        """
        raise NotImplementedError

    def decode(self, method: ThriftMethod, number: int, answer: bytes) -> Any:
        """Return what a method returned, or raise what it raised.

        Raises:
            TApplicationException: the server says that it failed.
            TProtocolException: the bytes are no answer to this call.
        """
        raise NotImplementedError


class ApacheCodec(Codec):
    """A codec for code that Apache's compiler generated."""

    def _protocol(self, transport: TMemoryBuffer, size: int) -> Any:
        if self.protocol == "json":
            return TJSONProtocol(transport)
        kind = TBinaryProtocolAccelerated
        if self.protocol == "compact":
            kind = TCompactProtocolAccelerated
        # No text and no container is longer than the bytes that it is read from.
        return kind(transport, string_length_limit=size, container_length_limit=size)

    def encode(self, method: ThriftMethod, number: int, args: Any, kwargs: Any) -> bytes:
        """Return a call as bytes; see `Codec.encode`."""
        transport = TMemoryBuffer()
        protocol = self._protocol(transport, 0)
        if self.multiplex:
            protocol = TMultiplexedProtocol(protocol, self.multiplex)
        client = self.service.target.Client(protocol)
        client._seqid = number
        try:
            getattr(client, f"send_{method.name}")(*args, **kwargs)
        except TypeError:
            bound(method, args, kwargs)  # says it better, if that was wrong
            raise
        data: bytes = transport.getvalue()
        return data

    def decode(self, method: ThriftMethod, number: int, answer: bytes) -> Any:
        """Return what a method returned; see `Codec.decode`."""
        buffer = TMemoryBuffer(answer)
        protocol = self._protocol(buffer, len(answer))
        reading = _Reading(method.name, number, protocol.readMessageBegin, protocol.readMessageEnd)
        protocol.readMessageBegin, protocol.readMessageEnd = reading.begin, reading.end
        client = self.service.target.Client(protocol)
        receive = getattr(client, f"recv_{method.name}")
        return self._read(method, lambda: reading.read(receive))


class ThriftPy2Codec(Codec):
    """A codec for modules of thriftpy2."""

    def _protocol(self, transport: Any) -> Any:
        from thriftpy2.protocol import TApacheJSONProtocol, TBinaryProtocol, TCompactProtocol

        kinds: dict[str, Any] = {"json": TApacheJSONProtocol, "compact": TCompactProtocol}
        return kinds.get(self.protocol, TBinaryProtocol)(transport)

    def encode(self, method: ThriftMethod, number: int, args: Any, kwargs: Any) -> bytes:
        """Return a call as bytes; see `Codec.encode`."""
        from thriftpy2 import protocol as protocols
        from thriftpy2 import transport as transports

        transport: Any = transports.TMemoryBuffer()  # type: ignore[no-untyped-call]
        protocol = self._protocol(transport)
        if self.multiplex:
            multiplexed: Any = protocols.TMultiplexedProtocol
            protocol = multiplexed(protocol, self.multiplex)
        arguments = getattr(self.service.target, f"{method.name}_args")()
        for name, value in bound(method, args, kwargs).items():
            setattr(arguments, name, value)
        kind = TMessageType.ONEWAY if method.oneway else TMessageType.CALL
        protocol.write_message_begin(method.name, kind, number)
        arguments.write(protocol)
        protocol.write_message_end()
        protocol.trans.flush()
        data: bytes = transport.getvalue()
        return data

    def decode(self, method: ThriftMethod, number: int, answer: bytes) -> Any:
        """Return what a method returned; see `Codec.decode`."""
        from thriftpy2 import thrift as library
        from thriftpy2 import transport as transports

        buffer = transports.TMemoryBuffer(answer)  # type: ignore[no-untyped-call]
        protocol = self._protocol(buffer)
        reading = _Reading(
            method.name, number, protocol.read_message_begin, protocol.read_message_end
        )
        client = library.TClient(self.service.target, _Noting(protocol, reading))  # type: ignore[arg-type]
        try:
            return self._read(method, lambda: reading.read(lambda: client._recv(method.name)))
        except library.TApplicationException as error:
            raise TApplicationException(error.type, error.message) from None


class _Noting:
    """A protocol of thriftpy2's that notes where its message begins and ends."""

    def __init__(self, protocol: Any, reading: _Reading) -> None:
        self._protocol = protocol
        self.read_message_begin = reading.begin
        self.read_message_end = reading.end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)


class _Reading:
    """Reads one answer, and distinguishes errors of the server from what is no answer."""

    def __init__(
        self,
        method: str,
        number: int,
        begin: Callable[[], tuple[str, int, int]],
        end: Callable[[], None],
    ) -> None:
        self._method, self._number = method, number
        self._begin, self._end = begin, end
        self._whole = False

    def begin(self) -> tuple[str, int, int]:
        """Read the head of the message, and hold it against the call."""
        name, kind, number = self._begin()
        if number != self._number:
            raise TProtocolException(
                TProtocolException.INVALID_DATA,
                f"it has the number {number}, and the call {self._number}",
            )
        if kind != TMessageType.EXCEPTION and (kind, name) != (TMessageType.REPLY, self._method):
            raise TProtocolException(
                TProtocolException.INVALID_DATA, f"it is of kind {kind} and of the method {name!r}"
            )
        return name, kind, number

    def end(self) -> None:
        """Note that the message is read."""
        self._end()
        self._whole = True

    def read(self, read: Callable[[], Any]) -> Any:
        """Read the answer; what it raises is of the server only if the message was whole."""
        try:
            return read()
        except Exception as error:
            if self._whole:
                raise
            why = message_of(error)
            raise TProtocolException(
                TProtocolException.INVALID_DATA,
                f"An answer to {self._method} makes no sense: {why}",
            ) from error


def bound(method: ThriftMethod, args: Any, kwargs: Any) -> Mapping[str, Any]:
    """Return arguments by the names of their parameters.

    Raises:
        TypeError: they are not those of the method.
    """
    try:
        return signature(method).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{method.name}({', '.join(method.parameters)}): {error}") from None


def signature(method: ThriftMethod) -> inspect.Signature:
    """Return the signature of a method, as its caller sees it."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, kind) for name in method.parameters])


def make_codec(service: ThriftService, protocol: str, multiplex: str) -> Codec:
    """Return the codec for a service.

    Raises:
        UsageError: there is no such protocol.
    """
    return (ThriftPy2Codec if service.by_thriftpy2 else ApacheCodec)(service, protocol, multiplex)
