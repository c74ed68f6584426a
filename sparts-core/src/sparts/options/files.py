"""What files give: TOML configuration, and secrets from files of their own."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from sparts.entry_points import OPTIONS, install_hint, known_providers
from sparts.errors import OptionError, nearest
from sparts.options.binding import Binding, Layer, Source


def read_files(bindings: Iterable[Binding], service: type, files: Iterable[str]) -> Layer:
    """The values that configuration files give to the options of a service, as TOML has them; later
    files win.

    Raises:
        OptionError: a file is unreadable or malformed, or has an unknown key or a wrong value.
    """
    sections: dict[str, dict[str, Binding]] = {"": {}}  # by name (with "_" for "-") and key
    for binding in bindings:
        own = binding.owner is service or not binding.prefix
        for name in ("",) if own else (binding.owner.__name__, binding.prefix):
            sections.setdefault(name.replace("-", "_"), {})[binding.key] = binding
    found: Layer = {}
    for file in files:
        found.update(_read(file, sections))
    return found


def _read(file: str, sections: Mapping[str, Mapping[str, Binding]]) -> Layer:
    found: Layer = {}

    def take(section: str, keys: Mapping[str, Binding], key: str, value: object) -> None:
        place = f"{file}: [{section}] {key}" if section else f"{file}: {key}"
        binding = keys.get(key.replace("-", "_"))
        if binding is None:
            raise OptionError(f"{place}: no such key.{hint(key, keys)}")
        if binding.dest in found:
            raise OptionError(f"{place}: given twice, see {found[binding.dest][1].name}.")
        found[binding.dest] = (value, Source("file", place))

    def hint(key: str, keys: Mapping[str, Binding]) -> str:
        for binding in (b for name, known in sections.items() if name for b in known.values()):
            if key.replace("-", "_") == binding.dest:
                return f" It goes into [{binding.owner.__name__}] as '{binding.key}'."
        flag = f"--{key.replace('_', '-')}"
        if keys is sections[""] and flag in (known := known_providers(OPTIONS)):
            return f" {install_hint(known[flag])}"
        return _near(key, keys)

    for name, value in _parse(file).items():
        section = name.replace("-", "_")
        if isinstance(value, dict) and section in sections:
            for key, part in value.items():
                take(name, sections[section], key, part)
        elif isinstance(value, dict) and section not in sections[""]:
            raise OptionError(f"{file}: [{name}]: no such section.{_near(name, sections)}")
        elif section in sections and section not in sections[""]:
            raise OptionError(f"{file}: {name}: expected a section: [{name}], its keys below it.")
        else:
            take("", sections[""], name, value)
    return found


def _near(name: str, known: Iterable[str]) -> str:
    """A question for the nearest known name, or what there is."""
    names = sorted(filter(None, known))
    if near := nearest(name.replace("-", "_"), names):
        return f" Did you mean '{near}'?"
    return f" There are: {', '.join(names)}." if names else ""


def _parse(file: str) -> dict[str, Any]:
    text = read_text(file, file).removeprefix("\ufeff")  # a mark that some editors write
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        what, _, where = str(exc).removesuffix(")").rpartition(" (at ")
        what += " (a string needs quotes)" * (what == "Invalid value")
        found = re.match(r"line ([0-9]+)", where)  # or "end of document"
        line = found[1] if found else text.count("\n") + 1
        raise OptionError(f"{file}: line {line}: not valid TOML: {what}.") from exc
    except (ValueError, RecursionError) as exc:  # a number of too many digits, a nesting too deep
        raise OptionError(f"{file}: not valid TOML: {exc}.") from exc


def read_text(file: str, source: str) -> str:
    """The text of a file; ``source`` is how messages name it.

    Raises:
        OptionError: it cannot be read or is not UTF-8.
    """
    data = b""
    try:
        with open(file, "rb") as stream:
            data = stream.read()
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise OptionError(f"{source}: line {line}: not UTF-8.") from None
    except (OSError, ValueError) as exc:  # the latter for a null byte in the path
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise OptionError(f"{source}: cannot be read: {reason}.") from exc


def secret_from_file(binding: Binding, raw: str | None) -> tuple[str, str | None]:
    """A secret option's value from a file of its own, if there is one.

    ``NAME_FILE`` names the file; failing that, it is the credential of systemd (in
    ``$CREDENTIALS_DIRECTORY``) that is called as the option, ``http_password`` or
    ``http-password``. A newline at its end is not part of the secret.

    Args:
        binding: the option.
        raw: the value of its variable, which counts before a credential.

    Returns:
        What gave it, and the text; None if nothing did.

    Raises:
        OptionError: both variables are set, or the file cannot be read.
    """
    name = f"{binding.env}_FILE"
    if file := os.environ.get(name):
        if raw is not None:
            raise OptionError(f"{binding.env} and {name} are both set: leave one of them out.")
        return name, _secret(file, f"{name}: {file}")
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if raw is None and folder:
        for credential in (binding.dest, binding.dest.replace("_", "-")):
            file = os.path.join(folder, credential)
            if os.path.exists(file):
                return f"credential {credential}", _secret(file, file)
    return binding.env, raw


def _secret(file: str, source: str) -> str:
    return read_text(file, source).removesuffix("\n").removesuffix("\r")
