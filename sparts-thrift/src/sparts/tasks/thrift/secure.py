"""A connection of a thrift client that speaks TLS."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.tasks.thrift.connection import Connection
from sparts.tasks.thrift.reading import WOULD_BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.thrift.serving import Parted, Serving

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


class TLSConnection(Connection):
    """A connection that speaks TLS, from its handshake on."""

    __slots__ = ("_shaken",)

    sock: ssl.SSLSocket

    def __init__(self, engine: Serving, new: Parted, context: ssl.SSLContext) -> None:
        sock: Any = new.sock
        if not new.known:
            sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        super().__init__(engine, new._replace(sock=sock))
        self._receive = _without_flags(sock.recv)
        self._send = _without_flags(sock.send)
        self._shaken = False
        self._going = True  # what it reads says nothing about what there is
        self.expect_progress()

    def _work(self) -> bool:
        if not self._shaken:
            try:
                self.sock.do_handshake()
            except WOULD_BLOCK:
                return True
            self._shaken = True
            self.began: float = 0.0
        return super()._work()

    def _attend(self) -> bool:
        return False

    def close(self) -> None:
        """Send the client the end, and close it."""
        if self._shaken:
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()
        super().close()


def _without_flags(function: Callable[[_Given], _Result]) -> Callable[[_Given, int], _Result]:
    """Return a function of a TLS socket, which takes no flags, as it is called here."""
    return lambda given, _flags: function(given)
