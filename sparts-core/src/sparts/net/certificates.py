"""When a certificate expires, read from its file: `ssl` shows that of the other side's alone.

A certificate is ASN.1 in DER (RFC 5280, section 4.1): nested fields of a tag, a length, a content.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

_PEM_END = "-----END CERTIFICATE-----"
_EXPLICIT_VERSION = 0xA0
_UTC_TIME = 0x17


def expiry(path: str) -> float:
    """Return when the first certificate in a PEM file expires, in seconds since the epoch.

    Raises:
        OSError: the file cannot be read.
        ValueError: no certificate is in it.
    """
    with open(path, encoding="ascii", errors="replace") as file:
        text = file.read()
    start, end = text.find("-----BEGIN CERTIFICATE-----"), text.find(_PEM_END)
    if start < 0 or end < start:
        raise ValueError(f"There is no certificate in {path}.")
    data = ssl.PEM_cert_to_DER_cert(text[start : end + len(_PEM_END)])
    try:
        return _not_after(data)
    except IndexError:
        raise ValueError(f"The certificate in {path} cannot be read.") from None


def _not_after(data: bytes) -> float:
    _, place, _ = _field(data, 0)  # Certificate
    _, place, _ = _field(data, place)  # TBSCertificate
    if data[place] == _EXPLICIT_VERSION:
        place = _field(data, place)[2]
    for _ in range(3):  # serial number, signature, issuer
        place = _field(data, place)[2]
    _, place, _ = _field(data, place)  # Validity
    place = _field(data, place)[2]  # notBefore
    tag, start, end = _field(data, place)
    text = data[start:end].decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _field(data: bytes, place: int) -> tuple[int, int, int]:
    """Return the tag of the field at a place, and where its content starts and ends."""
    tag, length, place = data[place], data[place + 1], place + 2
    if length & 0x80:
        size = length & 0x7F
        length, place = int.from_bytes(data[place : place + size]), place + size
    return tag, place, place + length
