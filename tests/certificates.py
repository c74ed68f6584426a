"""TLS of tests: the one place that makes certificates, and clients that trust one alone.

Where any certificate does, tests use the two of the test kit (`sparts.testing.certificates`).
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime

from sparts.testing.certificates import FIRST_CERTIFICATE


class Authority:
    """Issues certificates, to servers and clients; no other authority's are good for it."""

    def __init__(self) -> None:
        import trustme  # slow to import, for the processes that need none

        self._made = trustme.CA()
        self.certificate = self._made.cert_pem.bytes().decode("ascii")
        """PEM of its own certificate, for those that trust it."""

    def issue(self, *names: str, expires: datetime | None = None) -> str:
        """Return PEM of a private key and its certificate, as the test kit's are."""
        issued = self._made.issue_cert(*names, not_after=expires)
        return issued.private_key_and_cert_chain_pem.bytes().decode("ascii")

    def serving(self, *names: str) -> ssl.SSLContext:
        """Return the context of a server with a certificate for these names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._made.issue_cert(*names).configure_cert(context)
        return context


def trusting(certificate: str = FIRST_CERTIFICATE) -> ssl.SSLContext:
    """Return what trusts one certificate alone."""
    return ssl.create_default_context(cadata=certificate[certificate.index("-----BEGIN CERT") :])


def over_tls(client: socket.socket, certificate: str = FIRST_CERTIFICATE) -> ssl.SSLSocket:
    """Speak TLS over a connection to a server that has a certificate."""
    return trusting(certificate).wrap_socket(client, server_hostname="localhost")
