"""Thrift messages in frames: binary and compact ones, distinguished by their first bytes.

The header of a message is read and written here; its struct by the C code of Apache's library. The
formats are those of ``doc/specs/thrift-binary-protocol.md``, ``thrift-compact-protocol.md`` and
``thrift-rpc.md`` of Apache Thrift.
"""

from __future__ import annotations

from io import BytesIO
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias

from thrift.protocol import fastbinary
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.Thrift import TMessageType
from thrift.transport.TTransport import TMemoryBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

CALL: int
REPLY: int
EXCEPTION: int
ONEWAY: int
CALL, REPLY, EXCEPTION, ONEWAY = (
    TMessageType.CALL,
    TMessageType.REPLY,
    TMessageType.EXCEPTION,
    TMessageType.ONEWAY,
)

_LENGTH = Struct(">I")
_STRICT = Struct(">II")
_FRAMED = Struct(">III")
_VERSION_1 = 0x80010000
_COMPACT_ID, _COMPACT_VERSION = 0x82, 1


class WireError(Exception):
    """Bytes that are no message, so that nothing can be answered to them."""


_PIECE = 1 << 16
"""Bytes that Apache's C code decodes at once: between two pieces, other threads have a turn."""


class _Source:
    """What Apache's C code reads from: it asks for these names."""

    __slots__ = (
        "_data", "_place", "container_length_limit", "cstringio_buf", "string_length_limit",
        "trans",
    )  # fmt: skip

    def __init__(self) -> None:
        self.trans = self

    def begin(self, data: bytes) -> None:
        """Give it other bytes to read."""
        # Nothing can be longer than what is there, whatever it claims.
        self.string_length_limit = self.container_length_limit = len(data)
        self._data, self._place = (data, _PIECE) if len(data) > _PIECE else (b"", 0)
        self.cstringio_buf = BytesIO(data[:_PIECE] if self._place else data)

    def cstringio_refill(self, partial: bytes, wanted: int) -> BytesIO:
        """Give it more, after what it has not used yet.

        Raises:
            EOFError: there is no more.
        """
        end = self._place + max(_PIECE, wanted)
        more, self._place = self._data[self._place : end], end
        if len(partial) + len(more) < wanted:
            raise EOFError("it ends too early")
        self.cstringio_buf = BytesIO(partial + more)
        return self.cstringio_buf


_sources: list[_Source] = []  # those not in use: each refers to itself, so they are used again


class Wire:
    """A protocol that messages are in."""

    def __init__(
        self,
        name: str,
        decode: Callable[[Any, Any, list[Any]], Any],
        encode: Callable[[Any, list[Any]], bytes],
        protocol: Callable[..., Any],
    ) -> None:
        self.name = name
        self._decode = decode
        self._encode = encode
        self._protocol = protocol

    def read_struct(self, struct: Any, spec: Any, data: bytes) -> None:
        """Fill a struct from its bytes.

        Args:
            struct: a new one.
            spec: its class and its ``thrift_spec``, in a list; None: it has to read itself.
            data: its bytes.

        Raises:
            Exception: they cannot be read.
        """
        if spec is None:
            struct.read(self.reader(data))
            return
        try:
            source = _sources.pop()
        except IndexError:
            source = _Source()
        source.begin(data)
        self._decode(struct, source, spec)
        _sources.append(source)  # if it could be read: else a traceback may hold it

    def reader(self, data: bytes) -> Any:
        """Return a protocol of Apache's in Python that reads bytes, none longer than they are."""
        limits = {"string_length_limit": len(data), "container_length_limit": len(data)}
        return self._protocol(TMemoryBuffer(data), **limits)

    def write_struct(self, struct: Any, spec: Any) -> bytes:
        """Return the bytes of a struct; ``spec`` as for `read_struct`.

        Raises:
            Exception: it holds a value that is not of its type.
        """
        if spec is not None:
            return self._encode(struct, spec)
        buffer = TMemoryBuffer()
        struct.write(self._protocol(buffer))
        written: bytes = buffer.getvalue()
        return written

    def frame(self, kind: int, name: bytes, sequence: bytes, body: bytes) -> bytes:
        """Return a whole frame, its length included."""
        raise NotImplementedError


class _Binary(Wire):
    """The binary protocol, with a version in front (all but the oldest clients)."""

    def frame(self, kind: int, name: bytes, sequence: bytes, body: bytes) -> bytes:
        length = 12 + len(name) + len(body)
        head = _FRAMED.pack(length, _VERSION_1 | kind, len(name))
        return b"".join((head, name, sequence, body))


class _OldBinary(Wire):
    """The binary protocol without a version."""

    def frame(self, kind: int, name: bytes, sequence: bytes, body: bytes) -> bytes:
        head = _LENGTH.pack(len(name)) + name + bytes([kind]) + sequence
        return _LENGTH.pack(len(head) + len(body)) + head + body


class _Compact(Wire):
    """The compact protocol."""

    def frame(self, kind: int, name: bytes, sequence: bytes, body: bytes) -> bytes:
        head = bytes([_COMPACT_ID, kind << 5 | _COMPACT_VERSION])
        head += sequence + _varint(len(name)) + name
        return _LENGTH.pack(len(head) + len(body)) + head + body


_binary = (fastbinary.decode_binary, fastbinary.encode_binary, TBinaryProtocol)
BINARY = _Binary("binary", *_binary)
OLD_BINARY = _OldBinary("binary", *_binary)
COMPACT = _Compact(
    "compact", fastbinary.decode_compact, fastbinary.encode_compact, TCompactProtocol
)


Header: TypeAlias = tuple[Wire, int, bytes, bytes, int]
"""The beginning of a message: its protocol, its kind (of `thrift.Thrift.TMessageType`), the name of
the method, the sequence number as it stands there, and where the struct begins."""


def read_header(data: bytes, start: int, end: int) -> Header:
    """Return the header of the message that lies from ``start`` to ``end``.

    Raises:
        WireError: there is none.
    """
    first = data[start]
    if first == 0x80 and end - start >= 12:
        version, length = _STRICT.unpack_from(data, start)
        name, body = start + 8, start + 12 + length
        if version & 0xFFFF0000 == _VERSION_1 and body <= end:
            sequence = body - 4
            return BINARY, version & 0xFF, data[name:sequence], data[sequence:body], body
    elif first == _COMPACT_ID and end - start >= 4:
        return _read_compact_header(data, start, end)
    elif first == 0 and end - start >= 9:
        (length,) = _LENGTH.unpack_from(data, start)
        kind = start + 4 + length
        if kind + 5 <= end:
            body = kind + 5
            return OLD_BINARY, data[kind], data[start + 4 : kind], data[kind + 1 : body], body
    raise WireError(f"It is no thrift message: it begins with {data[start : start + 8]!r}")


def _read_compact_header(data: bytes, start: int, end: int) -> Header:
    kind = data[start + 1]
    if kind & 0x1F == _COMPACT_VERSION:
        name_length = _end_of_varint(data, start + 2, end)
        name, length = _end_of_varint(data, name_length, end), 0
        for byte in reversed(data[name_length:name]):
            length = length << 7 | byte & 0x7F
        body = name + length
        if body <= end:
            sequence = data[start + 2 : name_length]
            return COMPACT, kind >> 5 & 0x07, data[name:body], sequence, body
    raise WireError(f"It is no message of the compact protocol: {data[start : start + 8]!r}")


def _end_of_varint(data: bytes, start: int, end: int) -> int:
    for place in range(start, min(end, start + 5)):
        if data[place] < 0x80:
            return place + 1
    raise WireError("A number in the header of the message has no end.")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
