"""Build all wheels and sdists: `python -m scripts.build_distributions FOLDER`.

Nothing is fetched: the build back end is the one that is installed here. Each wheel is made from
its sdist, so what an sdist lacks, its wheel lacks too. Files get one fixed time, so that the same
sources always give the same bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def find_projects() -> list[Path]:
    """Find the folders of the distributions, sorted."""
    return sorted(path.parent for path in ROOT.glob("sparts-*/pyproject.toml"))


def build(project: Path, folder: Path) -> None:
    """Build the sdist of `project` into `folder`, and the wheel from it; or CalledProcessError."""
    uv = str(Path(sys.executable).with_name("uv"))
    command = [uv, "build", "--offline", "--no-build-isolation", "--python", sys.executable]
    command += ["--no-create-gitignore", "--out-dir", str(folder)]
    # hatchling's own default, said aloud so that the caller's environment changes nothing.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1580601600"}
    done = subprocess.run(
        [*command, str(project)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        done.check_returncode()


def main(folder: Path) -> None:
    """Build all of them, in place of what was built before."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("sparts_*.whl"), *folder.glob("sparts_*.tar.gz")]:
        old.unlink()
    for project in find_projects():
        build(project, folder)
    for path in sorted(folder.glob("sparts_*")):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
