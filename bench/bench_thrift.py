"""Calls a second of NBServerTask, against Apache's and thriftpy2's servers, and what rest costs.

Every server is a process of its own, with handlers that do nothing, asked by a client in C. With
one connection, client and server take turns: they are judged where they share a core. On two cores
most of a call is the waking of a processor, which takes as long whatever is run, and much longer or
shorter from round to round; that is listed without a target.

With many connections, servers of a thread each are slowed down by the interpreter's lock where two
cores are free, as the threads on both wait for each other, and are not where all run on one core.
So they are two to four times as slow as ours on free cores, and about as fast on one that the
client shares. Both are measured; the second is listed without a target.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Self

from bench.harness import Report, interleave
from bench.processes import count_switches, on_core

HERE = Path(__file__).resolve().parent / "thrift"
ROOT = HERE.parents[1]
OURS = ("sparts inline", "sparts threads")
APACHE = ("Apache TThreadedServer", "Apache TThreadPoolServer", "Apache TNonblockingServer")
THRIFTPY2 = ("thriftpy2 TThreadedServer", "thriftpy2 aio")
MANY = (8, 64)
SECONDS = 0.25
ROUNDS = 15
TURNS_SECONDS, TURNS = 0.1, 75
IDLE = 5.0


class Load(NamedTuple):
    """What the client found."""

    rate: float
    """Calls a second."""
    p99: float
    """Microseconds."""


class Server:
    """A server's process."""

    def __init__(self, name: str, folder: Path) -> None:
        command = [sys.executable, "-m", "bench.thrift.serve", name, str(folder)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} did not start")
        self.port = int(line)

    def __enter__(self) -> Self:
        """Give the server."""
        return self

    def __exit__(self, *error: object) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


def prepare(folder: Path) -> None:
    """Make the client, the code of the service, and the requests."""
    for tool in ("cc", "thrift"):
        if shutil.which(tool) is None:
            raise SystemExit(f"The benchmark of thrift needs {tool}: make system-packages")
    run("cc", "-O2", "-o", str(folder / "load"), str(HERE / "load.c"))
    run("thrift", "--gen", "py", "-out", str(folder), str(HERE / "echo.thrift"))
    sys.path.insert(0, str(folder))
    from echo import Echo, ttypes  # type: ignore[import-not-found]
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.transport.TTransport import TMemoryBuffer

    blob = ttypes.Blob(
        name="blob",
        number=1 << 40,
        text="x" * 260,
        numbers=list(range(20)),
        labels={f"k{number}": "value" for number in range(5)},
        flag=True,
        ratio=0.5,
    )
    calls: dict[str, Callable[[Any], None]] = {
        "small": lambda client: client.send_small("hello"),
        "large": lambda client: client.send_large(blob),
    }
    for name, call in calls.items():
        buffer = TMemoryBuffer()
        call(Echo.Client(TBinaryProtocol(buffer)))
        content = buffer.getvalue()
        (folder / f"{name}.frame").write_bytes(len(content).to_bytes(4) + content)


def run(tool: str, *arguments: str) -> None:
    """Run a tool to its end."""
    subprocess.run([shutil.which(tool) or tool, *arguments], check=True)


def load(folder: Path, server: Server, connections: int, frame: str, seconds: float) -> Load:
    """Ask a server for a while."""
    asked = str(folder / f"{frame}.frame")
    command = [str(folder / "load"), str(server.port), str(connections), str(seconds), asked]
    output = subprocess.check_output(command, text=True)
    calls, seconds, _, p99 = map(float, output.split())
    return Load(calls / seconds, p99)


def best_of(rounds: dict[str, list[Load]], names: tuple[str, ...]) -> str:
    """Give the fastest of some servers."""
    return max(names, key=lambda name: median(load.rate for load in rounds[name]))


@contextmanager
def serving(folder: Path) -> Iterator[dict[str, Server]]:
    """Run all servers, each idle while another is asked."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Server(name, folder)) for name in (*OURS, *APACHE, *THRIFTPY2)
        }


def compare(
    report: Report,
    servers: dict[str, Server],
    folder: Path,
    connections: int,
    seconds: float,
    rounds: int,
    where: str = "",
    judged: bool = True,
) -> None:
    """Measure every server with a number of connections, and judge ours if it is to be judged."""
    for frame, size in (("small", "a small text"), ("large", "a struct of 500 bytes")):
        found: dict[str, list[Load]] = interleave(
            {
                name: partial(load, folder, server, connections, frame, seconds)
                for name, server in servers.items()
            },
            rounds=rounds,
        )
        what = f"{size}, {connections} connection{'s' if connections > 1 else ''}{where}"
        for mine, group, factor in (
            (OURS[0], APACHE, 1.7 if connections > 1 else 1.0),
            (OURS[0], THRIFTPY2, 1.1 if connections > 1 else 1.0),
            (OURS[1], APACHE, 1.2 if connections > 1 else 1.0),
        ):
            peer = best_of(found, group)
            judge(report, f"{mine}: {what}", found, mine, peer, factor if judged else None)


PARITY = (
    "With one client, thriftpy2's server (Cython, without counters) is as fast as ours within a "
    "few percent, and one run differs from the next by as much."
)


def judge(
    report: Report,
    label: str,
    rounds: dict[str, list[Load]],
    mine: str,
    peer: str,
    at_least: float | None,
) -> None:
    """Compare the calls a second and the latency of two servers; without a target if it is None."""
    ours, theirs = rounds[mine], rounds[peer]
    why = PARITY if peer in THRIFTPY2 else ""
    report.ratio(
        f"{label}: calls a second",
        [load.rate for load in ours],
        [load.rate for load in theirs],
        peer=peer, at_least=at_least, unit="/s", why=why,
    )  # fmt: skip
    report.ratio(
        f"{label}: 99th percentile",
        [load.p99 for load in ours],
        [load.p99 for load in theirs],
        peer=peer, at_most=None if at_least is None else 1.0, unit="us", why=why,
    )  # fmt: skip


def rest(report: Report, folder: Path) -> None:
    """Count the wake-ups of a server that has nothing to do."""
    with Server(OURS[1], folder) as server:
        load(folder, server, 8, "small", SECONDS)
        time.sleep(1.0)
        before = count_switches(server.process.pid)
        time.sleep(IDLE)
        switches = count_switches(server.process.pid) - before
    report.value(f"wake-ups in {IDLE:g} s of rest", [switches], at_most=0, unit="switches")


def main() -> None:
    """Measure all of it."""
    packages = ["sparts-thrift", "thrift", "thriftpy2"]
    with (
        tempfile.TemporaryDirectory() as name,
        Report("thrift", packages=packages) as report,
    ):
        folder = Path(name)
        prepare(folder)
        with on_core(0), serving(folder) as servers:
            compare(report, servers, folder, 1, TURNS_SECONDS, TURNS)
            for connections in MANY:
                where = ", all on one core"
                compare(report, servers, folder, connections, SECONDS, ROUNDS, where, judged=False)
        with serving(folder) as servers:
            where = ", on any core"
            compare(report, servers, folder, 1, SECONDS, ROUNDS, where, judged=False)
            for connections in MANY:
                compare(report, servers, folder, connections, SECONDS, ROUNDS)
        rest(report, folder)


if __name__ == "__main__":
    main()
