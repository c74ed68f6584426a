"""The user and the groups that a process becomes once its sockets are bound."""

from __future__ import annotations

import grp
import os
import pwd
from typing import NamedTuple

from sparts.errors import OptionError


class Identity(NamedTuple):
    """What a process is to become."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    variables: dict[str, str]
    """Environment variables that follow: ``HOME``, ``USER``, ``LOGNAME``."""

    def assume(self) -> None:
        """Become it, in all threads and for good; needs root."""
        os.setgroups(self.groups)
        os.setgid(self.gid)  # of root, these set all three ids
        os.setuid(self.uid)
        os.environ.update(self.variables)


def find_identity(user: str | None, group: str | None) -> Identity | None:
    """Return what ``--user`` and ``--group`` ask for; None if the process is that already.

    Args:
        user: a name or a number; its group and supplementary groups come along.
        group: a name or a number, in place of the user's own group.

    Raises:
        OptionError: there is no such user or group, or only root may become it.
    """
    uid, gid = os.geteuid(), os.getegid()
    name, variables = "", {}
    if user:
        entry = _user(user)
        if entry is None and not group:
            raise OptionError(f"--user: {user} has no entry as a user: give --group too.")
        uid, gid = (entry.pw_uid, entry.pw_gid) if entry else (int(user), gid)
        if entry:
            name = entry.pw_name
            variables = {"HOME": entry.pw_dir, "USER": name, "LOGNAME": name}
    gid = _group(group) if group else gid
    if (uid, gid) == (os.geteuid(), os.getegid()) and (os.geteuid() or not (user or group)):
        return None
    if os.geteuid() != 0:
        flag = "--user" if uid != os.geteuid() else "--group"
        raise OptionError(f"{flag}: only root may become another. Start it as root, or without.")
    groups = os.getgrouplist(name, gid) if name else [gid]
    return Identity(uid, gid, tuple(groups), variables)


def _user(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if user.isdecimal() and int(user) < 2**32 - 1:
            return None
        raise OptionError(f"--user: no user is named {user!r}.") from None


def _group(group: str) -> int:
    if group.isdecimal() and int(group) < 2**32 - 1:
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise OptionError(f"--group: no group is named {group!r}.") from None
