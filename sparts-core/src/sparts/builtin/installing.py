"""The option that the writers for init systems share."""

from __future__ import annotations

from sparts.options import OptionGroup, option


class Installing(OptionGroup):
    """Options of `systemd` and `runit`."""

    OPT_PREFIX = ""
    TITLE = "process"

    install_folder = option(
        metavar="FOLDER",
        help="where to write them; without it /etc/systemd/system (not root: "
        "~/.config/systemd/user), /etc/sv",
        reloadable=False,
        advanced=True,
    )
