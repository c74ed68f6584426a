"""The clients of the soaked service: each a thread that does one thing over and over."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self


class Client(threading.Thread):
    """Does `once` until it must stop; counts what worked, and keeps what did not.

    What fails while `excused` says so (the bus is away) is counted apart.
    """

    PAUSE = 0.005
    """Seconds between two rounds."""

    def __init__(self, name: str, once: Callable[[int], None]) -> None:
        super().__init__(name=name, daemon=True)
        self.once = once
        self.worked = 0
        self.excused_failures = 0
        self.failures: list[str] = []
        self.excused: Callable[[], bool] = lambda: False
        self.close: Callable[[], None] = lambda: None  # called when all clients have ended
        self._over = threading.Event()

    def run(self) -> None:
        """Do it."""
        for number in itertools.count(1):
            if self._over.is_set():
                break
            excused = self.excused()
            try:
                self.once(number)
                self.worked += 1
            except Exception as error:
                if excused or self.excused():
                    self.excused_failures += 1
                else:
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    at = time.strftime("%H:%M:%S")
                    self.failures.append(f"{at} {type(error).__name__}: {error} ({where.name})")
            self._over.wait(self.PAUSE)

    def end(self) -> None:
        """Stop, and wait for the round that is under way."""
        self._over.set()
        self.join()


class Away:
    """Whether a peer is away just now, so that what fails for it is excused.

    One is away at a time: a service that is to start has to find its bus, or ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self) -> bool:
        """Tell whether it is."""
        return self._lock.locked()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class Http:
    """An HTTP client with one connection, which it keeps as long as the service does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Send a request, and give the body of the answer; RuntimeError if its status is not 200.

        A connection that was kept may have been closed since (the service says so where it can); a
        request that found it closed is sent again, once, on a new one, as every client does.
        """
        status, content = self.ask(method, path, body)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {content[:200]!r}")
        return content

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request in the same way, and give the status and the body of the answer."""
        kept = self._connection is not None
        try:
            return self._ask(method, path, body)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.close()
            if not kept:
                raise
            return self._ask(method, path, body)

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            self._connection.request(method, path, body)
            response = self._connection.getresponse()
            content = response.read()
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        return response.status, content

    def json(self, method: str, path: str) -> Any:
        """Send a request, and give the answer as JSON says it."""
        return json.loads(self.request(method, path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def expect(found: object, wanted: object) -> None:
    """Raise unless both are the same."""
    if found != wanted:
        raise RuntimeError(f"{found!r} instead of {wanted!r}")


def http_clients(port: int, folder: Path) -> list[Client]:
    """Make the clients of Web: one for each way in, and those that misbehave."""
    clients = []

    def add(name: str, once: Callable[[Http, int], None], pause: float = 0.005) -> None:
        connection = Http(port)
        client = Client(name, lambda number: once(connection, number))
        client.PAUSE, client.close = pause, connection.close
        clients.append(client)

    for queue in ("Items", "Ranked", "Once", "Coroutines"):
        add(f"HTTP submit {queue}", partial(submit, queue))
    for queue in ("Items", "Ranked", "Coroutines"):
        add(f"HTTP put {queue}", partial(put, queue))
    add("HTTP echo", echo)
    for path, wanted in WORKS.items():
        add(f"HTTP {path}", partial(works, path, wanted), 0.1)
    add("HTTP signal", lambda web, n: post(web, "/signal"), 0.02)
    clients += [
        Client("HTTP killed in the middle", lambda n: kill_in_the_middle(port)),
        Client("files", lambda n: touch(folder / f"file-{n % 10}")),
    ]
    for client in clients[-2:]:
        client.PAUSE = 0.05
    return clients


WORKS = {"/program": "meow", "/command": "meow", "/fetch": "Hello, world"}
"""What the service is asked to do, and what comes of it."""


def works(path: str, wanted: str, web: Http, number: int) -> None:
    """Ask for something, and check what comes of it."""
    expect(web.json("POST", path)["result"], wanted)


def submit(queue: str, web: Http, number: int) -> None:
    """Hand in a number and check its double."""
    if number % 10 == 0:
        web.close()  # a new connection for the next ten
    expect(web.json("POST", f"/submit/{queue}?n={number}")["result"], 2 * number)


def put(queue: str, web: Http, number: int) -> None:
    """Hand in a number."""
    web.request("POST", f"/put/{queue}?n={number}")


def post(web: Http, path: str) -> None:
    """Ask for something."""
    web.request("POST", path)


def echo(web: Http, number: int) -> None:
    """Send a body of some size and get it back."""
    body = bytes([number % 256]) * random.randrange(1, 50_000)  # noqa: S311 - no secret
    expect(web.request("POST", "/echo", body) == body, True)


def kill_in_the_middle(port: int) -> None:
    """Send half a request, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"POST /submit/Items?n=3 HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")


def status_clients(port: int) -> list[Client]:
    """Make the clients of Status."""

    def metrics(web: Http, number: int) -> None:
        expect(b"sparts_beats_total" in web.request("GET", "/metrics"), True)

    def described(web: Http, number: int) -> None:
        expect(web.json("GET", "/status.json")["name"], "Soaked")

    clients = []
    for name, once in {"/metrics": metrics, "/status.json": described}.items():
        web = Http(port)
        clients.append(Client(f"status {name}", partial(once, web)))
        clients[-1].close, clients[-1].PAUSE = web.close, 0.2
    return clients


def touch(path: Path) -> None:
    """Make a file, and remove it."""
    path.write_text("here", encoding="utf-8")
    path.unlink()
