"""``--config``, ``--show-config``, ``--write-config``: options from TOML files, and written out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from sparts.builtin import ProcessOptions, switch
from sparts.hookspecs import hookimpl
from sparts.options import MISSING, Option, OptionGroup, OptionSource, option, state_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sparts.options.binding import Binding, Layer
    from sparts.vservice import VService


class Configuration(ProcessOptions):
    """Options of `config`."""

    TITLE: ClassVar[str | None] = "configuration"

    config: Option[list[str]] = option(
        type=str,
        action="append",
        metavar="FILE",
        reloadable=False,
        command_line_only=True,
        help="read options from this TOML file; may be repeated, later files win",
    )
    show_config: Option[bool] = switch(
        "print every option's value and where it came from, and exit", command_line_only=True
    )
    write_config: Option[bool] = switch(
        "print a commented configuration file of all options, and exit", command_line_only=True
    )


class Files:
    """A source of options: the configuration files."""

    name = "file"

    def __init__(self, service_class: type, files: Sequence[str], options: argparse.Namespace):
        self._service_class = service_class
        self._files = files
        state = state_of(options)
        bindings = () if state is None else state.bindings.values()
        self._bindings = [each for each in bindings if not each.option.command_line_only]
        self._found: Layer = {}

    def read(self) -> None:
        """Read all files.

        Raises:
            OptionError: a file is unreadable or malformed, or has an unknown key or a wrong value.
        """
        from sparts.options.files import read_files

        self._found = read_files(self._bindings, self._service_class, self._files)

    def get(self, option: Binding) -> object:
        """Return the value that the files give to an option."""
        return self._found[option.dest][0] if option.dest in self._found else MISSING

    def place(self, option: Binding) -> str:
        """Return the file, the section and the key of an option."""
        return self._found[option.dest][1].name


@hookimpl
def sparts_options_add() -> type[OptionGroup]:
    """Add the options."""
    return Configuration


@hookimpl(tryfirst=True)  # files count more than the sources of others
def sparts_sources_add(
    service_class: type[VService], options: argparse.Namespace
) -> list[OptionSource]:
    """Give the files that ``--config`` names, or ``NAME_CONFIG``, separated by ``:``."""
    asked = Configuration.of(service_class, options)
    files: Sequence[str] = asked.config or ()
    source = asked.source("config")
    if source.kind == "environment":
        files = os.environ[source.name].split(os.pathsep)
    names = [os.path.abspath(file) for file in files if file]
    return [Files(service_class, names, options)] if names else []


@hookimpl
def sparts_service_run(service_class: type[VService], options: argparse.Namespace) -> int | None:
    """Print the options for ``--show-config`` or ``--write-config``."""
    asked, state = Configuration.of(service_class, options), state_of(options)
    if state is None or not (asked.show_config or asked.write_config):
        return None
    from sparts.builtin.config import text

    text.print_toml((text.written_config if asked.write_config else text.shown_config)(state))
    return 0
