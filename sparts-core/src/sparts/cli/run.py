"""``sparts run``: a service from the names of its tasks, or one of somebody's own."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, NoReturn

from sparts.cli import find_command, load_command
from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP = """\
usage: sparts run TASK [TASK ...] [options]
       sparts run MODULE:SERVICE [options]
       sparts run --reload FILE.py [options]

Run tasks as a service, or a service that you wrote, until ^C or SIGTERM.

A TASK is any of these:
  PeriodicTask                    a task that is installed; see `sparts tasks`
  PeriodicTask@sparts-core        the one of that distribution, if two have it
  my_service.jobs:Cleanup         a class, also from the current folder
  admin=TornadoHTTPTask           any of these, with options named --admin-...

What a task needs comes along by itself. Names come first, then options: those
of the service and of its tasks. To list them, and to run:
  sparts run TornadoHTTPTask --help
  sparts run TornadoHTTPTask --http-port 8000 --level INFO
  sparts run TornadoHTTPTask admin=TornadoHTTPTask --admin-port 8001

To start it again when a source file changes (with sparts-dev):
  sparts run --reload my_service:MyService
  sparts run --reload my_service.py

A service of TASKs is called Sparts: options are read from variables such as
SPARTS_HTTP_PORT too, and from TOML files (--config).
"""


def main(argv: list[str]) -> int:
    """Run a service until it ends.

    Raises:
        UsageError: nothing is named, or what is named cannot be imported.
        SystemExit: as `VService.initFromCLI` does.
    """
    if argv[:1] == ["--reload"]:
        argv = [*argv[1:], "--reload"]
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    rest = argv[len(names) :]
    if names and "--reload" in rest:
        return load_command(find_command("run-reload"))(argv) or 0
    if names:
        start(names, rest)
    if rest and rest[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        return 0
    raise UsageError(
        "Name tasks or a service first, then options, as in `sparts run TornadoHTTPTask "
        "--http-port 8000`. `sparts tasks` lists tasks, `sparts run --help` shows more."
    )


def start(names: Sequence[str], options: Sequence[str]) -> NoReturn:
    """Run the service that is named, or one of the tasks that are, until it ends.

    Raises:
        UsageError: what is named cannot be imported.
        SystemExit: as `VService.initFromCLI` does.
    """
    from sparts.cli.targets import find_service

    sys.argv = [f"sparts run {' '.join(names)}", *options]
    find_service(names).initFromCLI()
