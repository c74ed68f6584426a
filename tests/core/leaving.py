"""What a test leaves behind on purpose; each function returns what ends it again."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable


def leave_a_thread() -> Callable[[], object]:
    """Leave a thread behind whose name is 'of mine'."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="of mine", daemon=True)
    thread.start()

    def stop() -> None:
        end.set()
        thread.join()

    return stop


def leave_a_descriptor() -> Callable[[], object]:
    """Leave a file open."""
    return open(os.devnull, "rb").close


def leave_a_coroutine() -> Callable[[], object]:
    """Leave a coroutine behind that waits."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.Event().wait())
    loop.run_until_complete(asyncio.sleep(0))

    def end() -> None:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()

    return end


LEFT = [
    (leave_a_thread, "the thread 'of mine'"),
    (leave_a_descriptor, f"({os.devnull})"),
    (leave_a_coroutine, "the unfinished <Task pending"),
]
"""Each of them, and what the test kit says of it."""
