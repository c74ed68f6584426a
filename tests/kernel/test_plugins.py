"""Entry points are found without importing anything; hooks are called or refused."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.processes import run_to_end

ROOT = Path(__file__).parents[2]
HOOKS = """
from sparts.hookspecs import hookimpl
@hookimpl
def sparts_service_change(service, old, new):
    print(f"hook: {old} to {new}", flush=True)
"""


def test_collector_pauses_while_tasks_are_imported(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(
        "import gc\n"
        "from sparts.vtask import VTask\n"
        "print(f'enabled at import: {gc.isenabled()}', flush=True)\n"
        "class T(VTask):\n"
        "    def _runloop(self):\n"
        "        print(f'enabled at work: {gc.isenabled()}', flush=True)\n"
        "        self.service.shutdown()\n"
    )
    script = (
        "import gc, sys\n"
        "from sparts.vservice import VService\n"
        "class S(VService):\n"
        "    TASKS = ['slow_import:T']\n"
        "gc.isenabled() and sys.argv[1:] and gc.disable()\n"
        "del sys.argv[1:]\n"
        "S.initFromCLI()\n"
    )
    for words, after in (([], "True"), (["off"], "False")):
        status, output = run_to_end([sys.executable, "-c", script, *words], cwd=tmp_path)
        assert status == 0, output
        assert "enabled at import: False" in output
        assert f"enabled at work: {after}" in output
