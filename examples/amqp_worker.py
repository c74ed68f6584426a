"""One of two services: works on the items that examples/amqp_shop.py puts in, on any machine.

    python examples/amqp_worker.py --mailer-broker amqp://guest:guest@localhost/
"""

from sparts.tasks.amqp import AMQPQueueTask, ExecuteContext, TryLater
from sparts.vservice import VService


class Mailer(AMQPQueueTask[str, int]):
    OPT_PREFIX = "mailer"
    QUEUE = "mail"
    WORKERS = 4
    MAX_ATTEMPTS = 5

    def execute(self, item: str, context: ExecuteContext) -> int:
        if context.attempt == 1:
            raise TryLater("greylisted", after=0.1)
        self.logger.info("sent to %s at attempt %d", item, context.attempt)
        return len(item)


class Worker(VService):
    TASKS = [Mailer]


if __name__ == "__main__":
    Worker.initFromCLI()
