"""Whether the collector can be reached: for ``--dryrun``."""

from __future__ import annotations

import http.client
import os
from urllib.parse import urlsplit

from sparts.errors import StartError, message_of

TIMEOUT = 5.0
"""Seconds that a collector has to answer."""


def signal_endpoint(endpoint: str | None, signal: str) -> str:
    """Return where a signal (``traces``, ``metrics``, ``logs``) is sent; the environment first."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if own:
        return own
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or endpoint or "http://localhost:4318"
    return f"{base.rstrip('/')}/v1/{signal}"


def check_endpoint(endpoint: str | None) -> None:
    """Send an empty request for traces.

    Raises:
        StartError: no collector answers it.
    """
    url = signal_endpoint(endpoint, "traces")
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise StartError(f"The collector's address must begin with http:// or https://: {url}")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=TIMEOUT)
    try:
        connection.request("POST", parts.path, b"", {"Content-Type": "application/x-protobuf"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise StartError(f"No collector answers at {url}: {message_of(error)}") from error
    finally:
        connection.close()
    if status // 100 == 4:
        raise StartError(f"No collector answers at {url}: the status is {status}.")
