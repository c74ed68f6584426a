"""Logging as a process without pytest has it, and what of it was written."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sparts import logs, masking


@contextmanager
def bare_root() -> Iterator[None]:
    """The root logger without pytest's handlers, as at the start; restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this test begin without secrets, and leave none behind."""
    monkeypatch.setattr(masking, "_values", frozenset())
    monkeypatch.setattr(masking, "_pattern", None)


@contextmanager
def logging_as(name: str = "Svc", **settings: Any) -> Iterator[logging.Logger]:
    """Have logging as a service of this name sets it up, and give the logger of the service."""
    setup = logs.configure(name, **settings)
    try:
        yield logging.getLogger(name)
    finally:
        setup.close()


class FakeStderr(io.StringIO):
    """A standard error that says whether it is a terminal, and which file it is.

    Args:
        terminal: whether it is one.
        descriptor: what `fileno` returns; None raises as `io.StringIO` does.
    """

    def __init__(self, terminal: bool = False, descriptor: int | None = None) -> None:
        super().__init__()
        self.terminal = terminal
        self.descriptor = descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.terminal

    def fileno(self) -> int:
        """The descriptor."""
        return super().fileno() if self.descriptor is None else self.descriptor
