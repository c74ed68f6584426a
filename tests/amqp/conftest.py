"""One RabbitMQ node for all tests of a process, started when the first needs it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.amqp.rabbit import Rabbit
from tests.needs import require

_numbers = itertools.count(1)


def _node() -> Iterator[Rabbit]:
    require(["rabbitmq-server"])
    with Rabbit() as node:
        yield node


#: A node that no test may restart, block or reconfigure, and one that a test may do anything to.
rabbit = pytest.fixture(_node, scope="session", name="rabbit")
own_rabbit = pytest.fixture(_node, name="own_rabbit")


@pytest.fixture
def queue_name() -> str:
    """Give a name that no other test has."""
    return f"queue-{next(_numbers)}"


@pytest.fixture
def new_name() -> Callable[[], str]:
    """Give names that no other test has."""
    return lambda: f"queue-{next(_numbers)}"
