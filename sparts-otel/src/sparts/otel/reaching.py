"""Whether the collector can be reached: for ``--dryrun``."""

from __future__ import annotations

import http.client
import os
import ssl
from contextlib import closing
from urllib.parse import urlsplit

from sparts.errors import OptionError, StartError, message_of

TIMEOUT = 5.0
"""Seconds that a collector has to answer."""


def signal_endpoint(endpoint: str | None, signal: str) -> str:
    """Return where a signal (``traces``, ``metrics``, ``logs``) is sent; the environment first.

    Raises:
        OptionError: that is no URL.
    """
    found = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if not found:
        base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or endpoint or "http://localhost:4318"
        found = f"{base.rstrip('/')}/v1/{signal}"
    if not found.startswith(("http://", "https://")):
        raise OptionError(f"The collector's address must begin with http:// or https://: {found}")
    return found


def check_endpoint(endpoint: str | None, signal: str = "TRACES") -> None:
    """Send an empty request, with the headers and certificates that telemetry is sent with.

    Raises:
        StartError: no collector answers it.
        OptionError: its address is no URL.
    """
    from opentelemetry.util.re import parse_env_headers

    url = signal_endpoint(endpoint, signal.lower())
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, parts.port, timeout=TIMEOUT, context=_tls(signal)
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)
        headers = parse_env_headers(_setting(signal, "HEADERS"), liberal=True)
        with closing(connection):
            kind = {"Content-Type": "application/x-protobuf"}
            connection.request("POST", parts.path, b"", {**kind, **headers})
            status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StartError(f"No collector answers at {url}: {message_of(error)}") from error
    if status // 100 == 4:
        raise StartError(f"No collector answers at {url}: the status is {status}.")


def _tls(signal: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=_setting(signal, "CERTIFICATE") or None)
    if certificate := _setting(signal, "CLIENT_CERTIFICATE"):
        context.load_cert_chain(certificate, _setting(signal, "CLIENT_KEY") or None)
    return context


def _setting(signal: str, name: str) -> str:
    """Return the value of a variable: that of the signal, or the one for all."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}", "")
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")
