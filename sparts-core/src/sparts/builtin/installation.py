"""What the writers for init systems share: the command line that started us, files to write."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from sparts.builtin.listeners import servers_of
from sparts.errors import UsageError
from sparts.options.binding import state_of
from sparts.shown import ours

if TYPE_CHECKING:
    import argparse

    from sparts.protocols import Address
    from sparts.vservice import VService

LEFT_OUT = ("--systemd-install", "--runit-install", "--install-folder", "--dryrun", "--daemon")
"""Flags that are not part of what an init system must run."""
WITH_VALUE = ("--install-folder", "--user", "--group")
MARK = "Written by sparts"


class Installation(NamedTuple):
    """A service to be run by an init system."""

    name: str
    """The name of the service, fit for a file."""
    title: str
    """One line that says what it is."""
    words: list[str]
    """The command line that started us, without what asked for the installation."""
    folder: str
    """The folder that it was started in, where relative paths begin."""
    variables: dict[str, str]
    """The environment variables that options came from."""
    secrets: dict[str, str]
    """Those of secret options, which are not written down: the option's name by variable."""
    service: VService
    addresses: list[Address]


def read_installation(
    service_class: type[VService], ns: argparse.Namespace, name: str | None
) -> Installation:
    """Return what there is to install.

    Raises:
        UsageError: the service could not be made as its options are.
    """
    service = service_class(ns)
    service.name = name or service._instance.name
    service._instance.preprocess_options()
    ours(service).tasks.create(service)
    addresses = [task.address() for task in servers_of(service) if not task._binds_itself]
    variables: dict[str, str] = {}
    secrets: dict[str, str] = {}
    if state := state_of(ns):
        for dest, source in state.sources.items():
            secret = state.bindings[dest].option.secret
            if secret and source.kind == "command line":
                raise UsageError(
                    f"{source.name} is a secret, and the command line would be written to a file. "
                    f"Give it by the variable {state.bindings[dest].env}_FILE."
                )
            if source.kind == "environment" and source.name in os.environ:
                binding = state.bindings[dest]
                if binding.option.secret and source.name == binding.env:
                    secrets[source.name] = dest
                else:
                    variables[source.name] = os.environ[source.name]
    doc = (service_class.__doc__ or "").strip().partition("\n")[0]
    return Installation(
        re.sub(r"[^A-Za-z0-9_.:-]", "_", service._instance.name),
        doc or service._instance.name,
        command_line(sys.orig_argv),
        os.getcwd(),
        variables,
        secrets,
        service,
        addresses,
    )


def template(package: str, name: str) -> str:
    """Return the text of a file of a package, with ``{names}`` of what is to be filled in."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def command_line(argv: list[str], also_without: tuple[str, ...] = ()) -> list[str]:
    """Return a command line with absolute paths, without what asks for an installation.

    Args:
        argv: the whole of it, from the interpreter on.
        also_without: further flags to leave out, with their values.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    words, unwanted = [os.path.abspath(sys.executable)], (*LEFT_OUT, *also_without)
    rest = iter(argv[1:])
    for word in rest:
        flag, equals, _ = word.partition("=")
        # argparse takes the beginning of a flag for it; "--" alone is none
        meant = [each for each in unwanted if len(flag) > 3 and each.startswith(flag)]
        if not meant:
            same = main is not None and os.path.abspath(word) == os.path.abspath(main)
            words.append(os.path.abspath(word) if same else word)
        elif meant[0] in WITH_VALUE and not equals:
            next(rest, None)
    return words


def write_files(folder: str, files: dict[str, str], dry: bool) -> None:
    """Write files into a folder, or print them; what somebody else wrote there is left alone.

    Args:
        folder: where to; it is made.
        files: their texts by path within it; a program begins with ``#!``.
        dry: print them instead.

    Raises:
        UsageError: a file is another's, or cannot be written; then none was.
    """
    paths = {os.path.join(folder, name): text for name, text in files.items()}
    temporary = ""
    if dry:
        for path, text in paths.items():
            print(f"# {path}\n{text}")
        return
    try:
        for path in filter(os.path.lexists, paths):
            with open(path, encoding="utf-8", errors="replace") as file:
                if MARK not in file.read():
                    raise UsageError(f"{path} is not of our writing, and is left as it is.")
        for path, text in paths.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = f"{path}.new"
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
                os.chmod(file.fileno(), 0o755 if text.startswith("#!") else 0o644)
            os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(temporary)
        place = error.filename or temporary  # a write names no file
        raise UsageError(f"{place}: cannot be written: {error.strerror}.") from error
    print("\n".join(f"Wrote {path}" for path in paths))
