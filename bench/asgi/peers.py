"""The same by another server, in a process of its own: gunicorn, hypercorn or granian.

usage: peers.py NAME
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "gunicorn": "gunicorn hello:app -w 1 -k uvicorn.workers.UvicornWorker -b 127.0.0.1:{port}",
    "hypercorn": "hypercorn hello:app -w 1 -k uvloop -b 127.0.0.1:{port}",
    "granian": "granian hello:app --interface asgi --workers 1 --host 127.0.0.1 --port {port}",
}


def stamp(word: bytes, number: int) -> None:
    """Tell the benchmark a number."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
command = COMMANDS[sys.argv[1]].format(port=port).split()
server = subprocess.Popen([sys.executable, "-m", *command], cwd=Path(__file__).parent)
signal.signal(signal.SIGTERM, lambda *_: server.terminate())
while True:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
stamp(b"port", port)
stamp(b"ready", time.monotonic_ns())
sys.exit(server.wait())
