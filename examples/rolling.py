"""N copies of a service behind one port, and a rolling restart that loses no request.

    python rolling.py 2 8000 python http_by_name.py --level INFO

This process holds the listening socket and never accepts from it. Each copy gets it as systemd
would pass it (LISTEN_FDS), and says when it is ready (NOTIFY_SOCKET). On SIGHUP each copy is
replaced in turn: a new one starts, and when it is ready the old one stops. The socket stays open
all the time, so connections that wait in it go to another copy. SIGTERM stops all of them.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence

SOCKET = 3  # where sd_listen_fds(3) has it
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


def in_child() -> None:
    os.environ["LISTEN_PID"] = str(os.getpid())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def start(command: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """Start a copy, and give it when it is ready; None if it ended before."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM
    ) as told:
        told.bind(os.path.join(folder, "notify"))
        os.environ.update(LISTEN_FDS="1", NOTIFY_SOCKET=told.getsockname())
        copy = subprocess.Popen(command, pass_fds=[SOCKET], preexec_fn=in_child)  # noqa: S603
        pidfd = os.pidfd_open(copy.pid)
        try:
            while told.fileno() in select.select([told.fileno(), pidfd], [], [])[0]:
                if b"READY=1" in told.recv(65536).splitlines():
                    print(f"ready: {copy.pid}", flush=True)
                    return copy
        finally:
            os.close(pidfd)
    print(f"ended with {copy.wait()} before it was ready", flush=True)
    return None


def stop(copy: subprocess.Popen[bytes]) -> int:
    copy.terminate()
    return copy.wait()


def main(copies: str, port: str, *command: str) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # sigwait takes them
    with socket.create_server(("", int(port)), backlog=1024) as listener:
        if listener.fileno() != SOCKET:
            os.dup2(listener.fileno(), SOCKET)
        print(f"port: {listener.getsockname()[1]}", flush=True)
        running = [copy for _ in range(int(copies)) if (copy := start(command)) is not None]
        while running and signal.sigwait(SIGNALS) == signal.SIGHUP:
            for number, old in enumerate(running):
                if (new := start(command)) is None:
                    break  # the old ones stay
                running[number] = new
                stop(old)
            else:
                print("all replaced", flush=True)
        return max([stop(copy) for copy in running], default=1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
