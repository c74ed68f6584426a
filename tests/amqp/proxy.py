"""A TCP proxy that cuts connections in the middle of a frame, or falls silent."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Stands between clients and a broker on this machine.

    Args:
        port: the broker's.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._quota: int | None = None
        self._silent = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """What clients are given."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self, after: int = 0) -> None:
        """Cut each connection that there is when so many more bytes came from the broker."""
        if after:
            self._quota = after
        else:
            self._end_all()

    def fall_silent(self) -> None:
        """Pass nothing on from now on, over any connection that there is, and end none."""
        self._silent = True

    def recover(self) -> None:
        """Serve new connections well; those that are silent stay so."""
        self._silent = False

    def close(self) -> None:
        """Refuse new connections, and end all that there are."""
        with contextlib.suppress(OSError):  # closing alone would leave `accept` waiting
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end_all()

    def _end_all(self) -> None:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._pairs.append((client, broker))
            for one, other, counted in ((client, broker, False), (broker, client, True)):
                threading.Thread(
                    target=self._pass_on, args=(one, other, counted), daemon=True
                ).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, counted: bool) -> None:
        with one, contextlib.suppress(OSError):
            silent = False
            while data := one.recv(65536):
                silent = silent or self._silent
                if silent:
                    continue
                if counted and self._quota is not None:
                    data, self._quota = data[: self._quota], self._quota - len(data)
                    if self._quota <= 0:
                        self._quota = None
                        other.sendall(data)
                        self._end_all()
                        return
                other.sendall(data)
            if not silent:
                other.shutdown(socket.SHUT_RDWR)
