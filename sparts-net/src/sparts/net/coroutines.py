"""Coroutines that answer calls."""

from __future__ import annotations

import asyncio


def is_cancelled() -> bool:
    """Return whether somebody has cancelled this call; else its method has raised that."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0
