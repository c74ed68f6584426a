"""Logging set up and undone: targets, levels, applications with their own."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

import pytest
from sparts import logs
from sparts.errors import OptionError
from sparts.option_types import Expected

from tests.core.log_helpers import FakeStderr, logging_as

pytestmark = pytest.mark.usefixtures("stderr")


def test_line_is_level_logger_message_on_stderr(stderr: FakeStderr) -> None:
    with logging_as() as logger:
        logger.debug("All tasks %s", "started")
        logging.getLogger("Svc.Task").warning("w")
    assert stderr.getvalue() == "DEBUG:Svc:All tasks started\nWARNING:Svc.Task:w\n"


def test_level_holds_for_service_and_libraries_only_warn(stderr: FakeStderr) -> None:
    with logging_as(level="DEBUG", package="my_app.services.web"):
        for name in ("Svc", "my_app.jobs", "sparts.x", "asyncio", "tornado.access"):
            logging.getLogger(name).debug("debug")
            logging.getLogger(name).warning("warning")
    lines = stderr.getvalue().splitlines()
    assert [line for line in lines if "debug" in line] == [
        "DEBUG:Svc:debug",
        "DEBUG:my_app.jobs:debug",
        "DEBUG:sparts.x:debug",
    ]
    assert len([line for line in lines if "warning" in line]) == 5


def test_level_above_warning_holds_for_libraries_too(stderr: FakeStderr) -> None:
    with logging_as(level="ERROR"):
        for name in ("Svc", "asyncio"):
            logging.getLogger(name).warning("warning")
            logging.getLogger(name).error("error")
    assert stderr.getvalue() == "ERROR:Svc:error\nERROR:asyncio:error\n"


def test_level_for_one_logger_counts_before_all(stderr: FakeStderr) -> None:
    levels = [logs.level_for("asyncio=debug"), logs.level_for("Svc.Noisy = ERROR")]
    with logging_as(levels=levels) as logger:
        logging.getLogger("asyncio").debug("shown")
        logging.getLogger("Svc.Noisy").warning("hidden")
        logger.debug("shown")
    assert stderr.getvalue() == "DEBUG:asyncio:shown\nDEBUG:Svc:shown\n"


def test_levels_can_change_and_go_back(stderr: FakeStderr) -> None:
    setup = logs.configure("Svc", levels=[logs.level_for("asyncio=DEBUG")])
    setup.set_levels("INFO", [])
    logging.getLogger("Svc").debug("hidden")
    logging.getLogger("asyncio").debug("hidden")
    logging.getLogger("Svc").info("shown")
    setup.close()
    assert stderr.getvalue() == "INFO:Svc:shown\n"


def test_close_leaves_logging_as_it_was() -> None:
    root = logging.getLogger()
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    for _ in range(500):
        setup = logs.configure("Svc", levels=[logs.level_for("asyncio=DEBUG")], package="x")
        setup.close()
        setup.close()
    assert root.handlers == []
    assert root.level == logging.WARNING
    assert logging.getLogger("Svc").level == logging.NOTSET
    assert logging.getLogger("asyncio").level == logging.ERROR
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


def test_500_log_files_leave_nothing_behind(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    gc.collect()
    before, handlers = descriptors(), len(logging._handlerList)  # type: ignore[attr-defined]
    for _ in range(500):
        setup = logs.configure("Svc", logfile=tmp_path / "log")
        setup.handler.reopen()
        setup.close()
    gc.collect()
    assert descriptors() == before
    assert len(logging._handlerList) == handlers  # type: ignore[attr-defined]


def test_application_that_configured_logging_is_left_alone(
    stderr: FakeStderr, tmp_path: Path
) -> None:
    root = logging.getLogger()
    own = logging.StreamHandler(stderr)
    root.addHandler(own)
    setup = logs.configure("Svc", level="DEBUG", logfile=tmp_path / "log", format="json")
    setup.set_levels("DEBUG", [])
    setup.handler.reopen()
    assert root.handlers == [own]
    assert logging.getLogger("Svc").level == logging.NOTSET
    assert not (tmp_path / "log").exists()
    logging.getLogger("Svc").warning("theirs")
    setup.close()
    assert root.handlers == [own]
    assert own.filters == []
    assert stderr.getvalue() == "theirs\n"


def test_requested_log_file_replaces_the_applications_stream(
    stderr: FakeStderr, tmp_path: Path
) -> None:
    root, log, kept = logging.getLogger(), tmp_path / "log", logging.NullHandler()
    kept.observes = True  # type: ignore[attr-defined]
    theirs, others = logging.StreamHandler(stderr), logging.FileHandler(tmp_path / "theirs")
    root.handlers[:] = [theirs, others, kept]
    setup = logs.configure("Svc", logfile=log, asked=True)
    logging.getLogger("Svc").debug("ours")
    again = logs.configure("Svc", logfile=log, asked=True, before=setup)
    logging.getLogger("Svc").debug("restarted")
    again.close()
    logging.getLogger("Svc").warning("theirs")
    others.close()
    assert [line.split(":")[-1] for line in log.read_text().splitlines()] == ["ours", "restarted"]
    assert stderr.getvalue() == "theirs\n"
    assert (tmp_path / "theirs").read_text() == "ours\nrestarted\ntheirs\n"
    assert set(root.handlers) == {theirs, others, kept}


def test_stderr_that_was_replaced_is_one_written_to(
    stderr: FakeStderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logging_as() as logger:
        later = FakeStderr()
        monkeypatch.setattr(sys, "stderr", later)
        logger.info("x")
        monkeypatch.setattr(sys, "stderr", None)  # pythonw, or a daemon that closed it
        logger.info("nowhere")
    assert (stderr.getvalue(), later.getvalue()) == ("", "INFO:Svc:x\n")


# -- log files -------------------------------------------------------------------------------------


def test_log_file_grows_and_stderr_stays_silent(stderr: FakeStderr, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    with logging_as(logfile=str(tmp_path / "log"), time="never") as logger:
        logger.info("é \udc80")
    assert (tmp_path / "log").read_text("utf-8") == "before\nINFO:Svc:é \\udc80\n"
    assert stderr.getvalue() == ""


def test_rotation_by_move_is_noticed_without_a_signal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logging_as(logfile=log, time="never") as logger:
        logger.info("1")
        log.rename(tmp_path / "log.1")
        logger.info("2")
        log.rename(tmp_path / "log.2")
        log.write_text("")  # as logrotate's "create" does
        logger.info("3")
    assert [(tmp_path / name).read_text() for name in ("log.1", "log.2", "log")] == [
        "INFO:Svc:1\n",
        "INFO:Svc:2\n",
        "INFO:Svc:3\n",
    ]


def test_rotation_by_copy_and_truncate_leaves_no_hole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logging_as(logfile=log, time="never") as logger:
        logger.info("long line before")
        os.truncate(log, 0)
        logger.info("2")
    assert log.read_bytes() == b"INFO:Svc:2\n"


def test_file_that_cannot_reopen_stays(stderr: FakeStderr, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with logging_as(logfile=folder / "log", time="never") as logger:
        folder.rename(tmp_path / "gone")
        logger.info("1")
        logger.info("2")
        assert (tmp_path / "gone" / "log").read_text() == "INFO:Svc:1\nINFO:Svc:2\n"
        assert stderr.getvalue().count("Cannot open the log file again") == 1
        folder.mkdir()
        logger.info("3")
        assert (folder / "log").read_text() == "INFO:Svc:3\n"


def test_relative_log_file_stays_where_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with logging_as(logfile="log", time="never") as logger:
        monkeypatch.chdir("/")
        (tmp_path / "log").rename(tmp_path / "log.1")
        logger.info("x")
    assert (tmp_path / "log").read_text() == "INFO:Svc:x\n"


def test_unwritable_log_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as error:
        logs.configure("Svc", logfile=tmp_path / "absent" / "log", source="MYSERVICE_LOGFILE")
    assert str(error.value) == (
        f"MYSERVICE_LOGFILE: cannot log to {tmp_path}/absent/log: No such file or directory."
    )
    with pytest.raises(OptionError, match="Is a directory"):
        logs.configure("Svc", logfile=tmp_path)
    assert logging.getLogger().handlers == []
    assert logging.getLogger("Svc").level == logging.NOTSET


@pytest.mark.parametrize(
    ("text", "name"), [("debug", "DEBUG"), ("10", "DEBUG"), (" Info ", "INFO"), ("WARN", "WARN")]
)
def test_level_is_a_name_or_number(text: str, name: str) -> None:
    assert logs.level_name(text) == name


@pytest.mark.parametrize("text", ["", "LOUD", "15", "-10", "1" * 99])
def test_other_levels_are_refused(text: str) -> None:
    with pytest.raises(Expected, match="a log level"):
        logs.level_name(text)


@pytest.mark.parametrize("text", ["x", "=INFO", "x=", "x=LOUD", " =INFO"])
def test_level_for_needs_a_name_and_a_level(text: str) -> None:
    with pytest.raises(Expected):
        logs.level_for(text)
    assert str(logs.level_for("a.b=info")) == "a.b=INFO"
