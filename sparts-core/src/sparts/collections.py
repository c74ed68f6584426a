"""UniqueQueue: a queue without equal items, for what is no task.

For a task, see `sparts.tasks.queue.UniqueQueueTask`.
"""

from __future__ import annotations

from queue import Queue
from typing import Any

__all__ = ["Duplicate", "UniqueQueue"]


class Duplicate(Exception):  # noqa: N818 - the established name
    """An equal item is in the queue already."""


class UniqueQueue(Queue[Any]):
    """A `queue.Queue` that refuses an item which is equal to one in it; items must be hashable.

    Attributes:
        silent: whether such an item is left out without an error. False at first: `put` raises
            `Duplicate`.
        explicit_unsee: whether an item counts as in the queue until `unsee` is called for it, also
            after it was taken out. False at first.
    """

    def __init__(self, maxsize: int = 0) -> None:
        """Make an empty queue for ``maxsize`` items; 0: any number."""
        super().__init__(maxsize)
        self.silent = False
        self.explicit_unsee = False

    def unsee(self, item: Any) -> None:
        """Let equal items in again; without effect unless ``explicit_unsee``."""
        if self.explicit_unsee:
            with self.mutex:
                self._seen.discard(item)

    # -- called by `queue.Queue`, with its lock held -------------------------------------------

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._seen: set[Any] = set()

    def _put(self, item: Any) -> None:
        if item not in self._seen:
            self._seen.add(item)
            super()._put(item)
        elif self.silent:
            # `put` counts it, and nobody will call `task_done` for it.
            self.unfinished_tasks: int = self.unfinished_tasks - 1
        else:
            raise Duplicate(f"{item!r} is in the queue already.")

    def _get(self) -> Any:
        item = super()._get()
        if not self.explicit_unsee:
            self._seen.discard(item)
        return item
