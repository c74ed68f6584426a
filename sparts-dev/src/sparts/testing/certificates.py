"""Two certificates for tests of TLS: self-signed, for localhost and 127.0.0.1, until 2120.

Their keys are published here, so they prove nothing: never serve with them. Each is PEM of the
private key and the certificate, as ``--PREFIX-tls-cert`` takes them in one file. As each is its own
authority, it is also what a client trusts, or what a server demands of one (``--PREFIX-tls-ca``).

They are fixed, so that the kit depends on no library that makes certificates. Where a test needs
other names, an expiry or an authority, make them with trustme.
"""

from __future__ import annotations

from pathlib import Path

FIRST_CERTIFICATE = (Path(__file__).parent / "first.pem").read_text("ascii")
SECOND_CERTIFICATE = (Path(__file__).parent / "second.pem").read_text("ascii")
