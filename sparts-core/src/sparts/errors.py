"""Every exception of sparts, in one place; and any error, or stack, as text.

Two families matter to a caller: a `UsageError` is wrong use (the command line, the
configuration, a name that cannot be resolved, a cycle in ``DEPS``); the process ends with exit
status 2 and no traceback. Every other error ends it with status 1, or 70 when a deadline has
passed.
"""

from __future__ import annotations

import errno
import sys
import threading
import traceback
from contextlib import suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from sparts.masking import encodable, masked

if TYPE_CHECKING:
    import asyncio
    import subprocess
    from collections.abc import Callable, Collection, Container, Iterable
    from logging import Logger
    from threading import ExceptHookArgs


def text_of(value: object, spell: Callable[[Any], str] = str) -> str:
    """Return ``spell(value)``, or what is wrong with it, as a plain string; never raises.

    Args:
        value: any object, also one whose ``__str__`` or ``__repr__`` raises.
        spell: ``str``, ``repr``, or another function that returns a string.
    """
    try:
        return "".join((spell(value),))  # also of a subclass of str, whose methods may raise
    except BaseException as broken:  # whatever it raises, it asks for nothing
        return f"<{type_name(value)} that cannot be shown: {type_name(broken)}>"


def describe(error: object) -> str:
    """Return the type of an error and its message, ``ValueError: too long``; never raises.

    Secrets are masked, as in what the other functions here return of an error, and halves of UTF-16
    pairs escaped: it can always be sent.
    """
    return _masked(f"{type_name(error)}: {text_of(error)}")


def message_of(error: object) -> str:
    """Return the message of an error, or the name of its type if it has none; never raises."""
    return _masked(text_of(error) or type_name(error))


def type_name(value: object) -> str:
    """Return the name of the type of an object; never raises."""
    return str(vars(type)["__name__"].__get__(type(value)))  # whatever its metaclass says


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error as Python shows it, without the last line break; never
    raises.
    """
    import traceback  # few processes report an error

    def spell(error: BaseException) -> str:
        return "".join(traceback.format_exception(error))

    def plainly(error: BaseException) -> str:
        calls = "".join(traceback.format_tb(error.__traceback__))
        return f"Traceback (most recent call last):\n{calls}{describe(error)}"

    try:
        return _masked(spell(error).rstrip("\n"))
    except BaseException:  # its notes or its causes raise
        return _masked(text_of(error, plainly))


def _masked(text: str) -> str:
    return encodable(masked(text))


FATAL = (SystemExit, KeyboardInterrupt, MemoryError)
"""What always ends the service when it leaves ``execute`` or a worker. All else counts there as an
`Exception` does, also `asyncio.CancelledError`, `GeneratorExit` and others."""


def log_error(logger: Logger, text: str, *args: object, error: object = True) -> None:
    """Log a line about an error, with its traceback. Never raises, whatever the handlers of the
    application do.

    Args:
        error: the error; True: the one that is handled just now; None: without a traceback.
    """
    with suppress(BaseException):
        logger.error(text, *args, exc_info=error)  # type: ignore[arg-type]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant by a wrong one, or ``""`` if none is near."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), 1)), "")


def is_of_path(error: OSError) -> bool:
    """Return whether another path would help: it is missing, not allowed, or of the wrong kind."""
    wrong = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    others = (errno.ELOOP, errno.EROFS, errno.ENAMETOOLONG, errno.ENXIO)
    return isinstance(error, wrong) or error.errno in others


def refuse_coroutine(made: Any, owner: str, method: str) -> None:
    """Raise `TypeError` if a method has returned a coroutine, which its caller does not await.

    It would never run.
    """
    if type(made) is CoroutineType:
        made.close()
        advice = "Write an `async def` in AsyncQueueTask, AsyncPeriodicTask or AsyncioTask."
        raise TypeError(f"{method} of {owner} returned a coroutine, which nobody awaits. {advice}")


def call_plain(method: Callable[..., object], *args: object) -> Any:
    """Call a method that is not awaited; `TypeError` if it returns a coroutine."""
    made: Any = method(*args)
    owner = type_name(getattr(method, "__self__", None))
    refuse_coroutine(made, owner, getattr(method, "__name__", "a callback"))
    return made


def status_of(error: BaseException) -> int:
    """Return the exit status for an error: that of a `SystemExit`, 2 for wrong use, else 1."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 2 if isinstance(error, UsageError) else 1


class SpartsError(Exception):
    """Base of every error that sparts itself raises."""


class UsageError(SpartsError):
    """Wrong use: shown without a traceback, exit status 2."""


class OptionError(UsageError):
    """An option's value, source or declaration is wrong; the message names the source."""


class PluginError(UsageError):
    """A plugin cannot be used: it fails to import, implements no hook, or contradicts another."""


class TaskNotFoundError(UsageError, LookupError):
    """Nobody provides a task of that name; the message suggests the nearest one."""


class TaskLoadError(PluginError):
    """A task's entry point cannot be imported or is not a task type."""


class AmbiguousTaskError(PluginError):
    """Two distributions provide a task of one name."""


class DependencyCycleError(UsageError):
    """Tasks depend on each other in a circle; the message shows it."""


class StartError(SpartsError):
    """A task or the service could not start; the message names it. Exit status 1."""


