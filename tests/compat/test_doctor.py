"""``sparts doctor --compat`` tells what of a service for sparts 0.7 runs as before."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from sparts.dev import compat

from tests.compat.scripts import run
from tests.compat.test_names import ROWS

SERVICE = """\
from sparts.sparts import option
from sparts.tasks.poller import PollerTask
from sparts.vservice import VService


class Polls(PollerTask):
    INTERVAL = 1.0
    extra = option(default="x")

    def fetch(self):
        return 7

    def first(self):
        return self.getValue(1)


class Serves(VService):
    TASKS = [Polls]

    def initService(self):
        self.last = self.warning_id


if __name__ == "__main__":
    Serves.initFromCLI()
"""


def examine(folder: Path, text: str, target: str = "old:Serves") -> tuple[int, list[str]]:
    (folder / "old.py").write_text(text)
    with run([sys.executable, "-m", "sparts", "doctor", "--compat", target], folder) as process:
        status = process.finish()
    return status, process.lines


def test_each_name_has_file_line_and_row(tmp_path: Path) -> None:
    status, lines = examine(tmp_path, SERVICE)
    assert lines == [
        "as before: Serves: TASKS, initService",
        "as before: Polls: INTERVAL, fetch",
        "differs: old.py:14: getValue: raises TimeoutError where it gave None [poller-timeout]",
        "missing: old.py:21: warning_id: use the result of registerWarning [warning-ids]",
        "differs: old.py:25: initFromCLI: ends the process [init-returns]",
        "As before: 4, different: 2, missing: 1. The ids are in docs/from-sparts-0.7.md.",
    ]
    assert status == 1


def test_service_without_anything_missing_is_well(tmp_path: Path) -> None:
    status, lines = examine(tmp_path, SERVICE.replace("self.warning_id", "0"))
    assert (status, lines[-1]) == (
        0,
        "As before: 4, different: 2, missing: 0. The ids are in docs/from-sparts-0.7.md.",
    )


def test_module_that_cannot_be_imported_is_read(tmp_path: Path) -> None:
    text = "import os\nfrom sparts.ctx import tmpdir\nfrom sparts import deps\n" + SERVICE
    status, lines = examine(tmp_path, text)
    assert (
        lines[0] == "missing: old.py:2: sparts.ctx.tmpdir: use tempfile and contextlib [module-ctx]"
    )
    assert "missing: old.py:3: sparts.deps: try the import" in lines[1]
    assert any("old" in line and "sparts.ctx" in line for line in lines[-2:])
    assert status == 1


def test_target_has_a_module_and_a_service(tmp_path: Path) -> None:
    status, lines = examine(tmp_path, SERVICE, "old")
    assert status == 2
    assert "--compat takes MODULE:Service, not 'old'." in lines[-1]


def test_loop_of_the_process_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "loops.py"
    path.write_text("from tornado.ioloop import IOLoop\nloop = IOLoop.instance()\n")
    (note,) = compat.scan(path)
    assert (note.line, note.row, note.missing) == (2, "ioloop-instance", False)


@pytest.mark.parametrize("table", ["imports", "missing", "differs"])
def test_every_row_is_on_the_page(table: str) -> None:
    path = Path(compat.__file__).parent / "established.toml"
    known = tomllib.loads(path.read_text())[table]
    assert [name for name, (row, _) in known.items() if row not in ROWS] == []
