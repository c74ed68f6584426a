"""Install the system packages that tests need: `python -m scripts.system_packages`.

They are listed in `system_packages.toml`. Installed is only what is missing, and only by root on a
machine with apt-get; SPARTS_INSTALL_PACKAGES=0 forbids it. The exit status is 0 either way: tests
skip what they miss (and fail instead under SPARTS_REQUIRE_ALL=1).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_suffix(".toml")
POLICY = Path("/usr/sbin/policy-rc.d")
"""What Debian's packages ask before they start a service."""


@dataclass(frozen=True)
class SystemPackage:
    """One package of the table."""

    name: str
    provides: str
    tests: str

    @property
    def present(self) -> bool:
        """Whether what the package provides is on this machine, wherever it came from."""
        if self.provides.startswith("/"):
            return Path(self.provides).exists()
        return shutil.which(self.provides) is not None


def read_table(path: Path = TABLE) -> dict[str, SystemPackage]:
    """Read the table, by name of the package."""
    interpreter = {
        "version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "headers": sysconfig.get_config_var("INCLUDEPY"),
    }
    packages = [
        SystemPackage(
            name.format(**interpreter), row["provides"].format(**interpreter), row["tests"]
        )
        for name, row in tomllib.loads(path.read_text(encoding="utf-8")).items()
    ]
    return {package.name: package for package in packages}


def why_not_installable() -> str | None:
    """Tell why nothing may be installed here, or None if it may."""
    if os.environ.get("SPARTS_INSTALL_PACKAGES") == "0":
        return "SPARTS_INSTALL_PACKAGES=0 forbids it"
    if shutil.which("apt-get") is None:
        return "there is no apt-get"
    if os.geteuid() != 0:
        return "only root may"
    return None


@contextlib.contextmanager
def no_services_started() -> Iterator[None]:
    """Keep packages from starting the services that they bring: tests start their own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def install(names: Sequence[str]) -> None:
    """Install packages with apt-get; a failure is reported by apt-get and left at that."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["--yes", "--quiet", "--no-install-recommends"]
    for command in (["apt-get", "update", "--quiet"], ["apt-get", "install", *options, *names]):
        print(f"system packages: {' '.join(command)}", flush=True)
        with no_services_started():
            subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)


def main() -> None:
    """Install what is missing where that may be done, and say what is missing in the end."""
    table = read_table()
    missing = [name for name, package in table.items() if not package.present]
    if not missing:
        print(f"system packages: all {len(table)} present")
        return
    reason = why_not_installable()
    if reason is None:
        install(missing)
        reason = "apt-get failed, see above"
    for package in table.values():
        if not package.present:
            print(
                f"system packages: {package.name} is missing ({reason}); skipped: {package.tests}"
            )


if __name__ == "__main__":
    main()
