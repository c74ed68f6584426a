"""``--systemd-install``: a service unit, and a socket unit for each server task.

Sources: systemd.service(5), systemd.exec(5), systemd.socket(5), systemd.syntax(7).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from sparts.builtin import Daemon
from sparts.builtin.installation import (
    MARK,
    Installation,
    command_line,
    read_installation,
    template,
    write_files,
)
from sparts.builtin.logs import Logs
from sparts.errors import OptionError
from sparts.option_types import Expected, expand_home
from sparts.shown import ours

if TYPE_CHECKING:
    import argparse

    from sparts.protocols import Address
    from sparts.vservice import VService

GRACE = 5
"""Seconds after its own deadline after which systemd kills a service: its guard acts before."""
USERS = "NoNewPrivileges=yes\nUMask={mask:04o}\n"
"""What a manager of a user, who is not root, can grant everywhere."""


def install(service_class: type[VService], ns: argparse.Namespace, name: str | None) -> int:
    """Write the units of a service, or print them with ``--dryrun``; return the exit status.

    Raises:
        UsageError: the options are wrong, or a file cannot be written.
    """
    found = read_installation(service_class, ns, name)
    system, dry = os.geteuid() == 0, bool(getattr(ns, "dryrun", False))
    default = "/etc/systemd/system" if system else "~/.config/systemd/user"
    try:
        given = found.service.getOption("install_folder")
        folder = os.path.abspath(given or expand_home(default))
    except Expected as error:
        raise OptionError(f"--install-folder: expected {error}.") from None
    units = sockets_of(found, system)
    files = {f"{found.name}.service": service_unit(found, list(units), system), **units}
    write_files(folder, files, dry)
    if not dry:
        ctl = "systemctl" if system else "systemctl --user"
        what = " ".join([f"{found.name}.service", *units])
        print(f"Next: {ctl} daemon-reload && {ctl} enable --now {what}")
    return 0


def service_unit(found: Installation, sockets: list[str], system: bool = True) -> str:
    """Return the text of the service unit.

    Args:
        found: the service.
        sockets: the names of its socket units.
        system: whether it is for the system's manager; else for that of a user.
    """
    service = found.service
    words = command_line(found.words, ("--user", "--group"))
    process = Daemon(service)
    who = [f"User={process.user}"] if process.user else ["DynamicUser=yes"]
    who += [f"Group={process.group}"] if process.group else []
    mask = ours(service).getOption("umask")
    rights = (template("sparts.builtin.systemd", "hardening.conf") if system else USERS).format(
        home="read-only" if _under(found, "/home", "/root", "/run/user") else "yes",
        tmp="no" if _under(found, "/tmp", "/var/tmp") else "yes",  # noqa: S108 - nothing is made there
        mask=0o077 if mask is None else mask,
    )
    settings = [f"WorkingDirectory={_raw(found.folder)}"]
    settings += [f"Environment={_quoted(f'{key}={text}')}" for key, text in found.variables.items()]
    settings += [
        f"# {key} is a secret: LoadCredential={dest}:/path/of/a/file/that/holds/it"
        for key, dest in found.secrets.items()
    ]
    settings += [f"Sockets={name}" for name in sockets]
    stop, start = service._instance.settings.stop_timeout, service._instance.settings.start_timeout
    limits = [f"TimeoutStopSec={_seconds(stop + GRACE) if stop else 'infinity'}"]
    limits += [f"TimeoutStartSec={_seconds(start + GRACE)}"] if start else []
    if system:
        written = [f"ReadWritePaths={_quoted(path)}" for path in _written(found)]
        rights = "\n".join([*who, f"StateDirectory={found.name}", *written, rights])
    return template("sparts.builtin.systemd", "service.unit").format(
        mark=MARK,
        words=" ".join(map(_quoted, words)),
        title=_raw(found.title),
        command=_command(words),
        settings="\n".join(settings),
        limits="\n".join(limits),
        rights=rights,
        target="multi-user" if system else "default",
    )


def sockets_of(found: Installation, system: bool = True) -> dict[str, str]:
    """Return the socket units of a service by name; a port that is free to choose gets none."""
    return {
        f"{found.name}-{address.prefix}.socket": _socket_unit(found, address, system)
        for address in found.addresses
        if address.path or address.port
    }


def _socket_unit(found: Installation, address: Address, system: bool) -> str:
    user = Daemon(found.service).user
    if address.path:
        listens = [_raw(os.path.abspath(address.path))]
        more = [f"SocketMode={'0660' if address.group else '0600'}"]
        more += [f"SocketGroup={address.group}"] if address.group else []
        more += [f"SocketUser={user}"] if user and system else []
        more += ["RemoveOnStop=yes"]
    else:
        listens, more = address.resolved(), ["BindIPv6Only=ipv6-only"]
    return template("sparts.builtin.systemd", "socket.unit").format(
        mark=MARK,
        title=_raw(found.title),
        owner=address.owner,
        listens="\n".join([*(f"ListenStream={each}" for each in listens), *more]),
        backlog=address.backlog,
        prefix=address.prefix,
        name=found.name,
    )


def _written(found: Installation) -> list[str]:
    """The folders that the service writes to, as far as its options say."""
    logfile = Logs(found.service).logfile
    files = [os.path.join(found.folder, logfile)] if logfile else []
    return sorted({os.path.dirname(os.path.abspath(file)) for file in files})


def _under(found: Installation, *folders: str) -> bool:
    """Whether something that the service needs to read lies in one of these folders."""
    paths = [found.folder, *(word for word in found.words if word.startswith("/"))]
    return any(f"{path}/".startswith(f"{folder}/") for path in paths for folder in folders)


def _seconds(seconds: float) -> str:
    return f"{seconds:g}"


def _raw(text: str) -> str:
    """A string as the whole rest of a line: specifiers escaped."""
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) quotes it, specifiers escaped."""
    word = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", word):
        return word
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(letter, letter) for letter in word) + '"'


def _command(words: list[str]) -> str:
    """A command line, of whose arguments no ``$`` is taken for a variable."""
    first, *rest = words
    return " ".join([_quoted(first), *(_quoted(word.replace("$", "$$")) for word in rest)])
