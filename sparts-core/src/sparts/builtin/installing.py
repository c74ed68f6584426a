"""The option that the writers for init systems share."""

from __future__ import annotations

from sparts.option_types import path
from sparts.options import OptionGroup, option


class Installing(OptionGroup):
    """Options of `systemd` and `runit`."""

    OPT_PREFIX = ""
    TITLE = "process"

    install_folder = option(
        type=path,
        metavar="FOLDER",
        help="where to write them; without it /etc/systemd/system (not root: "
        "~/.config/systemd/user), /etc/sv",
        reloadable=False,
        advanced=True,
    )
