"""Plain Twisted in the main thread: runs `true` often; prints the seconds to the last end."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.protocol import ProcessProtocol

reactor: Any = installed


class Counts(ProcessProtocol):
    """Counts the ends."""

    left = 0

    def processEnded(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Count one."""
        Counts.left -= 1
        if not Counts.left:
            reactor.stop()


def run(count: int) -> None:
    """Start all."""
    Counts.left = count
    for _ in range(count):
        reactor.spawnProcess(Counts(), "/bin/true", ["true"], env=None)


if __name__ == "__main__":
    began: list[float] = []
    reactor.callWhenRunning(lambda: began.append(perf_counter()))
    reactor.callWhenRunning(run, int(sys.argv[1]))
    reactor.run()
    sys.stdout.write(f"{perf_counter() - began[0]}\n")
