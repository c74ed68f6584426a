"""``--runit-install``: a folder for runit, with run, finish, and log/run.

Sources: runsv(8), svlogd(8), chpst(8).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sparts.builtin import Installing, ProcessOptions, switch
from sparts.hookspecs import hookimpl
from sparts.options import Option, OptionGroup

if TYPE_CHECKING:
    import argparse

    from sparts.builtin.installation import Installation
    from sparts.vservice import VService


class Runit(ProcessOptions):
    """Options of `runit`."""

    runit_install: Option[bool] = switch(
        "write a runit folder that runs this command line, and exit (--dryrun prints it)"
    )


@hookimpl
def sparts_options_add() -> list[type[OptionGroup]]:
    """Add the options."""
    return [Runit, Installing]


@hookimpl
def sparts_service_run(
    service_class: type[VService], options: argparse.Namespace, name: str | None
) -> int | None:
    """Write a folder instead of running, if ``--runit-install`` is given."""
    asked = Runit.of(service_class, options).runit_install
    return install(service_class, options, name) if asked else None


def install(service_class: type[VService], ns: argparse.Namespace, name: str | None) -> int:
    """Write the folder of a service, or print it with ``--dryrun``; return the exit status.

    Raises:
        UsageError: the options are wrong, or a file cannot be written.
    """
    import shlex

    from sparts.builtin.installation import read_installation, write_files

    found = read_installation(service_class, ns, name)
    dry = bool(getattr(ns, "dryrun", False))
    parent = os.path.abspath(found.service.getOption("install_folder", None) or "/etc/sv")
    folder = os.path.join(parent, found.name)
    write_files(folder, files_of(found), dry)
    if not dry:
        print(f"Next: ln -s {shlex.quote(folder)} /etc/service/")
        if timeout := found.service._instance.settings.stop_timeout:
            print(f"Stop it with: sv -w {timeout + 5:g} down {found.name}")
    return 0


def files_of(found: Installation) -> dict[str, str]:
    """Return the texts of the files by their paths in the folder."""
    import shlex

    from sparts.builtin.installation import MARK, template

    quoted = {key: shlex.quote(value) for key, value in found.variables.items()}
    variables = "".join(f"export {key}={value}\n" for key, value in quoted.items())
    for key in found.secrets:
        variables += f"# {key} is a secret: export {key}_FILE=/path/of/a/file/that/holds/it\n"
    files = {"run": "run.sh", "finish": "finish.sh", "log/run": "log.sh"}
    facts = {
        "mark": MARK,
        "name": found.name,
        "folder": shlex.quote(found.folder),
        "variables": variables,
        "command": shlex.join(found.words),
    }
    texts = {path: template("sparts.builtin.runit", file) for path, file in files.items()}
    return {path: text.format(**facts) for path, text in texts.items()}
