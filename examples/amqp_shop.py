"""The other of two services: puts items in for examples/amqp_worker.py, and waits for an outcome.

    python examples/amqp_shop.py --mailer-broker amqp://guest:guest@localhost/
"""

from concurrent.futures import Future

from sparts.tasks.amqp import AMQPQueueTask, ExecuteContext
from sparts.tasks.periodic import PeriodicTask
from sparts.vservice import VService


class Mailer(AMQPQueueTask[str, int]):
    OPT_PREFIX = "mailer"
    QUEUE = "mail"
    WORKERS = 0  # others do the work


class Orders(PeriodicTask):
    INTERVAL = 1.0
    DEPS = [Mailer]

    def execute(self, context: ExecuteContext | None = None) -> None:
        mailer = self.service.requireTask(Mailer)
        future = mailer.submit("someone@example.org", timeout=5)
        future.add_done_callback(self.sent)

    def sent(self, future: Future[int]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.logger.info("the mail was sent, and had %d characters", future.result())


class Shop(VService):
    TASKS = [Mailer, Orders]


if __name__ == "__main__":
    Shop.initFromCLI()
