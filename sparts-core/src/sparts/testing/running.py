"""Services that run in the test's own process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from sparts.options import parse_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparts.vservice import VService

S = TypeVar("S", bound="VService")


def make_service(service_class: type[S], *argv: str) -> S:
    """Return a new instance with the options that a command line gives; nothing is started.

    Raises:
        UsageError: as the service itself would end with on that command line.
    """
    return service_class(parse_options(service_class._buildArgumentParser(), argv))


@contextlib.contextmanager
def running(service_class: type[S], *argv: str) -> Iterator[S]:
    """Run a service in the background: started when the block begins, ended when it is left.

    Raises:
        SpartsError: its start failed, or it ended otherwise than in order.
    """
    service = make_service(service_class, *argv)
    thread = service.startBG()
    try:
        yield service
    finally:
        thread.service.shutdown()
        thread.join()
