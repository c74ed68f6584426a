"""What a user of the broker may do changes while the service runs."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.tasks.amqp.link import Link
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
    rabbit: Rabbit, user: str, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker closes the channel at each of them."""
    opened: list[Any] = []
    original = Link._open

    def opening(link: Link, client: Any) -> None:
        opened.append(client)
        original(link, client)

    monkeypatch.setattr(Link, "_open", opening)
    with working(Echo, user, queue_name) as task, log_of(task.service) as log:
        rabbit.control("set_permissions", "another", ".*", "^$", ".*")
        rabbit.control("close_all_connections", "on purpose")  # else it keeps what it has found
        with contextlib.suppress(queue.Full):
            task.queue.put("refused", timeout=0.5)
        log.wait_for_line("has closed a channel: ACCESS_REFUSED")
        before = len(opened)
        with pytest.raises(queue.Full):
            task.queue.put("refused", timeout=2.0)
        assert len(opened) - before < 20
        rabbit.control("set_permissions", "another", *ALL)
        task.queue.put("taken")
        while task.seen.get(timeout=2 * SOON)[0] != "taken":
            pass


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
