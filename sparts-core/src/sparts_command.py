"""The console script `sparts`: `sparts.cli`, or why that cannot be imported.

It is no part of the namespace `sparts`, so that it still runs where a stray ``__init__.py`` has
taken that over: then nothing of sparts can be imported, ``sparts doctor`` included.
"""

from __future__ import annotations

import os
import sys

SHARED = ("sparts", os.path.join("sparts", "tasks"))


def find_strays() -> list[str]:
    """Return the files on ``sys.path`` that make `sparts` or `sparts.tasks` an ordinary package.

    Python then takes that folder alone for the package, and whatever other distributions have in
    theirs is not found.
    """
    entries: list[object] = list(sys.path)  # anybody may have put anything there
    folders = dict.fromkeys(os.path.abspath(entry) for entry in entries if isinstance(entry, str))
    files = [os.path.join(folder, name, "__init__.py") for folder in folders for name in SHARED]
    return [file for file in files if os.path.isfile(file)]


def stray_message(file: str) -> str:
    """Return what is wrong with a stray file, and what to do."""
    package = "sparts.tasks" if os.path.dirname(file).endswith(SHARED[1]) else "sparts"
    return (
        f"{file} makes {package!r} an ordinary package, which hides what other distributions have "
        f"in theirs. Delete it. If it came with sparts 0.7 (see `pip show sparts`): pip uninstall "
        f"sparts, then pip install --force-reinstall --no-deps sparts-core"
    )


def main() -> int:
    """Be the `sparts` command, and return its exit status."""
    try:
        from sparts.cli import main
    except ImportError as error:
        strays = find_strays()
        if not strays or not (error.name or "").startswith("sparts"):
            raise
        for file in strays if sys.stderr is not None else ():
            sys.stderr.write(f"sparts: error: {stray_message(file)}\n")
        return 1 if sys.argv[1:2] == ["doctor"] else 2
    return main()
