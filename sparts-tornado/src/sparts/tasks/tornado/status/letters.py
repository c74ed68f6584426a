"""Dead letters: the items that a queue gave up, kept in memory to be looked at, and tried again."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.errors import describe, text_of
from sparts.masking import masked

if TYPE_CHECKING:
    from sparts.tasks.item_work import ItemWork

MOST = 100
"""How many dead letters of each task are kept."""


class Letter(NamedTuple):
    """An item that was given up."""

    number: int
    time: float
    item: Any
    attempt: int
    error: str


class DeadLetters:
    """The last dead letters of one task. Safe for threads."""

    def __init__(self, task: ItemWork[Any, Any]) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._letters: deque[Letter] = deque(maxlen=MOST)
        queue: Any = task.queue
        self._bury = queue.bury
        queue.bury = self._keep

    def _keep(self, context: Any, error: BaseException) -> None:
        """Take note of an item; called in its worker, in place of the backlog's ``bury``."""
        letter = (time.time(), context.item, context.attempt, describe(error))
        with self._lock:
            self._letters.append(Letter(next(self._numbers), *letter))
        self._bury(context, error)

    def told(self) -> list[dict[str, Any]]:
        """Return them as JSON can carry them, the latest first."""
        with self._lock:
            letters = list(self._letters)
        return [
            {**each._asdict(), "item": shown(each.item), "error": masked(each.error)}
            for each in reversed(letters)
        ]

    def discard(self, number: int) -> bool:
        """Forget one; False: there is none of that number."""
        return self._take(number) is not None

    def retry(self, number: int) -> bool:
        """Put the item of one into the queue again; False: there is none of that number.

        Raises:
            Exception: what `put` of the queue raises. Then the letter is kept.
        """
        letter = self._take(number)
        if letter is None:
            return False
        try:
            self._task.queue.put(letter.item, block=False)
        except BaseException:
            with self._lock:
                self._letters.append(letter)
            raise
        return True

    def _take(self, number: int) -> Letter | None:
        with self._lock:
            found = next((each for each in self._letters if each.number == number), None)
            if found is not None:
                self._letters.remove(found)
            return found


def shown(item: Any) -> str:
    """Return an item as a short text, secrets masked."""
    text: str = masked(text_of(item, repr))
    return text if len(text) <= 200 else text[:200] + "..."
