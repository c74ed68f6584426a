"""When a certificate expires, read from its file."""

from __future__ import annotations

import ssl


def expiry(path: str) -> float:
    """Return when the first certificate in a PEM file expires, in seconds since the epoch.

    Raises:
        OSError: the file cannot be read.
        ValueError: no certificate is in it.
    """
    open(path, "rb").close()  # the next error does not say why a file cannot be read
    try:
        # The public part of `ssl` shows this of the other side's certificate alone.
        found = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    except ssl.SSLError as error:
        raise ValueError(f"There is no certificate in {path}.") from error
    return float(ssl.cert_time_to_seconds(found["notAfter"]))
