"""The form that gRPC has on HTTP/2: messages, compression, metadata, time limits and statuses."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from sparts.masking import masked

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
"""The statuses by their numbers."""
ENCODINGS = {
    grpc.Compression.NoCompression: b"identity",
    grpc.Compression.Deflate: b"deflate",
    grpc.Compression.Gzip: b"gzip",
}
"""The names that the kinds of compression have in headers."""
ACCEPTED = b"identity,deflate,gzip"
LONGEST = 2048
"""How many bytes of the message of an error are sent: hpack takes minutes to encode a megabyte, and
grpcio's client reads at least 8 KiB of metadata, where a byte may take three."""
PREFIX = 5
"""Bytes before each message: whether it is compressed, and its length."""

_WINDOW_BITS = {b"deflate": 15, b"gzip": 31}
_UNITS = {72: 3600.0, 77: 60.0, 83: 1.0, 109: 1e-3, 117: 1e-6, 110: 1e-9}  # H M S m u n
_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[ -~]*")
_OURS = frozenset({b"te", b"content-type", b"accept-encoding"})
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class MessageError(Exception):
    """A message or header of a client cannot be used.

    Args:
        code: the status that the call ends with.
        details: what to say of it to the client.
    """

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code: grpc.StatusCode = code
        self.details: str = details


class Metadatum(NamedTuple):
    """One entry of the metadata of a call."""

    key: str
    value: Any
    """`bytes` where the key ends in ``-bin``, else `str`."""


def seconds_of(timeout: bytes) -> float:
    """Return the seconds of a header ``grpc-timeout``.

    Raises:
        MessageError: it has no valid form.
    """
    number, unit = timeout[:-1], _UNITS.get(timeout[-1] if timeout else 0)
    if unit is None or not number.isdigit() or len(number) > 8:
        raise MessageError(grpc.StatusCode.INTERNAL, "The header grpc-timeout is not valid.")
    return int(number) * unit


def metadata_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Metadatum, ...]:
    """Return the metadata among the headers of a request; what cannot be decoded is left out."""
    found = []
    for key, value in headers:
        if key.startswith((b":", b"grpc-")) or key in _OURS:
            continue
        name = key.decode("ascii", "replace")
        if key.endswith(b"-bin"):
            for part in value.split(b","):
                try:
                    found.append(Metadatum(name, b64decode(part + b"=" * (-len(part) % 4))))
                except ValueError:
                    continue
        else:
            found.append(Metadatum(name, value.decode("ascii", "replace")))
    return tuple(found)


def headers_of(metadata: Any) -> list[tuple[bytes, bytes]]:
    """Return metadata of a server as headers.

    Raises:
        ValueError: a key or value cannot be sent.
    """
    if hasattr(metadata, "items"):
        metadata = metadata.items()
    headers: list[tuple[bytes, bytes]] = []
    for key, value in metadata or ():
        if not _KEY.fullmatch(key) or key.startswith("grpc-") or key.encode() in _OURS:
            raise ValueError(f"{key!r} cannot be a key of metadata.")
        if key.endswith("-bin"):
            data = value if isinstance(value, bytes) else str(value).encode()
            headers.append((key.encode(), b64encode(data).rstrip(b"=")))
            continue
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if not isinstance(text, str) or not _VALUE.fullmatch(text):
            raise ValueError(f"The value of the metadata {key!r} must be printable ASCII.")
        headers.append((key.encode(), text.encode()))
    return headers


def trailers_of(code: int, details: Any, metadata: Any = ()) -> list[tuple[bytes, bytes]]:
    """Return the headers that end a call; details may be bytes or None, too, as in grpcio.

    Secrets in details are masked: a handler may hand on the text of an exception.
    """
    trailers = [(b"grpc-status", b"%d" % code)]
    if details:
        details = details.decode(errors="replace") if isinstance(details, bytes) else str(details)
        details = str(masked(details))
        cut = details[:LONGEST].encode(errors="replace")[:LONGEST].decode(errors="ignore")
        message = quote(cut, safe=_SAFE)
        trailers.append((b"grpc-message", message.encode("ascii")))
    if metadata:
        trailers += _with_details(metadata)
    return trailers


def _with_details(metadata: Any) -> list[tuple[bytes, bytes]]:
    """Return trailing metadata as headers, in which the rich status may be."""
    rich = [pair for pair in metadata if pair[0] == "grpc-status-details-bin"]
    rest = [pair for pair in metadata if pair[0] != "grpc-status-details-bin"]
    encoded = [(b"grpc-status-details-bin", b64encode(value).rstrip(b"=")) for _, value in rich]
    return headers_of(rest) + encoded


def packed(message: bytes, encoding: bytes = b"identity") -> bytes:
    """Return a message as it is sent, compressed if that is asked for and makes it shorter."""
    if encoding != b"identity":
        compressor = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
        compressed = compressor.compress(message) + compressor.flush()
        if len(compressed) < len(message):
            return b"\x01" + len(compressed).to_bytes(4) + compressed
    return b"\0" + len(message).to_bytes(4) + message


def unpacked(compressed: int, data: bytes, encoding: bytes, limit: int) -> bytes:
    """Return what is in a message that was received.

    Raises:
        MessageError: it cannot be decompressed, or is longer than ``limit`` bytes then.
    """
    if not compressed:
        return data
    if compressed != 1 or encoding not in _WINDOW_BITS:
        raise MessageError(
            grpc.StatusCode.INTERNAL, "A message is compressed, and no header says how."
        )
    decompressor = zlib.decompressobj(wbits=_WINDOW_BITS[encoding])
    try:
        message = decompressor.decompress(data, limit + 1)
    except zlib.error as error:
        raise MessageError(grpc.StatusCode.INTERNAL, "A message is compressed wrongly.") from error
    if len(message) > limit:
        raise too_long(len(message), limit)
    if not decompressor.eof:
        raise MessageError(grpc.StatusCode.INTERNAL, "A message is compressed wrongly.")
    return message


def too_long(length: int, limit: int) -> MessageError:
    """Return the error of a message of at least ``length`` bytes."""
    return MessageError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"Received message larger than max ({length} vs. {limit})",
    )


def choose_encoding(wanted: grpc.Compression | None, accepted: Mapping[bytes, bytes]) -> bytes:
    """Return how to compress messages to a client with these headers."""
    encoding = ENCODINGS[wanted or grpc.Compression.NoCompression]
    known = accepted.get(b"grpc-accept-encoding", b"").replace(b" ", b"").split(b",")
    return encoding if encoding in known else b"identity"
