"""Functions that run in threads of their own while a test goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_threads(*functions: Callable[[], object]) -> Iterator[None]:
    """Run functions, which begin together, while the block runs, and wait for them.

    What one raises is raised here.
    """
    errors: list[BaseException] = []
    together = threading.Barrier(len(functions))

    def run(function: Callable[[], object]) -> None:
        try:
            together.wait()
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def run_in_threads(*functions: Callable[[], object]) -> None:
    """Run functions at the same time, to their ends."""
    with in_threads(*functions):
        pass
