"""TLS of Python's own on Twisted's connections, so that all server tasks take the same options.

Twisted's TLS needs pyOpenSSL, whose contexts are not those of `sparts.net.listeners.Listening`.
This does what `ssl.SSLObject` is made for: bytes of the connection go into one memory buffer, and
bytes for it come out of another. The protocol itself (RFC 8446 and before) is OpenSSL's part.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from zope.interface import directlyProvides, implementer, providedBy

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

if TYPE_CHECKING:
    from collections.abc import Callable

HANDSHAKE_TIMEOUT = 60.0
"""Seconds that a client has for its handshake."""
_CHUNK = 65536
_LATER = object()


@implementer(ISSLTransport)
class TLSProtocol(ProtocolWrapper):
    """Speaks TLS between a transport and the protocol of a server, which begins after the
    handshake.
    """

    factory: TLSFactory
    wrappedProtocol: Any  # noqa: N815 - Twisted's name

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: Any = factory.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        """What Python knows of the connection: ``getpeercert()``, ``version()`` and so on."""
        self._began = False  # the protocol: the handshake is done
        self._ended = False  # nothing can be written any more
        self._produces = False
        self._timer: Any = None

    def getPeerCertificate(self) -> Any:  # noqa: N802 - Twisted's name
        """Return the client's certificate as `ssl.SSLObject.getpeercert` does."""
        return self.tls.getpeercert()

    def makeConnection(self, transport: Any) -> None:  # noqa: N802 - Twisted's name
        """Wait for the handshake."""
        directlyProvides(self, providedBy(transport), ISSLTransport)
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)  # type: ignore[no-untyped-call]
        self.factory.handshakes.add(self)
        self._timer = self.factory.reactor.callLater(HANDSHAKE_TIMEOUT, self.abortConnection)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take what came over the connection."""
        self._incoming.write(data)
        if not self._began and self._try(self.tls.do_handshake) is not _LATER:
            self._began = True
            self._handshake_over()
            self.wrappedProtocol.makeConnection(self)
        while self._began and self.connected:
            received = self._try(self.tls.read, _CHUNK)
            if received is _LATER:
                return
            if not received:  # the client has ended
                self.loseConnection()
                return
            self.wrappedProtocol.dataReceived(received)

    def _try(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Take a step of TLS, and send what it wants to; `_LATER` if it cannot be done now."""
        try:
            return step(*arguments)
        except ssl.SSLWantReadError:
            return _LATER
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError:  # it speaks something else, or shows no certificate
            self._ended = True
            self._flush()
            self._transport.loseConnection()
            return _LATER
        finally:
            self._flush()

    def write(self, data: bytes) -> None:
        """Send something."""
        if data and self._began and not self._ended:
            rest = memoryview(data)
            while rest:
                rest = rest[self.tls.write(rest) :]
            self._flush()

    def writeSequence(self, iovec: Any) -> None:  # noqa: N802 - Twisted's name
        """Send several pieces."""
        self.write(b"".join(iovec))

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        """Have something send as fast as the client reads."""
        self._produces = True
        self._transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        """Note that it has sent all."""
        self._produces = False
        self._transport.unregisterProducer()
        if self.disconnecting:
            self._end()

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """End the connection after all that was written."""
        if not self.disconnecting:
            self.disconnecting = 1
            if not self._produces:
                self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            if self._began:
                with contextlib.suppress(ssl.SSLError):  # does not wait for the client's answer
                    self.tls.unwrap()
            self._flush()
            self._transport.loseConnection()

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        """End the connection now."""
        self._ended = True
        self._transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted's name
        """Note that the connection has ended."""
        self.connected = 0
        self._ended = True
        self._handshake_over()
        self.factory.unregisterProtocol(self)  # type: ignore[no-untyped-call]
        if self._began:
            self.wrappedProtocol.connectionLost(reason)
        self.wrappedProtocol = None

    def _flush(self) -> None:
        if self._outgoing.pending and self.connected:
            self._transport.write(self._outgoing.read())

    def _handshake_over(self) -> None:
        self.factory.handshakes.discard(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    @property
    def _transport(self) -> Any:
        return self.transport


class TLSFactory(WrappingFactory):
    """Makes connections that speak TLS, for a factory that does not know of it.

    Args:
        wrapped: what makes the protocols.
        context: the server's TLS.
        reactor: where the connections live.
    """

    protocol: Any = TLSProtocol

    def __init__(self, wrapped: Any, context: ssl.SSLContext, reactor: Any) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.context = context
        self.reactor = reactor
        self.handshakes: set[TLSProtocol] = set()
        """The connections whose handshake is under way."""
