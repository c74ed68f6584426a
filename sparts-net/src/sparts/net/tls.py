"""The TLS of listeners.py: read, checked, and read again; imported where a task asks for it alone.

Every fault of a file is one error that names its option. Contexts are Python's own for servers,
from TLS 1.2 on, without renegotiation.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, NoReturn

from sparts.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.net import TLSFiles


class TLS:
    """The TLS of one server task, over all instances of the service.

    Args:
        files: what it is made of.
        prepare: called with each new context, for what the task sets in it.

    Raises:
        OptionError: one of the files cannot be used; the message names its option.
    """

    def __init__(self, files: TLSFiles, prepare: Callable[[ssl.SSLContext], None]) -> None:
        self.files = files
        self._prepare = prepare
        self.context: ssl.SSLContext = self._load()
        self._newest = self.context
        """The one context that servers hold; what was read last is found in each handshake."""

    def reload(self, prepare: Callable[[ssl.SSLContext], None] | None = None) -> None:
        """Read the files again, for connections that begin from now on.

        What has been read before stays in use if this fails.

        Args:
            prepare: in place of what is called with each new context, which belongs to a task that
                has ended.

        Raises:
            OptionError: one of the files cannot be used.
        """
        self._prepare = prepare or self._prepare
        self._newest = self._load()
        # Not by loading into the context: what it trusts could only grow, and a key that does not
        # fit would leave it with half of the change.
        self.context.sni_callback = self._use_newest

    def _load(self) -> ssl.SSLContext:
        context = load(self.files)
        self._prepare(context)
        return context

    def _use_newest(
        self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> int | None:
        """Called by OpenSSL in each handshake, whether the client gives a name or not."""
        newest = connection.context = self._newest
        own: Any = newest.sni_callback  # of the task, which chooses certificates by name
        return own(connection, name, newest) if own is not None else None


def load(files: TLSFiles) -> ssl.SSLContext:
    """Return a new context made of these files.

    Raises:
        OptionError: one of them cannot be used; the message names its option.
    """
    flag, cert, key, ca = f"--{files.prefix}-tls", files.cert, files.key or files.cert, files.ca
    key_flag = f"{flag}-key" if files.key else f"{flag}-cert"
    _read_certificates(f"{flag}-cert", cert, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _read(key_flag, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION

    def refuse() -> NoReturn:  # OpenSSL would ask the terminal
        raise OptionError(f"{key_flag}: {key} is encrypted. Give a key without a passphrase.")

    try:
        context.load_cert_chain(cert, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise OptionError(
                f"{key_flag}: the private key in {key} is not the one of the certificate in {cert}."
            ) from error
        wrong = f"{key_flag}: there is no private key in {key} that OpenSSL can use"
        hint = "" if files.key else f" (in a file of its own? Give {flag}-key)"
        raise OptionError(f"{wrong}{hint}.") from error
    if ca:
        _read_certificates(f"{flag}-ca", ca, context)
        context.verify_mode = ssl.CERT_REQUIRED
        context.options |= ssl.OP_NO_TICKET  # each handshake looks at the certificate, also after
        context.num_tickets = 0  # a reload that trusts fewer
    return context


def _read_certificates(flag: str, path: str, context: ssl.SSLContext) -> None:
    """Have a context trust the certificates of a file, of which there is at least one."""
    _read(flag, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise OptionError(
            f"{flag}: there is no certificate in {path} that OpenSSL can use."
        ) from error


def _read(flag: str, path: str) -> None:
    """See that a file can be read; OpenSSL does not say of which file it speaks."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise OptionError(f"{flag}: cannot read {path}: {error.strerror or error}.") from error
