"""Where the collector is, and whether it can be reached: for ``--dryrun``."""

from __future__ import annotations

import http.client
import os
import ssl
from base64 import b64encode
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from sparts.errors import OptionError, StartError, message_of
from sparts.masking import hide_secret

if TYPE_CHECKING:
    import requests

TIMEOUT = 5.0
"""Seconds that a collector has to answer."""
_KEY = 8
"""Characters from which on a header's value is taken for a secret."""


def signal_endpoint(endpoint: str | None, signal: str) -> str:
    """Return where a signal (``traces``, ``metrics``, ``logs``) is sent; the environment first.

    Raises:
        OptionError: that is no URL.
    """
    if own := variable(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"):
        return urlunsplit(url_parts(own))
    found = variable("OTEL_EXPORTER_OTLP_ENDPOINT") or endpoint or "http://localhost:4318"
    parts = url_parts(found)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}"))


def url_parts(url: str) -> SplitResult:
    """Return the parts of a collector's URL; its password is hidden wherever it is shown.

    Raises:
        OptionError: that is no URL.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:  # also of the port, or the brackets of an address
        shown = url.rpartition("@")[2]
        raise OptionError(
            f"The collector's address must be a URL of http:// or https://, not {shown!r}"
        ) from None
    for password in (parts.password, unquote(parts.password or "")):
        hide_secret(password)
    return parts


def hide_headers() -> None:
    """Keep out of all logs what is sent as headers: mostly keys that the collector asks for."""
    for name, value in os.environ.items():
        if name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("HEADERS"):
            for part in value.split(","):
                key = part.partition("=")[2].strip() or part.strip()
                if len(key) >= _KEY:
                    hide_secret(key)
                    hide_secret(unquote(key))


def check_endpoint(endpoint: str | None, signal: str = "TRACES") -> None:
    """Send an empty request, with the headers and certificates that telemetry is sent with.

    Raises:
        StartError: no collector answers it.
        OptionError: its address is no URL.
    """
    from opentelemetry.util.re import parse_env_headers

    url = signal_endpoint(endpoint, signal.lower())
    parts = urlsplit(url)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
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
            kind = {"Content-Type": "application/x-protobuf", **_authorization(parts)}
            connection.request("POST", target, b"", {**kind, **headers})
            status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StartError(f"No collector answers at {shown}: {message_of(error)}") from error
    if status // 100 == 4:
        raise StartError(f"No collector answers at {shown}: the status is {status}.")


def _authorization(parts: SplitResult) -> dict[str, str]:
    """Return the header for the user and the password of a URL, as exporters send it."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {"Authorization": f"Basic {b64encode(pair).decode()}"}


def session_for(signal: str) -> requests.Session | None:
    """Return what an exporter sends with; None: what it makes itself.

    REQUESTS_CA_BUNDLE would go before the certificates that OpenTelemetry's variables name.
    """
    if not (file := _setting(signal, "CERTIFICATE")):
        return None
    import requests
    from requests.adapters import HTTPAdapter

    class Trusting(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return super().send(request, *args, **{**kwargs, "verify": file})

    session = requests.Session()
    session.mount("https://", Trusting())
    return session


def _tls(signal: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=_setting(signal, "CERTIFICATE") or None)
    if certificate := _setting(signal, "CLIENT_CERTIFICATE"):
        context.load_cert_chain(certificate, _setting(signal, "CLIENT_KEY") or None)
    return context


def _setting(signal: str, name: str) -> str:
    """Return the value of a variable: that of the signal, or the one for all."""
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}", "")
    return own or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def variable(name: str) -> str:
    """Return the value of a variable; empty, as OpenTelemetry says, is as if it was not set."""
    return os.environ.get(name, "").strip()
