"""How built-in plugins declare the options that belong to the process of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparts.option_types import path
from sparts.options import Option, OptionGroup, option

if TYPE_CHECKING:
    from pathlib import Path


def fixed(**arguments: Any) -> Any:
    """Declare an option that counts from the start on, and that ``--help-all`` alone shows."""
    return option(**{"reloadable": False, "advanced": True} | arguments)


def switch(help: str, **arguments: Any) -> Any:
    """Declare such an option without a value: it is False until it is given."""
    return fixed(action="store_true", default=False, help=help, **arguments)


class ProcessOptions(OptionGroup):
    """Options of a built-in plugin that are shown under the title "process"."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "process"


class Installing(ProcessOptions):
    """Options of `systemd` and `runit`."""

    install_folder: Option[Path] = fixed(
        type=path,
        metavar="FOLDER",
        help="where to write them; without it /etc/systemd/system (not root: "
        "~/.config/systemd/user), /etc/sv",
    )
