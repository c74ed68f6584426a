"""The newest Tornado and uvicorn, which may be newer than those of the lock.

Both servers are stood on closely: a release that moves what sparts relies on is to be known of
before a user meets it. Where the newest is that of the lock, all other tests have run with it.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

from scripts.build_distributions import ROOT
from tests.needs import leave_out
from tests.processes import captured, clean_environment

CORE = {
    "tornado": [
        "tornado/test_private_names.py", "tornado/test_http.py", "tornado/test_connections.py",
        "tornado/test_requests.py", "tornado/test_refusals.py", "tornado/test_hooks.py",
        "tornado/test_conformance.py",
    ],
    "uvicorn": [
        "asgi/test_uvicorn.py", "asgi/test_requests.py", "asgi/test_limits.py",
        "asgi/test_contract.py",
    ],
}  # fmt: skip


@pytest.mark.skipif(os.environ.get("SPARTS_OTHER_PYTHON") == "1", reason="it ran on another")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", CORE)
def test_the_newest_release_is_served_on(name: str, tmp_path: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable,
               "--target", str(tmp_path / "newest"), name]  # fmt: skip
    done = captured(command, env=clean_environment())
    if done.returncode:
        leave_out(f"the newest {name} cannot be fetched: {done.stderr.strip()[-200:]}")
    (found,) = importlib.metadata.distributions(name=name, path=[str(tmp_path / "newest")])
    if found.version == importlib.metadata.version(name):
        return
    tests = [str(ROOT / "tests" / file) for file in CORE[name]]
    run = captured(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=clean_environment(PYTHONPATH=str(tmp_path / "newest")),
    )
    assert run.returncode == 0, (
        f"{name} {found.version} has come out, and breaks sparts (make lock for the newest here, "
        f"and see):\n{run.stdout[-5000:]}"
    )
