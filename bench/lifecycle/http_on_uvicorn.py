"""The same greeting by a bare ASGI application on uvicorn, as its command runs it."""

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any


def stamp(word: bytes) -> None:
    """Tell the benchmark when something happened."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, time.monotonic_ns()))


def stamp_start(record: logging.LogRecord) -> bool:
    """Stamp the line that says where it listens."""
    if "running on" in record.msg:
        stamp(b"ready")
    return True


async def greet(scope: Any, receive: Any, send: Any) -> None:
    """Answer ``Hello, world``; uvicorn expects no lifespan."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello, world"})


if __name__ == "__main__":
    from uvicorn import main

    here = Path(__file__)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when it has stopped
    logging.getLogger("uvicorn.error").addFilter(stamp_start)
    words = [f"{here.stem}:greet", "--app-dir", str(here.parent), "--port", "0"]
    main([*words, "--lifespan", "off"], standalone_mode=False)
    stamp(b"ended")
