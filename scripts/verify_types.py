"""How much of the public types of all distributions a type checker knows: `make types`.

The distributions share namespace packages, which pyright does not verify. So they are copied beside
each other, as an installation has them, with files that make the two namespaces packages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def install(folder: Path) -> Path:
    """Make an environment of this one's packages and copies of ours; return where commands are."""
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    (packages / "all.pth").write_text(sysconfig.get_path("purelib"))
    for source in sorted(ROOT.glob("sparts-*/src/sparts")):
        shutil.copytree(source, packages / "sparts", dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    for namespace in ("sparts", "sparts/tasks"):
        (packages / namespace / "__init__.py").touch()
    return folder / "bin"


def verify() -> dict[str, Any]:
    """Return what pyright reports of all public symbols."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{install(Path(folder))}:{os.environ['PATH']}"
        checker = Path(sys.executable).with_name("basedpyright")
        done = subprocess.run(
            [checker, "--verifytypes", "sparts", "--ignoreexternal", "--outputjson"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    found: dict[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return found


def problems(found: dict[str, Any]) -> list[str]:
    """Return what is unknown or ambiguous, a line each."""
    return [
        f"{symbol['name']}: {' '.join(each['message'].split())}"
        for symbol in found["symbols"]
        if symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"]
        for each in symbol["diagnostics"] or [{"message": "(of what it uses)"}]
    ]


def main() -> int:
    """Print what is not known; status 1 if there is anything."""
    found = verify()
    for line in problems(found):
        print(line)
    known = found["exportedSymbolCounts"]["withKnownType"]
    print(f"types: {found['completenessScore']:.2%} of the public names known, {known} of them")
    return 0 if found["completenessScore"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
