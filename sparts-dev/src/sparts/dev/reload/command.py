"""``sparts run-reload``, which is what ``sparts run --reload`` calls."""

from __future__ import annotations

import itertools
import os
import sys

from sparts.cli import run
from sparts.dev.reload import RELOADED


def main(argv: list[str]) -> int:
    """Run a service, or tasks by their names, again after each change of a source file.

    Args:
        argv: names, then options, ``--reload`` among them.
    """
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    if not names:
        return run.main(argv)
    if RELOADED in os.environ:
        run.start(names, argv[len(names) :])
    from sparts.dev.reload import parent

    is_file = names[0].endswith(".py") and os.path.isfile(names[0])
    return parent.run([sys.executable, *argv] if is_file else ())
