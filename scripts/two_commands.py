"""Run the README's two commands as a newcomer does: `python3 -m scripts.two_commands`.

`make serve` must answer and end by ^C, then `make test` must succeed. Called by scripts/clean_room
in a fresh Debian, so it needs nothing but Python. Arguments are handed to `make test`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request

MAKE = shutil.which("make") or "make"


def serve() -> None:
    """Start the service, ask it, and end it by ^C.

    Raises:
        SystemExit: it did not start, answered otherwise or did not end in order.
    """
    process = subprocess.Popen(
        [MAKE, "serve", "PORT=0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # ^C goes to all processes of a terminal's foreground
    )
    if process.stdout is None:
        sys.exit("make serve has no output")
    lines = []
    address = None
    for line in process.stdout:
        lines.append(line)
        print(f"serve: {line}", end="", flush=True)
        if "Server Started on" in line:
            address = line.split()[-1]
        elif "All tasks started" in line:
            with urllib.request.urlopen(f"http://{address}/") as answer:
                said = answer.read().decode()
            print(f"serve: answers {said!r}", flush=True)
            if said != "Hello, world":
                sys.exit("make serve answers otherwise than the README says")
            os.killpg(process.pid, signal.SIGINT)
    process.wait()
    if not any("Instance shut down gracefully" in line for line in lines):
        sys.exit("make serve did not end in order")


def main() -> None:
    """Run both commands; the exit status is that of `make test`."""
    serve()
    sys.exit(subprocess.run([MAKE, "test", *sys.argv[1:]], check=False).returncode)


if __name__ == "__main__":
    main()
