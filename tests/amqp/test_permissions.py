"""What a user of the broker may do changes while the service runs."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator

import pytest
from sparts.testing import log_of

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, Echo, working

pytestmark = [pytest.mark.one_python, pytest.mark.needs("rabbitmq-server")]
ALL = (".*", ".*", ".*")


@pytest.fixture
def user(rabbit: Rabbit) -> Iterator[str]:
    """The URL of a user of its own, who may do everything."""
    rabbit.control("add_user", "another", "secret")
    rabbit.control("set_permissions", "another", *ALL)
    yield rabbit.url.replace("guest:guest", "another:secret")
    rabbit.control("delete_user", "another")


def test_refused_messages_are_sent_again_less_often(
    rabbit: Rabbit, user: str, queue_name: str
) -> None:
    """The broker closes the channel at each of them."""
    with working(Echo, user, queue_name) as task, log_of(task.service) as log:
        rabbit.control("set_permissions", "another", ".*", "^$", ".*")
        with contextlib.suppress(queue.Full):
            while True:  # the broker keeps what it has found for some seconds
                task.queue.put("refused", timeout=1.0)
        rabbit.control("set_permissions", "another", *ALL)
        task.queue.put("taken", timeout=SOON)
        while task.seen.get(timeout=SOON)[0] != "taken":
            pass
    lines = [line for line in log.items if "has closed a channel: ACCESS_REFUSED" in line]
    assert 0 < len(lines) < 15


@pytest.mark.parametrize("missing", [0, 2], ids=["configure", "read"])
def test_permissions_that_are_missed_for_a_while(
    rabbit: Rabbit, user: str, queue_name: str, missing: int
) -> None:
    """The broker refuses what it has taken before: that may change again."""
    left = ["^$" if number == missing else each for number, each in enumerate(ALL)]
    with working(Echo, user, queue_name) as task:
        rabbit.control("set_permissions", "another", *left)
        with log_of(task.service) as log:
            rabbit.control("close_all_connections", "on purpose")
            log.wait_for_line("WARNING:.*The broker has closed a channel: ACCESS_REFUSED")
        assert not task.ready
        rabbit.control("set_permissions", "another", *ALL)
        task.queue.put("taken", timeout=SOON)
        assert task.seen.get(timeout=SOON)[0] == "taken"
        assert task.ready
