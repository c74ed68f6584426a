"""Refuses pages whose own name was made to point here (DNS rebinding): `sparts.net.hosts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.net.hosts import hostname, is_loopback, is_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_PAGES = (b"origin", b"sec-fetch-site")


class Hosts:
    """Says by which names clients may call.

    Programs may use any name, and pages of browsers those of `is_ours`. A browser's GET may have
    nothing that tells it from a program's; so over loopback the same holds for each GET.

    Args:
        allowed: returns further names.
    """

    def __init__(self, allowed: Callable[[], Collection[str]] = tuple) -> None:
        self._allowed = allowed

    def refused(self, scope: Any) -> str:
        """Return why a request is refused; ``""`` if it is not."""
        host, page = b"", scope["method"] in ("GET", "HEAD") and is_loopback(scope.get("server"))
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name in _PAGES:
                page = True
        if not page or scope.get("sparts.known"):  # a page that CORS lets in
            return ""
        name = host.decode("latin-1")
        return "" if is_ours(name, self._allowed()) else f"This server is not {hostname(name)}."
