"""The log lines that are kept in memory for transports that show them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sparts import logs
from sparts.tasks.tornado.status.recent import RecentLines

from tests.core.log_helpers import FakeStderr, logging_as

pytestmark = pytest.mark.usefixtures("stderr")


@contextmanager
def keeping() -> Iterator[RecentLines]:
    lines = RecentLines(3, longest=20)
    lines.install()
    yield lines
    lines.remove()
    logging.getLogger("Svc").error("after the end")
    assert "after the end" not in [line.text for line in lines.after()]


def test_last_lines_are_kept(stderr: FakeStderr) -> None:
    with keeping() as recent:
        with logging_as():
            for number in range(5):
                logging.getLogger("Svc.Task").info("line %d", number)
        kept = recent.after()
        assert [(line.number, line.level, line.logger, line.text) for line in kept] == [
            (number, "INFO", "Svc.Task", f"line {number - 1}") for number in (3, 4, 5)
        ]
        assert recent.after(4) == kept[2:]
        assert recent.after(5) == []
    assert stderr.getvalue().startswith("INFO:Svc.Task:line 0\n")  # it is no logging of theirs


def test_long_line_is_cut_and_a_secret_masked() -> None:
    with keeping() as recent:
        logs.hide_secret("hunter2")
        logging.getLogger("Svc").error("it is hunter2")
        logging.getLogger("Svc").error("x" * 100)
        assert [line.text for line in recent.after()] == ["it is ********", "x" * 20 + "..."]


def test_record_that_cannot_be_formatted_is_kept() -> None:
    with keeping() as recent:
        logging.getLogger("Svc").error("%d", "no number")
        logging.getLogger("Svc").error("after it")
        assert [line.text for line in recent.after()] == ["%d (cannot be format...", "after it"]
