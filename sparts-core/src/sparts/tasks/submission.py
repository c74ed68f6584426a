"""Submission: the future of a submitted item, which a coroutine may await."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from sparts.generic import Result

if TYPE_CHECKING:
    from collections.abc import Generator


class Submission(Future[Result]):
    """A `concurrent.futures.Future` that a coroutine may ``await``, too."""

    def __await__(self) -> Generator[Any, None, Result]:
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None and asyncio._get_running_loop() is not None:
            result: Result = yield from asyncio.wrap_future(self).__await__()
            return result
        if not self.done():
            yield self  # to the loop of a `SelectTask`
        return self.result()
