"""Log lines that cannot be written: lost, counted, told once, and never an error."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
from sparts import logs
from sparts.logs.logfile import LogFileHandler

from tests.core.log_helpers import FakeStderr, logging_as

FULL = "Log lines are lost: {}: No space left on device"

pytestmark = pytest.mark.usefixtures("stderr")


class Disk:
    """A disk with room for some more bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 10**9
        self._write = os.write
        monkeypatch.setattr("sparts.logs.logfile.os.write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        """Write what there is room for, as write(2) does."""
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The disk of log files."""
    return Disk(monkeypatch)


def test_full_disk_is_told_once_with_lost_lines(
    stderr: FakeStderr, tmp_path: Path, disk: Disk
) -> None:
    log, logger, told = tmp_path / "log", logging.getLogger("Svc"), list[str]()
    setup = logs.configure("Svc", logfile=log, time="never")
    setup.watch(told.append)
    disk.room = 15
    for word in ("one", "two", "three", "four"):
        logger.info(word)
    assert told == [FULL.format(log)]
    disk.room = 10**9
    logger.info("five")
    logger.info("six")
    disk.room = 0
    logger.info("seven")
    setup.close()
    assert log.read_text() == (
        "INFO:Svc:one\nIN\n"
        "WARNING:sparts.logs:Log lines lost before this one: 3\n"
        "INFO:Svc:five\nINFO:Svc:six\n"
    )
    assert stderr.getvalue() == 2 * (FULL.format(log) + "\n")
    assert told == [FULL.format(log), "", FULL.format(log)]


def test_full_disk_is_told_once_over_reloads(stderr: FakeStderr) -> None:
    setup, told = logs.configure("Svc", logfile="/dev/full"), list[str]()
    setup.watch(told.append)
    for _ in range(2):
        logging.getLogger("Svc").info("x")
        setup.handler.reopen()
    handler = setup.handler
    setup.close()
    assert told == [FULL.format("/dev/full")]
    assert isinstance(handler, LogFileHandler)
    handler.emit(logging.makeLogRecord({}))  # a thread that is late
    handler.close()


def test_unwritable_standard_error_loses_only_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    setup, told = logs.configure("Svc"), list[str]()
    setup.watch(told.append)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        logging.getLogger("Svc").info("x")
        monkeypatch.setattr(sys, "stderr", FakeStderr())
        logging.getLogger("Svc").info("y")
        monkeypatch.setattr(full, "write", None, raising=False)
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    setup.close()
    assert told == [FULL.format("standard error"), ""]


def test_line_that_standard_error_cannot_encode_is_escaped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with logging_as() as logger, (tmp_path / "err").open("w", encoding="ascii") as strict:
        monkeypatch.setattr(sys, "stderr", strict)
        logger.info("\xe9")
    assert (tmp_path / "err").read_text() == "INFO:Svc:\\xe9\n"


def test_rotation_without_a_folder_is_trouble(stderr: FakeStderr, tmp_path: Path) -> None:
    folder, told = tmp_path / "logs", list[str]()
    folder.mkdir()
    setup = logs.configure("Svc", logfile=folder / "log")
    setup.watch(told.append)
    folder.rename(tmp_path / "gone")
    setup.handler.reopen()
    folder.mkdir()
    setup.handler.reopen()
    setup.close()
    assert [line.partition(",")[0] for line in told] == ["Cannot open the log file again", ""]
    assert stderr.getvalue().count("Cannot open") == 1


def test_restart_keeps_the_file_and_its_trouble(tmp_path: Path, disk: Disk) -> None:
    told, later = list[str](), list[str]()
    first = logs.configure("Svc", logfile=tmp_path / "log")
    first.watch(told.append)
    disk.room = 0
    logging.getLogger("Svc").info("x")
    (tmp_path / "log").unlink()
    second = logs.configure("Svc", logfile=tmp_path / "log", before=first)
    second.watch(later.append)
    assert not isinstance(first.handler, LogFileHandler)
    assert logging.getLogger("Svc").level == logging.DEBUG
    assert later == told == [FULL.format(tmp_path / "log")]
    second.close()
    assert logging.getLogger("Svc").level == logging.NOTSET
    assert logging.getLogger().handlers == []