class TaskFailedError(SpartsError):
    """A task crashed while the service ran. Exit status 1."""


class StopTimeoutError(SpartsError):
    """Something did not stop in time; the message names it. Exit status 70."""


class PidFileError(SpartsError):
    """A pid file cannot be used now: a running process has it, or the disk is full. Exit status
    1."""


class SkipTask(Exception):  # noqa: N818 - the established name
    """Raised in `VTask.initTask`: leave this task, and what depends on it, out of the service."""


class TryLater(Exception):  # noqa: N818 - the established name
    """Raised in a queue or periodic task's ``execute``: run this again later.

    Args:
        message: why, for the log.
        after: seconds to wait before the next attempt; None leaves it to the task.
    """

    def __init__(self, message: str | None = None, after: float | None = None) -> None:
        if isinstance(message, int | float):
            raise TypeError(f"TryLater({message}): give seconds as after={message}.")
        seconds: Any = 0.0 if after is None else after
        if not isinstance(seconds, int | float) or seconds != seconds:
            raise TypeError(f"TryLater(after={after!r}): give a number of seconds.")
        super().__init__(message or "")
        self.message = message
        self.after = after


class LoopStoppedError(SpartsError):
    """An event loop has ended, so that a call into it cannot run or end any more."""


class TaskStoppedError(SpartsError):
    """The task has stopped: it takes nothing more, and what it was waited for will not come."""


class ProcessFailed(SpartsError):  # noqa: N818 - the established name
    """A process has ended otherwise than with exit status 0.

    Args:
        command: what was run, as it was given to Popen.
        returncode: the exit status; negative: the number of the signal that killed it.
        stdout: its output, bytes or text as it was asked for; None if it was not read.
        stderr: what it wrote to its standard error; the same.
    """

    def __init__(
        self,
        command: Any,
        returncode: int,
        stdout: bytes | str | None = None,
        stderr: bytes | str | None = None,
    ) -> None:
        how = f"ended with status {returncode}"
        if returncode < 0:
            how = f"was killed by signal {-returncode}"
        text = stderr.decode(errors="replace") if isinstance(stderr, bytes) else stderr or ""
        last = text.rstrip().rpartition("\n")[2]
        super().__init__(f"{command!r} {how}{': ' if last else ''}{last}")
        self.command = command
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr

    @property
    def result(self) -> subprocess.CompletedProcess[Any]:
        """What a `subprocess.CompletedProcess` of it would be."""
        from subprocess import CompletedProcess

        return CompletedProcess(self.command, self.returncode, self.stdout, self.stderr)

    @property
    def killed(self) -> bool:
        """Whether a signal ended the process."""
        return self.returncode < 0


def check_free(name: str, function: object, taken: Container[str]) -> None:
    """Raise `UsageError` if something under a name is no function, or the name is taken."""
    if name in taken:
        raise UsageError(f"the name {name!r} is taken; begin it with your own or your plugin's.")
    if not callable(function):
        raise UsageError(f"{name!r} is not a function but {function!r}.")


def code_flags(function: Any) -> int:
    """Return what ``inspect.CO_...`` describe of the code of a function; 0: it has none."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    method = function if hasattr(function, "__code__") else vars(type(function)).get("__call__")
    return getattr(getattr(method, "__code__", None), "co_flags", 0)


def check_wrapper(wrapper: Any) -> Any:
    """Return what wraps calls; `UsageError` if it is a generator, which would run nothing."""
    if not callable(wrapper) or code_flags(wrapper) & 0x220:  # CO_GENERATOR, CO_ASYNC_GENERATOR
        raise UsageError(f"{wrapper!r} wraps no calls: write a def or async def without yield.")
    return wrapper


def log_thread_end(logger: Logger, args: ExceptHookArgs) -> None:
    """Log what ended a thread that is no task's: standard error may not be seen by anybody."""
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "of unknown name"
        logger.error("Thread %s failed", name, exc_info=args.exc_value)


# -- stacks ----------------------------------------------------------------------------------------


def format_thread(thread: threading.Thread) -> str:
    """Return the stack of a thread, innermost call last; empty when it has ended."""
    frame = sys._current_frames().get(thread.ident or -1)
    if frame is None:
        return ""
    return f"Thread {thread.name}:\n{''.join(traceback.format_stack(frame))}"


def format_threads(without: Collection[threading.Thread] = ()) -> str:
    """Return the stacks of all threads of this process but those."""
    return "".join(format_thread(each) for each in threading.enumerate() if each not in without)


def format_coroutines(loop: asyncio.AbstractEventLoop) -> str:
    """Return where each asyncio task of a loop waits; from any thread."""
    import asyncio

    with suppress(RuntimeError):  # the set of tasks changed again and again while it was copied
        return "".join(map(format_coroutine, asyncio.all_tasks(loop)))
    return ""


def format_coroutine(task: asyncio.Task[Any]) -> str:
    """Return where an asyncio task waits: what it awaits, what that awaits, and so on."""
    waits: Any = task.get_coro()
    lines = [f"Coroutine {task.get_name()} ({getattr(waits, '__qualname__', '?')}):\n"]
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None)
        if frame is not None:
            lines.extend(traceback.format_list(traceback.extract_stack(frame, limit=1)))
        waits = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
    return "".join(lines)
