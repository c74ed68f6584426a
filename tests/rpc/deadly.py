"""A service whose methods end its process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from sparts.rpc import RPCTask, rpc
from sparts.vservice import VService


def begin(path: str) -> bool:
    """Note in a file that a method has begun; True: it is the first."""
    first = not os.path.exists(path)
    with open(path, "a") as file:
        file.write("begun\n")
    return first


class Deadly(RPCTask):
    """Methods that end the process."""

    @rpc(idempotent=True)
    def meet(self, folder: str, number: int) -> int:
        """Return the pid once so many processes serve this method."""
        Path(folder, str(os.getpid())).touch()
        while len(os.listdir(folder)) < number:
            time.sleep(0.01)  # other processes tell nobody
        return os.getpid()

    @rpc(idempotent=True)
    def die_at_first(self, path: str) -> int:
        """End the process the first time, and return its pid the second."""
        if begin(path):
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    @rpc
    def die_once(self, path: str) -> None:
        """End the process."""
        begin(path)
        os.kill(os.getpid(), signal.SIGKILL)


class Service(VService):
    """Serves them."""

    TASKS = [Deadly, "RPCAMQPTask"]


if __name__ == "__main__":
    Service.initFromCLI()
