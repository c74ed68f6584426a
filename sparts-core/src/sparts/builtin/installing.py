"""The option that the writers for init systems share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparts.option_types import path
from sparts.options import Option, OptionGroup, option

if TYPE_CHECKING:
    from pathlib import Path


class Installing(OptionGroup):
    """Options of `systemd` and `runit`."""

    OPT_PREFIX: ClassVar[str | None] = ""
    TITLE: ClassVar[str | None] = "process"

    install_folder: Option[Path] = option(
        type=path,
        metavar="FOLDER",
        help="where to write them; without it /etc/systemd/system (not root: "
        "~/.config/systemd/user), /etc/sv",
        reloadable=False,
        advanced=True,
    )
