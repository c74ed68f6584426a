"""A limit on the memory that the requests of all clients take together."""

from __future__ import annotations

import logging

import pytest
from sparts.net.metering import Requests

LOGGER = logging.getLogger("test.memory")


class Sending:
    """A client that has been sending for some seconds."""

    def __init__(self, requests: Requests, size: int, seconds: float | None) -> None:
        self.seconds = seconds
        self.refused = False
        requests.hold(self, size)

    def sending_for(self) -> float | None:
        """Return for how long."""
        return self.seconds

    def refuse_for_memory(self) -> None:
        """Note it."""
        self.refused = True


def test_slowest_clients_are_refused_first(caplog: pytest.LogCaptureFixture) -> None:
    requests = Requests(1000, LOGGER)
    waits = Sending(requests, 200, None)
    holds, trickles = Sending(requests, 400, 1000.0), Sending(requests, 10, 900.0)
    honest = Sending(requests, 300, 1.0)
    assert not requests.n_refused
    last = Sending(requests, 300, 0.1)
    assert (holds.refused, trickles.refused) == (True, True)
    assert [waits.refused, honest.refused, last.refused] == [False, False, False]
    assert (requests.n_refused, requests.taken) == (2, 800)
    assert requests.hold(last, 400)
    assert not requests.hold(honest, 900)
    assert honest.refused
    assert len(caplog.records) == 1  # in a minute


def test_request_that_came_whole_is_refused_last() -> None:
    requests = Requests(1000, LOGGER)
    waiting = [Sending(requests, 300, None) for _ in range(3)]
    late = Sending(requests, 300, None)
    assert late.refused
    assert not any(each.refused for each in waiting)
    assert (requests.n_refused, requests.taken) == (1, 900)


def test_no_limit_refuses_nobody() -> None:
    requests = Requests(0, LOGGER)
    assert not Sending(requests, 1 << 60, 1.0).refused


def test_what_is_released_gives_room() -> None:
    requests = Requests(1000, LOGGER)
    first = Sending(requests, 900, None)
    requests.release(first)
    requests.release(first)
    assert requests.taken == 0
    assert not Sending(requests, 900, None).refused
