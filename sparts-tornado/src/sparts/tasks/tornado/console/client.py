"""Asks one service: over its control socket, or at a URL with a token."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from sparts.errors import SpartsError, UsageError, message_of
from sparts.tasks.tornado.console import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 10.0
"""Seconds that a service has to answer."""
PATIENCE = 2.0
"""Seconds that each of several services has to answer; all are asked at once."""
ACTING = 70.0
"""Seconds that an action may take."""


class NoAnswerError(SpartsError):
    """A service did not answer, or refused; the message says why."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost")
        self._path, self._seconds = path, timeout

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(self._path)


class Client:
    """One service, as a person at a terminal asks it. For one thread at a time.

    Args:
        name: what messages call it.
        path: its control socket; ``""``: it is asked at ``url``.
        url: where its status page is.
        token: what lets one act at the URL.
    """

    def __init__(self, name: str, path: str = "", url: str = "", token: str = "") -> None:
        self.name = name
        self.url: str = url
        self._path = path
        self._token = token
        self._timeout = TIMEOUT
        self._stream: http.client.HTTPConnection | None = None

    def connect(self, timeout: float | None = TIMEOUT) -> http.client.HTTPConnection:
        """Return a new connection; ``timeout`` is in seconds, None waits for any time."""
        if self._path:
            return _UnixConnection(self._path, timeout)
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=os.environ.get("SPARTS_STATUS_CA"))
            return http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
        return http.client.HTTPConnection(parts.netloc, timeout=timeout)

    def find_again(self, since: float) -> None:
        """Ask the process that has the name now, if one alone has started since a time."""
        known = registry.find() if self._path else []
        found = [each for each in known if each.name == self.name and each.started > since]
        if len(found) == 1:
            self._path, self.url = found[0].socket, found[0].url

    def get(self, path: str) -> str:
        """Return the text at a path, such as ``stacks``.

        Raises:
            NoAnswerError: there is none.
        """
        return self._ask("GET", path, None, {}, self._timeout)

    def read(self, path: str) -> Any:
        """Return the JSON at a path; errors as of `get`."""
        try:
            return json.loads(self.get(path))
        except ValueError:
            raise NoAnswerError(f"{self.name} is no status page of a service.") from None

    def status(self) -> dict[str, Any]:
        """Return ``status.json``; errors as of `get`."""
        found = self.read("status.json")
        if not isinstance(found, dict) or not {"tasks", "uptime"} <= found.keys():
            raise NoAnswerError(f"{self.name} is no status page of a service.")
        return found

    def status_soon(self) -> dict[str, Any]:
        """Return ``status.json``, or why there is none within `PATIENCE`: a ``problem``."""
        self._timeout = PATIENCE
        try:
            return self.status()
        except NoAnswerError as error:
            silent = isinstance(error.__cause__, OSError)
            state = "does not answer" if silent else "?"
            return {"status": state, "problem": message_of(error)}
        finally:
            self._timeout = TIMEOUT

    def task(self, name: str) -> Any:
        """Return everything about one task."""
        return self.read(f"task.json?name={quote(name)}")

    def act(self, action: str, **body: Any) -> str:
        """Ask for an action, and return what the service says.

        Raises:
            NoAnswerError: it refused; the message says why.
        """
        headers = {"Content-Type": "application/json", "X-Sparts-Control": "1"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        text = self._ask("POST", f"control/{action}", json.dumps(body), headers, ACTING)
        return str(json.loads(text)["message"])

    def events(self, copy: int = 0) -> Iterator[tuple[str, Any]]:
        """Give the events of the page as they come, by name; ends when the service does.

        Args:
            copy: which of several copies the page is of; 0: any.

        Raises:
            NoAnswerError: there are none.
        """
        path = f"events?copy={copy}" if copy else "events"
        with self._errors_named(), closing(self.connect(None)) as connection:
            self._stream = connection
            answer = self._answer(connection, "GET", path, None, {})
            name = "message"
            with suppress(http.client.IncompleteRead):  # the service has stopped
                for raw in answer:
                    key, _, value = raw.decode().rstrip("\n").partition(": ")
                    if key == "event":
                        name = value
                    elif key == "data":
                        yield name, json.loads(value)
                    elif not key:
                        name = "message"

    def end_events(self) -> None:
        """End `events`; from any thread."""
        sock: Any = getattr(self._stream, "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _ask(
        self, method: str, path: str, body: str | None, headers: dict[str, str], timeout: float
    ) -> str:
        with self._errors_named(), closing(self.connect(timeout)) as connection:
            return self._answer(connection, method, path, body, headers).read().decode()

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAnswerError(f"{self.name} does not answer: {message_of(error)}") from error

    def _answer(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: str | None,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        root = urlsplit(self.url).path.rstrip("/") if not self._path else ""
        connection.request(method, f"{root}/{path}", body, headers)
        answer = connection.getresponse()
        if answer.status >= 400:
            text = answer.read().decode(errors="replace").strip()
            with suppress(ValueError, KeyError, TypeError):
                text = str(json.loads(text)["message"])
            raise NoAnswerError(text or f"{self.name} answered {answer.status}.")
        return answer


def statuses(clients: list[Client]) -> list[dict[str, Any]]:
    """Return what `Client.status_soon` gives of each; all are asked at once."""
    with ThreadPoolExecutor(max(1, len(clients))) as pool:
        return list(pool.map(Client.status_soon, clients))


def client_of(name: str, token: str = "") -> Client:
    """Return the client of a service by its name, its name and process (``Name:123``), or a URL.

    Raises:
        UsageError: none of that name is announced, or several are.
    """
    if name.startswith(("http://", "https://")):
        return Client(name, url=name, token=token or os.environ.get("SPARTS_STATUS_TOKEN", ""))
    known = registry.find()
    found = [
        each for each in known if name in (each.name, f"{each.name}:{each.pid}", str(each.pid))
    ]
    if len(found) > 1:
        which = ", ".join(f"{each.name}:{each.pid}" for each in found)
        raise UsageError(f"{len(found)} services are named {name!r}: say which of {which}.")
    if not found:
        import difflib

        near = difflib.get_close_matches(name, [each.name for each in known], n=1)
        otherwise = "See `sparts ps`." if known else registry.HOW
        hint = f"Did you mean {near[0]!r}?" if near else otherwise
        raise UsageError(f"No service is announced as {name!r}. {hint}")
    return Client(found[0].name, path=found[0].socket, url=found[0].url)
