"""The option that the writers for init systems share."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from sparts.option_types import path
from sparts.options import Option, OptionGroup, option


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
