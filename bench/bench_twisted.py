"""Twisted's reactor as a task against plain Twisted: echoes a second, and the ends of processes."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.harness import Report, interleave

FOLDER = Path(__file__).with_name("twisted")
CONNECTIONS = 16
MESSAGE = b"x" * 512
ECHOES = 15_000
PAIRS = 5
COMMANDS = 1000


@contextlib.contextmanager
def serving(script: str) -> Iterator[int]:
    """Run an echo server, and give its port."""
    server = subprocess.Popen(
        [sys.executable, str(FOLDER / script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
        server.stdout.close()


def echoes_per_second(port: int) -> float:
    """Have messages echoed on some connections at once, one at a time on each."""
    with contextlib.ExitStack() as stack:
        clients: dict[int, socket.socket] = {}
        poll = stack.enter_context(select.epoll())
        for _ in range(CONNECTIONS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
        began = time.perf_counter()
        for client in clients.values():
            client.sendall(MESSAGE)
        echoed = 0
        while echoed < ECHOES:
            for number, _ in poll.poll():
                clients[number].recv(len(MESSAGE))
                clients[number].send(MESSAGE)
                echoed += 1
        return echoed / (time.perf_counter() - began)


def compare_echoes() -> dict[str, list[float]]:
    """Give the echoes a second of both servers, from several pairs of them, asked in turns.

    Two processes of the same code differ by some percent for all their life.
    """
    found: dict[str, list[float]] = {"sparts": [], "Twisted": []}
    for _ in range(PAIRS):
        with serving("sparts_echo.py") as ours, serving("plain_echo.py") as theirs:
            contenders = {
                "sparts": partial(echoes_per_second, ours),
                "Twisted": partial(echoes_per_second, theirs),
            }
            rates = interleave(contenders, rounds=3, warmup=1)
        for name, each in found.items():
            each += rates[name]
    return found


def seconds_to_end(script: str) -> float:
    """Run processes by a script, and return its seconds from the first start to the last end."""
    command = [sys.executable, str(FOLDER / script), str(COMMANDS)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    """Measure, and print a report."""
    with Report("twisted", packages=["sparts-twisted", "Twisted"]) as report:
        found = compare_echoes()
        label = f"echoes of {len(MESSAGE)} bytes on {CONNECTIONS} connections"
        report.ratio(
            label, found["sparts"], found["Twisted"], peer="Twisted", at_least=0.98, unit="1/s",
            why="An echo takes the same instructions as on Twisted alone, 81,400 by callgrind.",
        )  # fmt: skip
        found = interleave(
            {
                "sparts": partial(seconds_to_end, "sparts_commands.py"),
                "Twisted": partial(seconds_to_end, "plain_commands.py"),
            },
            rounds=3,
            warmup=0,
        )
        label = f"{COMMANDS} x true, from the first start to the last end that is reported"
        report.ratio(label, found["sparts"], found["Twisted"], peer="Twisted", at_most=1.1)


if __name__ == "__main__":
    main()
