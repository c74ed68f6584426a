"""``--dryrun``: everything that can be known before a start, and nothing started."""

from __future__ import annotations

import contextlib
import io
import socket
from pathlib import Path
from typing import Any

import pytest
from sparts.builtin.dryrun import dry_run
from sparts.errors import DependencyCycleError, OptionError, TaskNotFoundError, UsageError
from sparts.net.listeners import Listening
from sparts.options import option
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.vtask import VTask

from tests.core.option_owners import parsed, service_of, task_of


class Server(Listening, VTask):
    """A server that never runs here."""

    OPT_PREFIX = "server"
    LOOPLESS = True
    DEFAULT_HOST = "127.0.0.1"


def run(service: Any, *argv: str) -> tuple[int, str]:
    """The exit status of a dry run, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        return dry_run(service, parsed(service, *argv)), out.getvalue()


def refuse(reason: Exception) -> Any:
    """A check that fails."""

    def check(self: Any) -> None:
        raise reason

    return check


def never(self: Any) -> None:
    """What a dry run must not call."""
    raise AssertionError("called by a dry run")


def test_order_is_printed_and_nothing_starts() -> None:
    first = task_of("First", prefix=None, initTask=never, start=never, stop=never)
    second = task_of("Second", prefix=None, DEPS=[first], initTask=never, start=never)
    service = service_of(second, first, initService=never)
    said = "MyService would run, in this order:\n"
    assert run(service) == (0, f"{said}  First\n  Second (needs First)\n")
    assert run(service_of()) == (0, f"{said}  no tasks\n")


def test_every_check_is_called_and_every_problem_told() -> None:
    service = service_of(
        task_of("File", prefix=None, check=refuse(FileNotFoundError(2, "No such file", "/data"))),
        task_of("Fine", prefix=None),
        task_of("Broker", prefix=None, check=refuse(RuntimeError("no answer"))),
        check=refuse(ValueError("not today")),
    )
    status, text = run(service)
    assert status == 1
    assert text.splitlines()[-3:] == [
        "Wrong: MyService: ValueError: not today",
        "Wrong: File: [Errno 2] No such file: '/data'",
        "Wrong: Broker: RuntimeError: no answer",
    ]


def test_check_reads_the_options_of_its_task() -> None:
    def check(self: Any) -> None:
        if not Path(self.file).is_file():
            raise FileNotFoundError(f"{self.file} is no file")

    service = service_of(
        task_of("Reader", prefix="reader", file=option(default="/absent"), check=check)
    )
    assert run(service)[0] == 1
    assert run(service, "--reader-file", __file__)[0] == 0


def test_port_in_use_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, text = run(service_of(Server), "--server-port", port)
    assert status == 1
    assert f"127.0.0.1:{port} is in use by another process" in text
    assert run(service_of(Server), "--server-port", port)[0] == 0
    with socket.create_server(("127.0.0.1", int(port))):
        pass


def test_two_servers_on_one_port_are_wrong() -> None:
    second = type("Second", (Server,), {"OPT_PREFIX": "second"})
    status, text = run(service_of(Server, second), "--server-port", "9", "--second-port", "9")
    assert status == 1
    assert "Server and Second are both to listen on 127.0.0.1:9" in text


def test_task_that_cannot_be_made_is_wrong() -> None:
    def fail(self: Any, service: Any) -> None:
        VTask.__init__(self, service)
        raise RuntimeError("cannot be made")

    status, text = run(service_of(task_of("Bad", prefix=None, __init__=fail)))
    assert status == 1
    assert text.endswith("\nWrong: making the tasks: RuntimeError: cannot be made\n")


@pytest.mark.parametrize(
    ("service", "error"),
    [
        (service_of(task_of("Looped", prefix=None, DEPS=["Looped"])), DependencyCycleError),
        (service_of("NoSuchTaskAnywhere"), TaskNotFoundError),
        (service_of(task_of("Picky", prefix=None, check=refuse(OptionError("no")))), OptionError),
        (service_of(type("Unplanned", (PeriodicTask,), {"execute": never})), OptionError),
        (service_of(type("Blind", (DirectoryWatcherTask,), {})), OptionError),
        (service_of(type("Empty", (QueueTask,), {"__module__": "mine"})), UsageError),
        (service_of(preprocessOptions=refuse(OptionError("--a needs --b"))), OptionError),
    ],
)
def test_wrong_use_is_an_error_of_its_own(service: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(service)
