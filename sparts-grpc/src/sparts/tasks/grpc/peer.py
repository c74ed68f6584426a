"""Whom a connection leads to, as handlers see it."""

from __future__ import annotations

import ssl
from typing import Any

_NAMES = "x509_subject_alternative_name"
_NAME = "x509_common_name"


class Peer:
    """Whom a connection leads to.

    Args:
        transport: of the connection.
    """

    def __init__(self, transport: Any) -> None:
        self._tls = transport.get_extra_info("ssl_object")
        address = transport.get_extra_info("peername")
        self.host: str = address[0] if isinstance(address, tuple) else ""
        """The address without the port; empty on a Unix socket."""
        self.name: str = _peer_name(address)
        """As `grpc.ServicerContext.peer` has it."""
        self._auth: dict[str, list[bytes]] | None = None

    @property
    def auth(self) -> dict[str, list[bytes]]:
        """As `grpc.ServicerContext.auth_context` has it; empty without TLS."""
        if self._auth is None:
            self._auth = _auth_of(self._tls) if self._tls is not None else {}
        return self._auth

    @property
    def identity_key(self) -> str | None:
        """The key of `auth` under which the client's names are; None: it showed no certificate."""
        return next((key for key in (_NAMES, _NAME) if key in self.auth), None)


def _peer_name(address: Any) -> str:
    if not isinstance(address, tuple):
        return "unix:"
    host, port = address[:2]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _auth_of(tls: Any) -> dict[str, list[bytes]]:
    auth = {
        "transport_security_type": [b"ssl"],
        "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"],
        "ssl_session_reused": [b"true" if tls.session_reused else b"false"],
    }
    encoded = tls.getpeercert(binary_form=True)
    if not encoded:
        return auth
    auth["x509_pem_cert"] = [ssl.DER_cert_to_PEM_cert(encoded).encode()]
    certificate = tls.getpeercert() or {}  # empty where the client's was not verified
    subject = [pair for parts in certificate.get("subject", ()) for pair in parts]
    if names := [value.encode() for key, value in subject if key == "commonName"]:
        auth[_NAME] = names
    if others := [value.encode() for _, value in certificate.get("subjectAltName", ())]:
        auth[_NAMES] = others
    return auth
