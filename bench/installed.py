"""What a user starts: wheels in a virtual environment, not the editable checkout of a developer.

In the checkout each distribution has a folder of its own in ``sys.path``, and an import of one of
our modules looks through them; many packages for tests and docs are installed, too. All contenders
of a comparison run in the same environment, so what they import comes from wheels alike.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts import build_distributions

__all__ = ["make_environment"]

LOCK = build_distributions.ROOT / "requirements.lock"


def make_environment(folder: Path, packages: Sequence[str]) -> str:
    """Install packages, ours and those of others, and return the path of the interpreter.

    Wheels of ours are built from this checkout. Others have the versions of requirements.lock: uv
    takes them from its cache, which the set-up of the checkout has filled.

    Args:
        folder: where the environment is made.
        packages: what pip would install; of ours each that is needed.

    Raises:
        subprocess.CalledProcessError: a build or an installation has failed.
    """
    wheels, python = folder / "wheels", folder / "venv" / "bin" / "python"
    wheels.mkdir()
    for name in packages:
        if (project := build_distributions.ROOT / name).is_dir():
            build_distributions.build(project, wheels)
    uv = str(Path(sys.executable).with_name("uv"))
    make = [uv, "venv", "--quiet", "--python", sys.executable, str(python.parents[1])]
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--compile-bytecode"]
    install += ["--find-links", str(wheels), "--constraint", str(LOCK), *packages]
    for command in (make, install):
        subprocess.run(command, check=True)
    return str(python)
