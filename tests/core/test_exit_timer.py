"""`ExitTimer` ends a process at a given time, whatever its interpreter does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import Any

import pytest

HANGS = "import ctypes; ctypes.PyDLL(None).pause()"  # never releases the interpreter's lock


def run(code: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    head = "import sys; from sparts.this_process import ExitTimer; timer = ExitTimer()\n"
    command = [sys.executable, "-c", head + code]
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=60, check=False, **settings
    )


def test_stuck_interpreter_ends_with_70_and_stacks() -> None:
    done = run(f"timer.arm(0.1)\n{HANGS}", stderr=subprocess.PIPE)
    assert done.returncode == 70
    assert 'File "<string>", line 3' in done.stderr


def test_process_ends_where_nobody_reads_standard_error() -> None:
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writer, b"x" * 4096):
                pass
        os.set_blocking(writer, True)
        assert run(f"timer.arm(0.1)\n{HANGS}", stderr=writer).returncode == 70
    finally:
        os.close(reader)
        os.close(writer)


def test_timer_that_is_called_off_ends_nothing() -> None:
    code = "timer.arm(0.1); timer.disarm(); import time; time.sleep(1); print('lives')"
    done = run(code, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "lives\n", "")


@pytest.mark.parametrize(
    "lacking",
    [
        "sys.modules['ctypes'] = None",
        "import sparts.this_process; sparts.this_process._started_timer = None",
    ],
)
def test_without_timer_of_system_watchdog_ends(lacking: str) -> None:
    hangs = "import _ctypes, time\nwhile True: time.sleep(1)"
    done = run(f"{lacking}\ntimer.arm(0.1)\n{hangs}", stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "Timeout (0:00:00.1" in done.stderr


def test_child_of_a_fork_is_not_ended() -> None:
    code = """
import os, time
timer.arm(0.1)
if os.fork() == 0:
    time.sleep(1.2)
    print("lives")
    sys.stdout.flush()
    os._exit(0)
time.sleep(60)
"""
    done = run(code, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (70, "lives\n")
