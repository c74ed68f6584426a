"""Keeps open pages up to date, over server-sent events, while and only while there are any.

Once a `TICK` the service is asked for the sections of the page. Each page gets those that have
changed since what it got last; one that reads slowly gets fewer updates, never a queue of them. The
format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.errors import describe
from sparts.tasks.tornado.status.control import guard_of
from sparts.tasks.tornado.status.handlers import Handler, RefusedError

from tornado.iostream import StreamClosedError

if TYPE_CHECKING:
    from sparts.tasks.tornado.status.base import StatusTask

WATCHERS = 32
"""How many pages may be open at once."""


class Section(NamedTuple):
    """A part of the page as it was sent: as JSON, and since which tick it is so."""

    text: str
    since: int


class Source:
    """Where a feed takes what it sends from: this service.

    Args:
        task: whose service it is.
    """

    def __init__(self, task: StatusTask) -> None:
        self._task = task

    async def page(self) -> dict[str, Any]:
        """Return the sections of the page."""
        found: dict[str, Any] = await self._task.asker.ask("page")
        return found

    def history(self, keys: list[str]) -> Any:
        """Return the past of some numbers."""
        return self._task.history.told(keys)

    def lines(self, after: int) -> list[dict[str, Any]]:
        """Return the log lines after a number."""
        return [each._asdict() for each in self._task.recent.after(after)]


def shown_keys(sections: dict[str, Any]) -> list[str]:
    """Return the keys of the numbers whose past the page shows."""
    keys = (each["key"] for each in sections["tasks"])
    return [*sections["headline"], *filter(None, keys)]


class Feed:
    """Asks the service once a tick while pages are open. Everything here is in the loop's thread.

    Args:
        task: whose service it is.
        source: where the page comes from; None: that service.
    """

    def __init__(self, task: StatusTask, source: Source | None = None) -> None:
        self._task = task
        self.source: Source = source or Source(task)
        """Where the page and the log lines come from."""
        self._pages: set[Events] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._sections: dict[str, Section] = {}
        self._shown: list[str] = []
        self._tick = 0
        self._closed = False

    def join(self, page: Events) -> None:
        """Take in a page, and begin to tick if it is the first.

        Raises:
            RefusedError: there are too many already, or the server stops.
        """
        if self._closed or len(self._pages) >= WATCHERS:
            why = (
                "The server stops."
                if self._closed
                else f"As many pages are open as there may be: {WATCHERS}."
            )
            raise RefusedError(503, why)
        self._pages.add(page)
        if self._ticking is None:
            name = f"{self._task._supervisor.logger.name} feed"
            self._ticking = asyncio.get_running_loop().create_task(self._run(), name=name)

    def leave(self, page: Events) -> None:
        """Let a page go, and tick no more if it was the last."""
        self._pages.discard(page)
        self._tell()
        if not self._pages and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def close(self) -> None:
        """End all pages' connections."""
        self._closed = True
        for page in list(self._pages):
            page.cut()
            self.leave(page)

    async def after(self, page: Events, tick: int) -> int | None:
        """Wait for the next tick after one, and return its number; None when the page is gone."""
        while page in self._pages:
            if self._tick > tick:
                return self._tick
            await self._news.wait()
        return None

    def message(self, since: int) -> str:
        """Return what has changed after a tick as one event; 0: everything, with the past."""
        parts = {name: each.text for name, each in self._sections.items() if each.since > since}
        if not since:
            parts["history"] = _json(self.source.history(self._shown))
        body = ",".join(f"{_json(name)}:{text}" for name, text in parts.items())
        return f"data: {{{body}}}\n\n"

    async def _run(self) -> None:
        while True:
            try:
                self._take(await self.source.page())
            except Exception as error:  # one that is shown to the person, and passes
                why = describe(error)
                self._task.logger.warning(
                    "The status page could not be brought up to date: %s", why
                )
            self._tell()
            await asyncio.sleep(self._task.TICK)

    def _take(self, sections: dict[str, Any]) -> None:
        self._shown = shown_keys(sections)
        self._tick += 1
        for name, content in sections.items():
            text = _json(content)
            known = self._sections.get(name)
            if known is None or known.text != text:
                self._sections[name] = Section(text, self._tick)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Events(Handler):
    """``/events?copy=NUMBER``: the stream that keeps a page up to date, of this or another copy."""

    _busy = False
    _feed: Feed | None = None

    async def get(self) -> None:
        """Send what has changed until the page is closed or the server stops."""
        copies, copy = self.task.copies, self.get_query_argument("copy", "")
        feed: Feed = copies.feed(copy) if copies and copy else self.task.feed
        feed.join(self)
        self._feed = feed
        try:
            self.set_header("Content-Type", "text/event-stream; charset=utf-8")
            guard = _json(guard_of(self.task, self.request))
            self.write(f"retry: 1000\nevent: guard\ndata: {guard}\n\n")
            await self._send()
            await self._watch(feed)
        except StreamClosedError:
            pass
        finally:
            feed.leave(self)

    async def _watch(self, feed: Feed) -> None:
        seen, line = 0, 0
        while (tick := await feed.after(self, seen)) is not None:
            self.write(feed.message(seen))
            lines = feed.source.lines(line)
            if lines:
                line = lines[-1]["number"]
                self.write(f"event: log\ndata: {_json(lines)}\n\n")
            seen = tick
            await self._send()

    async def _send(self) -> None:
        self._busy = True
        await self.flush()
        self._busy = False

    def head(self, *args: str) -> None:
        """Answer without a stream."""
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")

    def cut(self) -> None:
        """End the connection at once if it waits for a page that does not read."""
        if self._busy:
            stream: Any = getattr(self.request.connection, "stream", None)
            stream.close()

    def on_connection_close(self) -> None:
        """Let the page go; called by Tornado when it has closed the connection."""
        if self._feed is not None:
            self._feed.leave(self)


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
