"""A service in this process, for tests of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sparts.vservice import VService
from sparts.vtask import VTask


def make_service(*tasks: type[VTask], argv: Sequence[str] = ()) -> VService:
    """Make a service of these tasks; nothing starts yet."""
    cls = type("Service", (VService,), {"TASKS": list(tasks)})
    assert issubclass(cls, VService)
    return cls.from_args(list(argv))


@contextmanager
def running(*tasks: type[VTask], argv: Sequence[str] = ()) -> Iterator[VService]:
    """Run a service of these tasks in the background; stop it at the end, which must go well."""
    service = make_service(*tasks, argv=argv)
    thread = service.startBG()
    try:
        yield service
    finally:
        service.shutdown()
        thread.join()
