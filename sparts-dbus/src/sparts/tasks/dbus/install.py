"""``sparts dbus-install``: the files by which a bus knows a service.

They are a ``.service`` file, with which the bus starts the service when it is called
(https://dbus.freedesktop.org/doc/dbus-specification.html#message-bus-starting-services), and on the
system bus a policy, which lets it own its name and others call it
(https://dbus.freedesktop.org/doc/dbus-daemon.1.html#configuration_file), and the action that polkit
is asked for.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from sparts.cli.targets import find_service
from sparts.errors import UsageError
from sparts.option_types import Expected, expand_home
from sparts.options import flag_of
from sparts.tasks.dbus.control import action_of
from sparts.tasks.dbus.service import DBusServiceTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparts.vservice import VService

SYSTEM_SERVICES = "/usr/share/dbus-1/system-services"
SYSTEM_POLICIES = "/usr/share/dbus-1/system.d"
ACTIONS = "/usr/share/polkit-1/actions"

POLICY = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<!-- {title} may own its name, and everybody may call it. Made by `sparts dbus-install`. -->
<busconfig>
  <policy user={user}>
    <allow own={name}/>
  </policy>
  <policy context="default">
    <allow send_destination={name}/>
  </policy>
</busconfig>
"""
ACTION_FILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<!-- Who may change options of {title}, restart and end it, beside root and the user that it
     runs as, who may ask polkit for this action. Made by `sparts dbus-install`. -->
<policyconfig>
  <action id={action}>
    <description>Control {title}</description>
    <message>Authentication is required to control {title}</message>
    <defaults>
      <allow_any>auth_admin</allow_any>
      <allow_inactive>auth_admin</allow_inactive>
      <allow_active>auth_admin_keep</allow_active>
    </defaults>
    <annotate key="org.freedesktop.policykit.owner">unix-user:{owner}</annotate>
  </action>
</policyconfig>
"""


def main(argv: list[str]) -> int:
    """Install the D-Bus files of a service, or show them.

    Raises:
        UsageError: the service cannot be imported, has no name on a bus, or a file cannot be
            written.
    """
    parser = _parser()
    end = argv.index("--") if "--" in argv else len(argv)
    wanted, rest = parser.parse_known_args(argv[:end])
    if rest:
        parser.error(f"{rest[0]}: options of the service come after --")
    found = dict(_files(wanted, argv[end + 1 :]))
    for path, text in found.items():
        if wanted.dry_run:
            print(f"--- {path}\n{text}")
        else:
            _write(path, text)
            print(f"wrote {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparts dbus-install",
        description="Write the files by which a D-Bus daemon knows a service: a .service file, so "
        "that it is started when it is called; with --system a policy and an action of polkit too.",
        epilog="examples:\n"
        "  sparts dbus-install my_service:MyService --dry-run\n"
        "  sparts dbus-install my_service:MyService --system --user radio\n"
        "  sparts dbus-install my_service:MyService -- --level INFO",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("service", metavar="MODULE:SERVICE", help="the service, or a task by its name")
    add("--system", action="store_true", help="for the system bus instead of the session bus")
    add("--user", default="root", help="the user that it runs as on the system bus (root)")
    add("--systemd-service", metavar="UNIT", help="have systemd start this unit instead")
    add("--exec", dest="command", metavar="COMMAND", help="command that starts it (sparts run ...)")
    add("--root", default="/", metavar="FOLDER", help="write below this folder, to make a package")
    add("--dry-run", action="store_true", help="show the files and write nothing")
    return parser


def _files(wanted: argparse.Namespace, options: list[str]) -> Iterator[tuple[Path, str]]:
    """Give the paths and the texts of the files."""
    service = find_service([wanted.service])
    task = _find_task(service, options)
    name = task.name_on_bus
    root = Path(wanted.root)
    services = root / SYSTEM_SERVICES[1:] if wanted.system else _session_services(root)
    lines = ["[D-BUS Service]", f"Name={name}", f"Exec={_command(wanted, task, options)}"]
    if wanted.system:
        lines.append(f"User={wanted.user}")
    if wanted.systemd_service:
        lines.append(f"SystemdService={wanted.systemd_service}")
    yield services / f"{name}.service", "\n".join(lines) + "\n"
    if wanted.system:
        title = escape(service.__name__)
        policy = POLICY.format(title=title, user=quoteattr(wanted.user), name=quoteattr(name))
        yield root / SYSTEM_POLICIES[1:] / f"{name}.conf", policy
        action = ACTION_FILE.format(
            title=title, action=quoteattr(action_of(name)), owner=escape(wanted.user)
        )
        yield root / ACTIONS[1:] / f"{name}.policy", action


def _find_task(service_class: type[VService], options: list[str]) -> DBusServiceTask:
    """Return the task that owns the name of a service with these options."""
    service = service_class.from_args(options)
    tasks: list[type[DBusServiceTask]] = [
        task
        for task in service.tasks
        if isinstance(task, type) and issubclass(task, DBusServiceTask)
    ]
    if not tasks:
        raise UsageError(f"{service_class.__name__} has no DBusServiceTask, so no name on a bus.")
    task = tasks[0](service)
    task.check_offer()
    return task


def _session_services(root: Path) -> Path:
    """Return the folder for the files of the user's own session bus.

    Raises:
        UsageError: nothing says where the home directory is.
    """
    try:
        home = os.environ.get("XDG_DATA_HOME") or expand_home("~/.local/share")
    except Expected:
        raise UsageError(
            "No folder for session services is known, as neither XDG_DATA_HOME nor HOME is set "
            "and this user has no home directory."
        ) from None
    return root / home.lstrip("/") / "dbus-1" / "services"


def _command(wanted: argparse.Namespace, task: DBusServiceTask, options: list[str]) -> str:
    """Return the command line that starts the service; its program as an absolute path."""
    if wanted.command:
        program = shlex.split(wanted.command)[0]
        if not os.path.isabs(program):
            raise UsageError(f"--exec: {program!r} is not an absolute path, which the bus needs.")
        return str(wanted.command)
    sparts = os.path.join(os.path.dirname(sys.executable), "sparts")
    if not os.path.exists(sparts):
        sparts = shutil.which("sparts") or sparts
    bus = [flag_of(type(task), "system-bus")] if wanted.system else []
    return shlex.join([sparts, "run", wanted.service, *bus, *options])


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise UsageError(
            f"{path} could not be written: {error.strerror}. See what it would be with --dry-run."
        ) from error
