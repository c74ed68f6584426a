"""A service that thrift clients can ask how it is: examples/fb303_client.py does."""
from sparts.counters import counter
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.vservice import VService


class Tick(PeriodicTask):
    INTERVAL = 1.0
    ticks = counter()

    def execute(self, context: ExecuteContext | None = None) -> None:
        self.ticks.increment()


class MyService(VService):
    TASKS = [Tick, "FB303HandlerTask", "NBServerTask"]
    VERSION = "1.0"
    DEFAULT_HOST = "127.0.0.1"


if __name__ == "__main__":
    MyService.initFromCLI()
