"""Messages that somebody waits for: who sends them, and that many threads may."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import get_ident
from typing import Any

import pytest
from sparts.tasks.amqp.link import Link
from sparts.tasks.amqp.messages import item_message
from sparts.tasks.amqp.publishing import Confirmation, Publish, Publisher

from tests.amqp.proxy import Proxy
from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, AsyncEcho, Echo, Producer, until, working

pytestmark = pytest.mark.one_python
THREADS = 8


class Noting(Publisher):
    """Notes which threads send its messages."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.senders: set[int] = set()

    def send(self) -> None:
        """Send what waits."""
        if self._outbox and self.channel is not None:
            self.senders.add(get_ident())
        super().send()


def test_awaited_message_is_sent_by_its_thread(rabbit: Rabbit, queue_name: str) -> None:
    with working(Producer, rabbit.url, queue_name) as task:
        publisher = Noting(task.queue.link)
        publisher.attach()

        def sent_here() -> bool:  # unless the other thread is just awake
            confirmation, publish = Confirmation(), Publish("", queue_name, item_message(b"1", {}))
            confirmation.add(publish)
            publisher.publish_now(publish)
            assert confirmation.wait(0, SOON)
            return get_ident() in publisher.senders

        until(sent_here, "a message that this thread sends")


@pytest.mark.parametrize("kind", [Echo, AsyncEcho])
def test_threads_submit_over_connections_that_break(
    rabbit: Rabbit, queue_name: str, kind: Any
) -> None:
    with Proxy(rabbit.port) as proxy, working(kind, proxy.url, queue_name) as task:
        link = task.queue.link

        def broken(times: int) -> bool:
            return bool(link.n_losses >= times)

        def submit(thread: int) -> list[int]:
            items = range(100 * thread, 100 * thread + 50)
            return [task.submit(item).result(SOON) for item in items]

        with ThreadPoolExecutor(THREADS) as threads:
            found = threads.map(submit, range(THREADS))
            for number, after in enumerate((1001, 10_007, 20_011), 1):  # all answers have 100,000
                proxy.cut(after)
                until(partial(broken, number), "a connection that breaks")
            assert list(found) == [
                list(range(100 * thread, 100 * thread + 50)) for thread in range(THREADS)
            ]
