"""Where brokers are: what stands in ``--NAME-broker``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError
from sparts.option_types import Expected
from sparts.options import flag_of

if TYPE_CHECKING:
    import ssl

MEMORY = "memory:"
"""Stands for a backlog in the memory of the process."""
_EXPECTS = (
    f"{MEMORY} or URLs such as amqp://user:password@host:5672/vhost with commas between (special "
    "characters as in %40 for @)"
)
_SETTINGS = {"heartbeat", "connect_timeout", "ca", "cert", "key", "server_name"}

_MOST_SECONDS = 65_535
"""The longest heartbeat that the protocol knows."""


@dataclass(frozen=True)
class Address:
    """One broker, or one node of a cluster.

    Attributes:
        host: its name or number.
        port: its port.
        user: who logs in; empty: whom the client certificate names.
        password: theirs.
        vhost: the virtual host.
        tls: whether the connection is encrypted.
        heartbeat: seconds; a connection that is silent for two of them is taken to be broken.
        connect_timeout: seconds until a connection must be open.
        ca: a PEM file of the authorities that may have signed the broker's certificate; empty:
            those of the system.
        cert: a PEM file of the client's certificate; empty: none.
        key: a PEM file of its key; empty: it is in ``cert``.
        server_name: the name in the broker's certificate; empty: ``host``.
    """

    host: str
    port: int
    user: str = "guest"
    password: str = "guest"  # noqa: S105 - RabbitMQ's own default
    vhost: str = "/"
    tls: bool = False
    heartbeat: float = 30.0
    connect_timeout: float = 5.0
    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""

    def __str__(self) -> str:
        """Return it without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        vhost = "" if self.vhost == "/" else f"/{self.vhost}"
        return f"{'amqps' if self.tls else 'amqp'}://{host}:{self.port}{vhost}"

    def context(self) -> ssl.SSLContext:
        """Return a new TLS context; `OSError` if one of its files cannot be used."""
        import ssl  # here and below, as not every service needs them

        for name in filter(None, (self.ca, self.cert, self.key)):
            open(name, "rb").close()  # else the error would not name the file
        context = ssl.create_default_context(cafile=self.ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert:
            context.load_cert_chain(self.cert, self.key or None, lambda: b"")
        return context


def broker_urls(text: str) -> str:
    """Return the text of URLs, or ``memory:``, as it is; the type of an option."""
    broker_addresses(text)
    return text


vars(broker_urls)["expects"] = _EXPECTS  # what the error of the option says


def broker_addresses(text: str) -> tuple[Address, ...]:
    """Read one or several URLs with commas between them; ``memory:`` gives none.

    The nodes of one cluster are tried in turn.
    """
    if text == MEMORY:
        return ()
    return tuple(_address(url.strip()) for url in text.split(","))


def needed_broker(task: Any) -> tuple[Address, ...]:
    """Return where the broker of a task is, which cannot do without; ``UsageError`` if none is."""
    if found := broker_addresses(task.broker or MEMORY):
        return found
    raise UsageError(f"{task.name} has no broker: give {flag_of(type(task), 'broker')}.")


def _address(url: str) -> Address:
    from urllib.parse import parse_qs, unquote, urlsplit

    try:
        parts = urlsplit(url)
        tls = {"amqp": False, "amqps": True}[parts.scheme]
        given = {name: values[-1] for name, values in parse_qs(parts.query, True, True).items()}
        if unknown := given.keys() - _SETTINGS:
            known = ", ".join(sorted(_SETTINGS))
            raise Expected(f"without the setting {sorted(unknown)[0]!r}; there are {known}")
        settings: dict[str, Any] = dict(given)
        for name in ("heartbeat", "connect_timeout"):
            if name in given:
                settings[name] = _positive(given[name])
        by_certificate = parts.username is None and "cert" in given
        return Address(
            parts.hostname or "localhost",
            parts.port or (5671 if tls else 5672),
            "" if by_certificate else unquote(parts.username or "guest"),
            unquote(parts.password or "guest"),
            unquote(parts.path[1:]) or "/",
            tls,
            **settings,
        )
    except Expected:
        raise
    except (KeyError, ValueError):
        raise Expected(_EXPECTS) from None


def _positive(text: str) -> float:
    if not 0 < (number := float(text)) <= _MOST_SECONDS:
        raise ValueError(text)
    return number
