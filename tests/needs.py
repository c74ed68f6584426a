"""What a test needs: a system package, said by `@pytest.mark.needs("curl")`, a module that is built
with such packages, by `@pytest.mark.needs_module("gi")`, root, by `@pytest.mark.needs_root`, or new
namespaces, by `@pytest.mark.needs_namespace("mount")`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
from collections.abc import Iterable, Mapping

import pytest

from scripts.system_packages import SystemPackage, read_table

ONE_PYTHON = frozenset({"chromium", "prometheus", "rabbitmq-server"})
"""What is slow to start, and the same for every Python: its tests run on one of them."""


def require(names: Iterable[str], table: Mapping[str, SystemPackage] | None = None) -> None:
    """Skip the test if one of the packages is missing; fail it instead where SPARTS_REQUIRE_ALL=1.

    A name that is not in the table (by default that of scripts/system_packages.toml) fails it too.
    """
    table = read_table() if table is None else table
    names = list(names)
    if os.environ.get("SPARTS_OTHER_PYTHON") == "1" and (slow := ONE_PYTHON.intersection(names)):
        pytest.skip(f"SPARTS_OTHER_PYTHON=1: tests with {', '.join(sorted(slow))} ran on another")
    for name in names:
        if name not in table:
            pytest.fail(f"{name!r} is not in scripts/system_packages.toml", pytrace=False)
        if table[name].present:
            continue
        leave_out(f"needs the system package {name}")


def require_module(names: Iterable[str]) -> None:
    """Skip the test if a module is missing; fail it instead where SPARTS_REQUIRE_ALL=1."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            leave_out(f"needs the module {name}, see `make glib`")


def require_root() -> None:
    """Skip the test if this is not root; fail it instead where SPARTS_REQUIRE_ALL=1."""
    if os.geteuid() != 0:
        leave_out("only root can be several users")


def require_namespace(kinds: Iterable[str]) -> None:
    """Skip the test if it may make no such namespaces; fail it instead where SPARTS_REQUIRE_ALL=1.

    Args:
        kinds: of which kinds, as ``unshare`` names them: ``mount``, ``pid``.
    """
    require(["util-linux"])
    for kind in kinds:
        if why := why_no_namespace(kind):
            leave_out(f"this machine allows no {kind} namespaces ({why})")


@functools.cache
def why_no_namespace(kind: str) -> str:
    """Return what ``unshare`` says when it cannot make a namespace; empty: it can."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, f"--{kind}", "--fork", "true"],  # noqa: S607 - found as tests find it
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip() if done.returncode else ""


def leave_out(reason: str) -> None:
    """Skip the test; fail it instead where SPARTS_REQUIRE_ALL=1."""
    if os.environ.get("SPARTS_REQUIRE_ALL") == "1":
        pytest.fail(f"{reason}, and SPARTS_REQUIRE_ALL=1 allows no skip", pytrace=False)
    pytest.skip(reason)
