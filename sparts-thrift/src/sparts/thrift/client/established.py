"""Classes of Apache's protocols and transports, by which clients of sparts 0.7 are configured."""

from __future__ import annotations

from typing import Any

from sparts.errors import UsageError

from thrift.transport.TTransport import TFramedTransport

PROTOCOLS = {
    "TBinaryProtocol": "binary",
    "TBinaryProtocolAccelerated": "binary",
    "TCompactProtocol": "compact",
    "TCompactProtocolAccelerated": "compact",
    "TJSONProtocol": "json",
}
"""The names of ours by those of Apache's classes."""


def protocol_name(protocol_class: Any, name: str) -> str:
    """Return the name of the protocol that a class of Apache's speaks; ``name`` without a class.

    Raises:
        UsageError: no protocol of ours is that.
    """
    if protocol_class is None:
        return name
    for base in getattr(protocol_class, "__mro__", ()):
        if base.__name__ in PROTOCOLS:
            return PROTOCOLS[base.__name__]
    known = ", ".join(PROTOCOLS)
    raise UsageError(f"protocol_class is one of {known}, or a subclass; not {protocol_class!r}.")


def check_transport(transport_class: Any, path: str | None) -> None:
    """Raise `UsageError` for a transport that is not what a client here speaks."""
    if transport_class is None or path:
        return
    if not (isinstance(transport_class, type) and issubclass(transport_class, TFramedTransport)):
        raise UsageError(
            f"transport_class is TFramedTransport, or any over HTTP (path=); not "
            f"{transport_class!r}. A server without frames needs a client of Apache's."
        )
