"""Messages between the parent and a copy: JSON objects, each a line, over a socket pair.

Nobody else can reach such a pair: it has no name. Its end shows each side that the other has gone.
What every service sends to systemd (``NOTIFY_SOCKET``) comes to `Notifications`.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREDENTIALS = struct.Struct("3i")
_AT_ONCE = 256 * 1024

Message = dict[str, Any]


def _framed(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"  # it has no other


class ParentEnd:
    """The parent's end: it never blocks, and keeps what the copy does not take yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._in, self._out = bytearray(), bytearray()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._sock.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits for the copy to take it."""
        return bool(self._out)

    def send(self, message: Message) -> None:
        """Send a message, now or later."""
        self._out += _framed(message)
        self.flush()

    def flush(self) -> None:
        """Send what can be sent now. What is for a copy that has gone is dropped."""
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()

    def receive(self) -> list[Message] | None:
        """Return the messages that have come; None: the copy has closed its end."""
        ended = True
        try:
            while chunk := self._sock.recv(_AT_ONCE):
                self._in += chunk
        except BlockingIOError:
            ended = False
        except ConnectionResetError:
            pass
        *lines, self._in = self._in.split(b"\n")
        return None if ended and not lines else [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close it."""
        self._sock.close()


class CopyEnd:
    """A copy's end: one thread receives, any thread sends."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = threading.Lock()
        os.set_inheritable(sock.fileno(), False)
        sock.setblocking(True)
        self._lines = sock.makefile("rb")

    def send(self, message: Message) -> None:
        """Send a message; OSError: the parent has gone."""
        with self._sending:
            self._sock.sendall(_framed(message))

    def offer(self, message: Message) -> bool:
        """Send a short message if that can be done at once; return whether it was."""
        if not self._sending.acquire(blocking=False):
            return False
        try:  # the system takes a short one as a whole, or not at all
            self._sock.send(_framed(message), socket.MSG_DONTWAIT)
        except OSError:
            return False
        finally:
            self._sending.release()
        return True

    def receive(self) -> Iterator[Message]:
        """Wait for messages and give them, until the parent has gone."""
        with suppress(OSError):
            while (line := self._lines.readline()).endswith(b"\n"):
                yield json.loads(line)


class Notifications:
    """Receives what copies notify of: ready, stopping, the watchdog."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock.bind("")  # an abstract name, which leaves nothing behind
        self.address: str = "@" + self._sock.getsockname()[1:].decode()
        """The value of ``NOTIFY_SOCKET``."""

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._sock.fileno()

    def receive(self) -> Iterator[tuple[int, list[str]]]:
        """Give what has come: the process that the system says it is from, and the lines."""
        with suppress(BlockingIOError):
            while True:
                text, extra, *_ = self._sock.recvmsg(65536, socket.CMSG_SPACE(_CREDENTIALS.size))
                for _, _, data in extra:
                    yield _CREDENTIALS.unpack(data)[0], text.decode(errors="replace").splitlines()

    def close(self) -> None:
        """Close it."""
        self._sock.close()
