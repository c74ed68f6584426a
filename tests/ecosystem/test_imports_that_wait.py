"""Names that a module imports when they are first asked for: see `sparts.startup`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.processes import captured

#: Modules that import some of their names when they are first asked for, and one such name of each.
LATER = {
    "sparts.counters": "SampleType",
    "sparts.options": "add_options",
    "sparts.rpc": "connect",
    "sparts.tasks.amqp": "AsyncAMQPQueueTask",
    "sparts.tasks.asgi": "AsgiTask",
    "sparts.tasks.asgi.rpc": "HTTPClient",
    "sparts.vtask": "ExecuteContext",
}


@pytest.mark.parametrize(("module", "name"), LATER.items())
def test_names_that_are_imported_later(module: str, name: str) -> None:
    found = importlib.import_module(module)
    assert getattr(found, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
        _ = found.nothing


def test_checkers_report_misspelt_names_of_imports(tmp_path: Path) -> None:
    right = [f"from {module} import {name}" for module, name in LATER.items()]
    wrong = [f"from {module} import nothing" for module in LATER]
    (tmp_path / "right.py").write_text("\n".join(right))
    (tmp_path / "wrong.py").write_text("\n".join(wrong))
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}"]
    assert captured([*command, str(tmp_path / "right.py")]).returncode == 0
    found = captured([*command, str(tmp_path / "wrong.py")]).stdout
    assert found.count('has no attribute "nothing"') == len(LATER)
