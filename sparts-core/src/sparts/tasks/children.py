"""What all that run child processes do alike: text, input, signals, outcome."""

from __future__ import annotations

import codecs
import contextlib
import os
import shlex
import signal
import subprocess
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sparts.calls import Call, around_future
from sparts.errors import ProcessFailed

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from concurrent.futures import Future

_F = TypeVar("_F", bound="Future[Any]")


class TextMode(NamedTuple):
    """Whether the output of a process is text, and how bytes become that."""

    encoding: str | None = "utf-8"
    """None: it is bytes."""
    errors: str = "strict"
    """As of ``bytes.decode``."""

    def check(self) -> None:
        """Raise `LookupError` if there is no such encoding of text, or no such way with errors."""
        codecs.lookup_error(self.errors)
        if self.encoding is not None:
            with contextlib.suppress(UnicodeError):  # it needs more than one byte
                b"x".decode(self.encoding)

    def decode(self, data: bytes) -> Any:
        """Return output as it was asked for: bytes, or text with the newlines of Python."""
        if self.encoding is None:
            return data
        text = data.decode(self.encoding, self.errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def encode(self, data: bytes | str | None) -> bytes | None:
        """Return the bytes of what a process shall read."""
        return data.encode(self.encoding or "utf-8") if isinstance(data, str) else data


def check_input(stdin: object, input: bytes | str | None) -> None:
    """Raise `ValueError` if both a standard input and what is read from it are given."""
    if input is not None and stdin not in (None, subprocess.PIPE):
        raise ValueError("Give stdin or input, not both: the input would not be read.")


def describe(command: Any) -> str:
    """Return a command as a shell would take it, for messages."""
    parts = [command] if isinstance(command, str | bytes | os.PathLike) else command
    return shlex.join(os.fsdecode(part) for part in parts)


def outcome_of(
    command: Any, returncode: int, stdout: bytes | str | None, stderr: bytes | str | None
) -> subprocess.CompletedProcess[Any] | ProcessFailed:
    """Return what a process that has ended gives its future: a result, or an exception."""
    if returncode:
        return ProcessFailed(command, returncode, stdout, stderr)
    return subprocess.CompletedProcess(command, returncode, stdout, stderr)


def leads_group(popen: subprocess.Popen[Any]) -> bool:
    """Return whether a process leads a process group, to which signals are to go."""
    try:
        return os.getpgid(popen.pid) == popen.pid
    except ProcessLookupError:
        return False


def send_signal(
    popen: subprocess.Popen[Any], number: signal.Signals, group: bool, logger: logging.Logger
) -> None:
    """Send a signal to a process, or to its whole group; nothing if it has been waited for.

    Call it in the thread that waits for the process.
    """
    if popen.returncode is not None:
        return
    try:
        if group:
            os.killpg(popen.pid, number)
        else:
            popen.send_signal(number)
    except ProcessLookupError:
        pass
    except PermissionError:
        logger.warning("Process %d belongs to another user: cannot send %s", popen.pid, number.name)


def around_command(task: Any, command: Any, start: Callable[[], _F]) -> _F:
    """Start a command with what plugins wrap calls in around it; see `sparts.calls`.

    Raises:
        CallRefusedError: a plugin refuses it.
    """
    if not task.call_wrappers:
        return start()
    arguments = [command] if isinstance(command, str | bytes | os.PathLike) else list(command)
    name = os.path.basename(os.fsdecode(arguments[0])) if arguments else ""
    call = Call(task, "command", name, is_async=True, attributes={"arguments": arguments})
    return around_future(task, call, start)


def in_this_context(callback: Any) -> Any:
    """Return what calls back with the context variables of who calls this; None for None."""
    return None if callback is None else partial(copy_context().run, callback)
