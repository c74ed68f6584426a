"""TLS of tests, by the certificates of the test kit."""

from __future__ import annotations

import socket
import ssl

from sparts.testing.certificates import FIRST_CERTIFICATE


def trusting(certificate: str = FIRST_CERTIFICATE) -> ssl.SSLContext:
    """Return what trusts one certificate alone."""
    return ssl.create_default_context(cadata=certificate[certificate.index("-----BEGIN CERT") :])


def over_tls(client: socket.socket, certificate: str = FIRST_CERTIFICATE) -> ssl.SSLSocket:
    """Speak TLS over a connection to a server that has a certificate."""
    return trusting(certificate).wrap_socket(client, server_hostname="localhost")
