"""One RabbitMQ node for all tests of a process, started when the first needs it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.amqp.rabbit import Rabbit
from tests.needs import require

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def rabbit() -> Iterator[Rabbit]:
    """Give a node that no test may restart, block or reconfigure."""
    require(["rabbitmq-server"])
    with Rabbit() as node:
        yield node


@pytest.fixture
def own_rabbit() -> Iterator[Rabbit]:
    """Give a node that the test may do anything to."""
    require(["rabbitmq-server"])
    with Rabbit() as node:
        yield node


@pytest.fixture
def queue_name() -> str:
    """Give a name that no other test has."""
    return f"queue-{next(_numbers)}"


@pytest.fixture
def new_name() -> Callable[[], str]:
    """Give names that no other test has."""
    return lambda: f"queue-{next(_numbers)}"
