"""A real pseudo-terminal: runs a command in it, and knows what its screen shows."""

from __future__ import annotations

import contextlib
import fcntl
import html
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import pyte
from sparts.testing.waiting import WAIT


def _heed_hangup() -> None:
    """Take SIGHUP as a terminal's command does, also where nohup runs the tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Terminal:
    """A terminal in which a command runs; used as a context.

    Args:
        command: the words of the command.
        columns: its width in characters.
        lines: its height.
        env: further variables.
    """

    def __init__(
        self, command: list[str], columns: int, lines: int, env: Mapping[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._main, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        found = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            found.pop(name, None)
        self.process = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=found,
            start_new_session=True,
            preexec_fn=_heed_hangup,
        )
        os.close(inner)

    def __enter__(self) -> Terminal:
        """Give the terminal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the command and close the terminal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal."""
        main, self._main = self._main, -1
        if main >= 0:
            os.close(main)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._main, keys.encode())

    def text(self) -> str:
        """Return what the screen shows."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read_until(self, found: Callable[[str], object] | str) -> str:
        """Read on until the screen shows something, and return all that it shows."""
        deadline = time.monotonic() + WAIT
        while not (found in self.text() if isinstance(found, str) else found(self.text())):
            left = deadline - time.monotonic()
            if left < 0 or not self._read(left):
                raise AssertionError(f"The screen does not show {found!r}:\n{self.text()}")
        return self.text()

    def finish(self) -> int:
        """Read to the end, and return the exit status."""
        while self._read(WAIT):
            pass
        return self.process.wait(WAIT)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._main], [], [], seconds)[0]:
            return False
        data = b""
        with contextlib.suppress(OSError):  # the command has ended
            data = os.read(self._main, 65536)
        self._stream.feed(data)
        return bool(data)

    def page(self) -> str:
        """Return the screen as a page, for a picture."""
        rows = ["".join(map(self._cell, self._row(line))) for line in range(self.screen.lines)]
        style = (
            "body { margin: 0; background: #14181d; color: #dde3ea; } "
            "pre { margin: 0; padding: 8px; display: inline-block; } "
            "pre { font: 13px/1.25 'DejaVu Sans Mono', monospace; }"
        )
        text = "\n".join(rows)
        return f"<!doctype html><meta charset=utf-8><style>{style}</style><pre>{text}</pre>"

    def _row(self, line: int) -> list[Any]:
        return [self.screen.buffer[line][column] for column in range(self.screen.columns)]

    def _cell(self, cell: Any) -> str:
        front, back = _colour(cell.fg, "#dde3ea"), _colour(cell.bg, "")
        if cell.reverse:
            front, back = back or "#14181d", front
        style = f"color:{front};" + (f"background:{back};" if back else "")
        style += "font-weight:bold;" if cell.bold else ""
        return f'<span style="{style}">{html.escape(cell.data)}</span>'


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return f"#{name}" if len(name) == 6 and set(name) <= set("0123456789abcdef") else name


def sparts(*words: str) -> list[str]:
    """Return the words of the sparts command."""
    return [sys.executable, "-m", "sparts", *words]
