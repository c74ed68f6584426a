"""TLS of tests, by the first certificate of the test kit."""

from __future__ import annotations

import socket
import ssl

from sparts.testing.certificates import FIRST_CERTIFICATE


def trusting() -> ssl.SSLContext:
    """Return what trusts that certificate alone."""
    trusted = FIRST_CERTIFICATE[FIRST_CERTIFICATE.index("-----BEGIN CERT") :]
    return ssl.create_default_context(cadata=trusted)


def over_tls(client: socket.socket) -> ssl.SSLSocket:
    """Speak TLS over a connection to a server that has it."""
    return trusting().wrap_socket(client, server_hostname="localhost")
