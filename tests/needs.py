"""The system packages that a test needs, said by `@pytest.mark.needs("curl")`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import pytest

from scripts.system_packages import SystemPackage, read_table


def require(names: Iterable[str], table: Mapping[str, SystemPackage] | None = None) -> None:
    """Skip the test if one of the packages is missing; fail it instead where SPARTS_REQUIRE_ALL=1.

    A name that is not in the table (by default that of scripts/system_packages.toml) fails it too.
    """
    table = read_table() if table is None else table
    for name in names:
        if name not in table:
            pytest.fail(f"{name!r} is not in scripts/system_packages.toml", pytrace=False)
        if table[name].present:
            continue
        reason = f"needs the system package {name}"
        if os.environ.get("SPARTS_REQUIRE_ALL") == "1":
            pytest.fail(f"{reason}, and SPARTS_REQUIRE_ALL=1 allows no skip", pytrace=False)
        pytest.skip(reason)
