"""Where threads and coroutines are just now, as text for the log."""

from __future__ import annotations

import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection


def format_thread(thread: threading.Thread) -> str:
    """Return the stack of a thread, innermost call last; empty when it has ended."""
    frame = sys._current_frames().get(thread.ident or -1)
    if frame is None:
        return ""
    return f"Thread {thread.name}:\n{''.join(traceback.format_stack(frame))}"


def format_threads(without: Collection[threading.Thread] = ()) -> str:
    """Return the stacks of all threads of this process but those."""
    return "".join(format_thread(each) for each in threading.enumerate() if each not in without)


def format_coroutines(loop: asyncio.AbstractEventLoop) -> str:
    """Return where each asyncio task of a loop waits; from any thread."""
    import asyncio

    for _ in range(10):  # the set of tasks may change while it is copied
        try:
            tasks = asyncio.all_tasks(loop)
            break
        except RuntimeError:
            continue
    else:
        return ""
    return "".join(map(format_coroutine, tasks))


def format_coroutine(task: asyncio.Task[Any]) -> str:
    """Return where an asyncio task waits: what it awaits, what that awaits, and so on."""
    waits: Any = task.get_coro()
    lines = [f"Coroutine {task.get_name()} ({getattr(waits, '__qualname__', '?')}):\n"]
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None)
        if frame is not None:
            lines.extend(traceback.format_list(traceback.extract_stack(frame, limit=1)))
        waits = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
    return "".join(lines)
