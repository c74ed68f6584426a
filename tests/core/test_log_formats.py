"""What a log line looks like: JSON, colour, journald."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sparts import logs
from sparts.logs.formats import JSONFormatter, colour_wanted, local_time, priority, under_journald

from tests.core.log_helpers import FakeStderr, logging_as

pytestmark = pytest.mark.usefixtures("stderr")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


def json_lines(stderr: FakeStderr) -> list[dict[str, Any]]:
    """The objects that were written, one a line."""
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


@pytest.mark.parametrize("time", [None, "always", "never"])
def test_json_line_has_service_task_and_fields(stderr: FakeStderr, time: str | None) -> None:
    with logging_as(format="json", time=time):
        logging.getLogger("Svc.Task").info(
            "took %d ms", 5, extra={"item": {"id": 7}, "tags": ["a"]}
        )
        logging.getLogger("library").warning("é\n2")
    first, second = json_lines(stderr)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "INFO",
        "logger": "Svc.Task",
        "message": "took 5 ms",
        "service": "Svc",
        "task": "Task",
        "thread": threading.current_thread().name,
        "item": {"id": 7},
        "tags": ["a"],
    }
    assert (second["message"], second["service"], second.get("task")) == ("é\n2", "Svc", None)


def test_json_line_has_the_exception_and_the_stack(stderr: FakeStderr) -> None:
    with logging_as(format="json") as logger:
        try:
            raise KeyError("gone")
        except KeyError:
            logger.exception("failed", stack_info=True)
    (line,) = json_lines(stderr)
    assert (line["exception"]["type"], line["exception"]["message"]) == ("KeyError", "'gone'")
    assert "test_log_formats.py" in line["exception"]["traceback"]
    assert line["stack"].startswith("Stack (most recent call last)")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"created": 1_700_000_000.9996}, {"time": "2023-11-14T22:13:20.999Z"}),
        ({"task": 5, "service": "x"}, {"service": "Svc", "extra.service": "x", "task": 5}),
        ({"name": "Svc.admin.Task"}, {"service": "Svc.admin", "task": "Task"}),
    ],
)
def test_json_fields_of_a_record(record: dict[str, Any], expected: dict[str, Any]) -> None:
    made = logging.makeLogRecord({"name": "Svc", "msg": "x", **record})
    fields = json.loads(JSONFormatter(["Svc", "Svc.admin"]).format(made))
    assert fields | expected == fields


@pytest.mark.parametrize("left", ["One", "Two"])
def test_two_services_write_each_line_once_as_theirs(stderr: FakeStderr, left: str) -> None:
    setups = {name: logs.configure(name, format="json") for name in ("One", "Two")}
    for name in ("One.A", "Two.B", "library"):
        logging.getLogger(name).warning("x")
    last = setups.pop(left)
    for setup in setups.values():
        setup.close()
    for name in ("library", f"{left}.C"):
        logging.getLogger(name).warning("of the one that is left")
    last.close()
    assert logging.getLogger().handlers == []
    found = [(line.get("service"), line.get("task")) for line in json_lines(stderr)]
    assert found == [("One", "A"), ("Two", "B"), (None, None), (left, None), (left, "C")]


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(Odd)
    | st.just(CIRCLE)
    | st.characters(categories=["Cs"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.tuples(st.integers()), inner, max_size=3)
        | st.sets(st.integers())
    ),
    max_leaves=5,
)


@given(message=ANYTHING, extra=ANYTHING)
@example(message="x", extra=float("nan"))
@example(message=float("inf"), extra=[{"deep": float("-inf")}, Odd()])
@example(message="x", extra=CIRCLE)
@example(message="x", extra={(1,): 2})
def test_whatever_is_logged_is_one_line_of_json(message: Any, extra: Any) -> None:
    record = logging.makeLogRecord({"name": "Svc.T", "msg": message, "extra_field": extra})
    line = JSONFormatter(["Svc"]).format(record)
    assert line.isascii()
    assert "\n" not in line

    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    assert "extra_field" in json.loads(line, parse_constant=no_constants)


# -- colour ----------------------------------------------------------------------------------------


@pytest.fixture
def terminal(stderr: FakeStderr, monkeypatch: pytest.MonkeyPatch) -> FakeStderr:
    """A stderr that is a terminal with colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stderr.terminal = True
    return stderr


def test_level_is_coloured_on_a_terminal(terminal: FakeStderr) -> None:
    for timed in ("never", "always"):
        with logging_as(time=timed) as logger:
            logger.error("x")
    line = "\x1b\\[31mERROR\x1b\\[0m:Svc:x\n"
    assert re.fullmatch(f"{line}{TIME} {line}", terminal.getvalue())


@pytest.mark.parametrize(
    ("terminal", "environ", "wanted"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colour_is_for_willing_terminals(
    stderr: FakeStderr, terminal: bool, environ: dict[str, str], wanted: bool
) -> None:
    stderr.terminal = terminal
    assert colour_wanted(environ) is wanted


def test_json_and_files_are_never_coloured(terminal: FakeStderr, tmp_path: Path) -> None:
    for form, logfile in (("json", None), ("text", tmp_path / "log")):
        with logging_as(format=form, logfile=logfile) as logger:
            logger.error("x")
    assert "\x1b" not in terminal.getvalue() + (tmp_path / "log").read_text()


# -- the time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "in_file", "on_stderr"),
    [(None, True, False), ("always", True, True), ("never", False, False)],
)
def test_time_begins_lines_of_files_or_as_asked(
    stderr: FakeStderr, tmp_path: Path, time: str | None, in_file: bool, on_stderr: bool
) -> None:
    for logfile in (tmp_path / "log", None):
        with logging_as(logfile=logfile, time=time) as logger:
            logger.info("x")
    for text, timed in (((tmp_path / "log").read_text(), in_file), (stderr.getvalue(), on_stderr)):
        assert re.fullmatch((f"{TIME} " if timed else "") + "INFO:Svc:x\n", text)


def test_time_has_the_local_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    try:
        assert local_time(1_700_000_000.9996) == "2023-11-15T03:43:20.999+05:30"
    finally:
        monkeypatch.undo()
        time.tzset()


# -- journald --------------------------------------------------------------------------------------


@pytest.fixture
def journal(
    stderr: FakeStderr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeStderr]:
    """A stderr that is the journal's."""
    stderr.descriptor = os.open(tmp_path / "stream", os.O_CREAT | os.O_WRONLY)
    found = os.fstat(stderr.descriptor)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    yield stderr
    os.close(stderr.descriptor)


def test_every_line_has_its_priority_under_journald(journal: FakeStderr) -> None:
    with logging_as() as logger:
        logger.info("one\ntwo")
        logger.critical("end")
    assert journal.getvalue() == "<6>INFO:Svc:one\n<6>two\n<2>CRITICAL:Svc:end\n"
    journal.truncate(0)
    journal.seek(0)
    with logging_as(format="json") as logger:
        logger.warning("x")
    priority_of_line, line = journal.getvalue()[:3], journal.getvalue()[3:]
    assert (priority_of_line, json.loads(line)["message"]) == ("<4>", "x")


def test_stderr_without_descriptor_is_not_the_journal(stderr: FakeStderr) -> None:
    assert not under_journald({"JOURNAL_STREAM": "1:2"})
    assert sys.stderr is stderr


def test_priorities_are_syslogs() -> None:
    levels = (5, 10, 15, 20, 30, 35, 40, 50, 60)
    assert [priority(level) for level in levels] == [7, 7, 7, 6, 4, 4, 3, 2, 2]
