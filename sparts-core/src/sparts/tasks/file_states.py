"""What a name in a directory stands for: a file, what a link leads to, or nothing."""

from __future__ import annotations

import logging
import os
import stat as stats
from collections.abc import Callable
from operator import attrgetter
from typing import Any

_STATE = attrgetter("st_mtime_ns", "st_size", "st_ino", "st_dev")


def same(one: Any, other: Any) -> bool:
    """Return whether two results of `os.stat` mean the same file in the same state."""
    try:
        return bool(_STATE(one) == _STATE(other))
    except AttributeError:  # an overridden `stat` may return what it likes
        return bool(one == other)


def same_inode(one: Any, other: Any) -> bool:
    """Return whether two results of `os.stat` mean the same file."""
    return getattr(one, "st_ino", None) == getattr(other, "st_ino", None)


class FileStates:
    """Looks at paths, and warns once of each that it cannot look at.

    Args:
        stat: called with a path, as `os.stat` is.
        logger: for the warnings.
    """

    def __init__(self, stat: Callable[[str], Any], logger: logging.Logger) -> None:
        self._stat = stat
        self._logger = logger
        self._warned: set[tuple[str, int | None]] = set()

    def look(self, path: str, known: Any) -> Any:
        """Return the state of a file now; None for nothing and for a directory.

        A link that leads nowhere stands for itself. What must not be looked at stays as ``known``.
        """
        try:
            try:
                found = self._stat(path)
                self.works(path)
            except OSError as error:
                found = os.lstat(path)
                if not stats.S_ISLNK(found.st_mode):
                    if not isinstance(error, FileNotFoundError):
                        raise
                    return None  # gone, and there again
                if not isinstance(error, FileNotFoundError):
                    self.warn(path, error)
        except (FileNotFoundError, NotADirectoryError):
            self.works(path)  # so that nothing is kept of names that are gone
            return None
        except OSError as error:
            self.warn(path, error)
            return known
        mode = getattr(found, "st_mode", 0)  # an own `stat` may return an object without one
        return None if isinstance(mode, int) and stats.S_ISDIR(mode) else found

    def warn(self, path: str, error: OSError) -> None:
        """Log why a path cannot be looked at, unless that has been logged before."""
        if (path, error.errno) not in self._warned:
            self._warned.add((path, error.errno))
            self._logger.warning("Cannot look at %s: %s", path, error)

    def works(self, path: str) -> None:
        """Note that a path can be looked at."""
        if self._warned:
            self._warned = {warned for warned in self._warned if warned[0] != path}
