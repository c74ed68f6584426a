"""File descriptors in messages: duplicated, moved between values and their numbers, closed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from dbus_fast import Variant
from sparts.tasks.dbus.errors import NoDescriptorsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dbus_fast import Message
    from dbus_fast.signature import SignatureTree, SignatureType


def may_have_fds(signature: str) -> bool:
    """Return whether values of these types may have file descriptors in them."""
    return "h" in signature or "v" in signature


def with_indices(tree: SignatureTree, body: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return a body with indices for its descriptors and file objects, and these in order."""
    files: list[Any] = []

    def index_of(file: Any) -> int:
        if file not in files:
            files.append(file)
        return files.index(file)

    return _swapped_all(tree.types, body, index_of), files


def with_fds(message: Message, took: Callable[[int], object] = lambda index: None) -> list[Any]:
    """Return the body of a message with its descriptors in place of their indices.

    Args:
        message: the message, whose descriptors they stay.
        took: called with each index.

    Raises:
        NoDescriptorsError: the message came with fewer descriptors than it names.
    """

    def fd_of(index: int) -> int:
        if index >= len(message.unix_fds):
            raise NoDescriptorsError(f"descriptor {index} did not come along with the message")
        took(index)
        return message.unix_fds[index]

    return _swapped_all(message.signature_tree.types, message.body, fd_of)


def take_fds(message: Message) -> list[Any]:
    """Return the body of a message with its descriptors, which are the caller's from then on.

    Those that the body does not name are closed.

    Raises:
        NoDescriptorsError: the message came with fewer descriptors than it names.
    """
    taken: set[int] = set()
    try:
        body = with_fds(message, taken.add)
    except BaseException:
        taken.clear()
        raise
    else:
        return body
    finally:
        left = [fd for index, fd in enumerate(message.unix_fds) if index not in taken]
        message.unix_fds = []
        close_all(left)


def _swapped_all(
    kinds: Iterable[SignatureType], values: Iterable[Any], swap: Callable[[Any], int]
) -> list[Any]:
    return [_swapped(kind, value, swap) for kind, value in zip(kinds, values, strict=True)]


def _swapped(kind: SignatureType, value: Any, swap: Callable[[Any], int]) -> Any:
    """Return a value with each descriptor in it replaced; what is given stays as it is."""
    if not may_have_fds(kind.signature):
        return value
    if kind.token == "h":
        return swap(value)
    if kind.token == "v":
        inner = _swapped(value.type, value.value, swap)
        return value if inner is value.value else Variant(value.signature, inner, verify=False)
    if kind.token != "a":
        return _swapped_all(kind.children, value, swap)
    item = kind.children[0]
    if item.token != "{":
        return [_swapped(item, one, swap) for one in value]
    key_kind, value_kind = item.children
    return {
        _swapped(key_kind, key, swap): _swapped(value_kind, one, swap) for key, one in value.items()
    }


def duplicated(files: Sequence[Any]) -> list[int]:
    """Return duplicates of file descriptors, given as numbers or as file objects."""
    found: list[int] = []
    try:
        for file in files:
            found.append(os.dup(file if isinstance(file, int) else file.fileno()))  # noqa: PERF401
    except BaseException:
        close_all(found)
        raise
    return found


def hand_over(files: Sequence[Any]) -> None:
    """Close the file objects among what was duplicated; numbers stay whose they were."""
    for file in files:
        if not isinstance(file, int):
            file.close()


def release(message: Message) -> None:
    """Close the descriptors that a message still has."""
    if message.unix_fds:
        fds, message.unix_fds = message.unix_fds, []
        close_all(fds)


def close_all(fds: Sequence[int]) -> None:
    """Close file descriptors."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
