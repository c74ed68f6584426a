"""50,000 items on RabbitMQ while workers are killed and the broker is restarted; none may be lost.

    python -m soak.amqp_faults [--items 50000] [--seconds-between-kills 5]

For threads and for coroutines: four worker processes, one of which is killed by SIGKILL every five
seconds, and a broker that is killed once and restarted once in order. Then four rolling restarts by
SIGTERM. Says how many items were lost and how many were done twice; ends with 1 if any was lost, or
if more were done twice than the kills explain.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sparts.tasks.amqp import AMQPQueueTask
from sparts.vservice import VService

from tests.amqp.crew import Crew, crew_of
from tests.amqp.rabbit import Rabbit

PREFETCH = 4
WORKERS = 4
RESTARTS = 2
MOST_UNCONFIRMED = 1001
"""Of how many items `put_many` may not know, when a broker ends, whether it had them."""


class Producer(AMQPQueueTask):
    """Puts the items in."""

    WORKERS = 0
    QUEUE = "soak"
    DELIVERY_LIMIT = 100


class Service(VService):
    """A service of it."""

    TASKS = [Producer]


def main() -> int:
    """Run it for threads and for coroutines, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--seconds-between-kills", type=float, default=5.0)
    wanted = parser.parse_args()
    good = [run(kind, wanted.items, wanted.seconds_between_kills) for kind in ("threads", "async")]
    return 0 if all(good) else 1


def run(kind: str, items: int, pause: float) -> bool:
    """Run it for one kind of worker; False if an item was lost."""
    with tempfile.TemporaryDirectory() as folder, Rabbit() as rabbit:
        service = Service.from_args(["--Producer-broker", rabbit.url, "--level", "WARNING"])
        thread = service.startBG()
        task = service.requireTask(Producer)
        try:
            with crew_of(Path(folder), rabbit.url, "soak", kind, WORKERS) as crew:
                return _work(task, crew, rabbit, items, pause)
        finally:
            service.shutdown()
            thread.join()


def _work(task: Any, crew: Crew, rabbit: Rabbit, items: int, pause: float) -> bool:
    feeding = threading.Thread(target=task.put_many, args=(range(items),), daemon=True)
    feeding.start()
    began, restarts = time.monotonic(), 0
    while (done := len(crew.done())) < items:
        if time.monotonic() - began > 3600:
            break
        if restarts < RESTARTS and done > items * (restarts + 1) // (RESTARTS + 1):
            restarts += 1
            rabbit.kill() if restarts == 1 else rabbit.stop()
            rabbit.start()
        time.sleep(pause)
        crew.replace_one(signal.SIGKILL)
        print(f"{done} done, {crew.kills} kills, {restarts} restarts", flush=True)
    feeding.join()
    for _ in range(WORKERS):
        task.put_many(range(items, items + 100))
        crew.replace_one(signal.SIGTERM)
    while task.queue.qsize():
        time.sleep(0.1)
    found = crew.done()
    lost = sum(str(number) not in found for number in range(items + 100))
    again = sum(found[str(number)] - 1 for number in range(items) if str(number) in found)
    most = PREFETCH * (crew.kills + WORKERS * restarts) + MOST_UNCONFIRMED * restarts
    print(
        f"{crew.kind}: {items} items, {crew.kills} kills, {restarts} restarts of the broker in "
        f"{time.monotonic() - began:.0f} s: {lost} lost, {again} done twice (at most {most})"
    )
    return lost == 0 and again <= most


if __name__ == "__main__":
    sys.exit(main())
