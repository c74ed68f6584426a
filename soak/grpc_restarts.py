"""10,000 gRPC calls or more over restarts, each by a new connection, of which none may fail.

    python -m soak.grpc_restarts [--calls 10000] [--clients 8] [--every 0.25] [--kept]

The service restarts every so many seconds, five times at least. With ``--kept``, the clients share
one connection, which they keep. A client retries on UNAVAILABLE, as gRPC has it. Ends with 1 if any
call has failed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc

from tests.grpc.greeters import Text, pb2_grpc
from tests.grpc.test_restart import OPTIONS, call, process

RESTARTS = 5
"""How many there are at least."""
AT_ONCE = 1000
"""How many calls are made before it looks whether these were enough."""


class Found(NamedTuple):
    """What came of the calls."""

    made: int
    answered: int
    failed: Counter[str]
    restarts: int


def run(calls: int, clients: int, every: float, kept: bool) -> Found:
    """Make the calls while the service restarts."""
    answered: list[int] = []
    failed: Counter[str] = Counter()
    over = threading.Event()
    with process() as target, grpc.insecure_channel(target, OPTIONS) as channel:
        restarts = 0

        def restart() -> None:
            nonlocal restarts
            while not over.wait(every):
                pb2_grpc.GreeterStub(channel).Greet(Text(text="restart"), timeout=60)
                restarts += 1

        def caller(_: int) -> None:
            try:
                answer = call(target, channel if kept else None, "you")
            except grpc.RpcError as error:
                failed[str(error.code())] += 1
            else:
                answered.append(answer == "Hello, you")

        restarter = threading.Thread(target=restart)
        restarter.start()
        try:
            with ThreadPoolExecutor(clients) as callers:
                made = 0
                while made < calls or restarts < RESTARTS:
                    list(callers.map(caller, range(AT_ONCE)))
                    made += AT_ONCE
        finally:
            over.set()
            restarter.join()
    return Found(made, sum(answered), failed, restarts)


def main() -> int:
    """Do as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--every", type=float, default=0.25, help="seconds between two restarts")
    parser.add_argument("--kept", action="store_true", help="share one connection")
    wanted = parser.parse_args()
    began = time.monotonic()
    found = run(wanted.calls, wanted.clients, wanted.every, wanted.kept)
    seconds = time.monotonic() - began
    print(
        f"{found.answered:,} of {found.made:,} calls were answered in {seconds:.0f} s, during "
        f"{found.restarts} restarts; failed: {dict(found.failed) or 0}"
    )
    return 0 if found.answered == found.made else 1


if __name__ == "__main__":
    sys.exit(main())
