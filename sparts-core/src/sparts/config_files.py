"""What files give: TOML configuration, and secrets from files of their own."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from sparts.errors import OptionError
from sparts.option_binding import Binding, Layer, Source, State

_AT = re.compile(r" \(at line ([0-9]+), column [0-9]+\)$")
_Sections = dict[str, dict[str, Binding]]  # by the names that a file may use, "-" written "_"


def read_files(files: Iterable[str], state: State) -> Layer:
    """The values that these configuration files give; later files win.

    Raises:
        OptionError: a file is unreadable or malformed, or has an unknown key or a wrong value.
    """
    sections = _sections(state)
    found: Layer = {}
    for file in files:
        found.update(_Reader(file, sections).read(_parse(file)))
    return found


def _sections(state: State) -> _Sections:
    """The options by section and key; a task's section is its name or prefix, the service's ""."""
    sections: _Sections = {"": {}}
    for binding in state.bindings.values():
        if binding.owner is state.service:
            sections[""][binding.key] = binding
            continue
        for name in (binding.owner.__name__, binding.prefix):
            sections.setdefault(name.replace("-", "_"), {})[binding.key] = binding
    return sections


class _Reader:
    """Reads the tables of one file.

    Args:
        file: its path, for messages.
        sections: the options that it may set.
    """

    def __init__(self, file: str, sections: _Sections) -> None:
        self.file = file
        self.sections = sections
        self.found: Layer = {}

    def read(self, top: Mapping[str, Any]) -> Layer:
        """The values of a whole file."""
        for name, value in top.items():
            section = name.replace("-", "_")
            if isinstance(value, dict) and section in self.sections:
                for key, part in value.items():
                    self._take(name, self.sections[section], key, part)
            elif isinstance(value, dict) and section not in self.sections[""]:
                known = [*self.sections, *(b.owner.__name__ for b in self._all())]
                raise OptionError(f"{self.file}: [{name}]: no such section.{_near(section, known)}")
            else:
                self._take("", self.sections[""], name, value)
        return self.found

    def _take(self, section: str, keys: Mapping[str, Binding], key: str, value: object) -> None:
        """Take one key's value."""
        place = f"{self.file}: [{section}] {key}" if section else f"{self.file}: {key}"
        binding = keys.get(key.replace("-", "_"))
        if binding is None:
            raise OptionError(f"{place}: no such key.{self._hint(key, keys)}")
        if binding.dest in self.found:
            raise OptionError(f"{place}: given twice, see {self.found[binding.dest][1].name}.")
        self.found[binding.dest] = (binding.convert(value, place), Source("file", place))

    def _hint(self, key: str, keys: Mapping[str, Binding]) -> str:
        """What the key may have been meant to be: one of its section, or one of another."""
        plain = key.replace("-", "_")
        for binding in self._all():
            if binding.owner.__name__ and plain == binding.dest and plain not in keys:
                return f" It goes into [{binding.owner.__name__}] as '{binding.key}'."
        return _near(plain, keys)

    def _all(self) -> Iterable[Binding]:
        """The options of all tasks."""
        return (b for name, keys in self.sections.items() if name for b in keys.values())


def _near(name: str, known: Iterable[str]) -> str:
    """A question for the nearest known name, or what there is."""
    from difflib import get_close_matches

    names = sorted({each for each in known if each})
    near = get_close_matches(name, names, 1)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" There are: {', '.join(names)}." if names else ""


def _parse(file: str) -> dict[str, Any]:
    """The tables of a TOML file."""
    text = read_text(file, file)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = _AT.search(str(exc))
        line = int(found[1]) if found else text.count("\n") + 1
        what = str(exc).removesuffix(found[0] if found else " (at end of document)")
        raise OptionError(f"{file}: line {line}: not valid TOML: {what}.") from exc
    except (ValueError, RecursionError) as exc:  # a number of too many digits, a nesting too deep
        raise OptionError(f"{file}: not valid TOML: {exc}.") from exc


def read_text(file: str, source: str) -> str:
    """The text of a file.

    Args:
        file: its path.
        source: how messages name it.

    Raises:
        OptionError: it cannot be read or is not UTF-8.
    """
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except OSError as exc:
        raise OptionError(f"{source}: cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise OptionError(f"{source}: cannot be read: {exc}.") from exc
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise OptionError(f"{source}: line {line}: not UTF-8.") from None


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
    file = os.environ.get(name)
    if file is not None:
        if raw is not None:
            raise OptionError(f"{binding.env} and {name} are both set: leave one of them out.")
        return name, _without_newline(read_text(file, f"{name}: {file}"))
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if raw is None and folder:
        for credential in dict.fromkeys((binding.dest, binding.dest.replace("_", "-"))):
            file = os.path.join(folder, credential)
            if os.path.exists(file):
                return f"credential {credential}", _without_newline(read_text(file, file))
    return binding.env, raw


def _without_newline(text: str) -> str:
    """``text`` without the newline at its end."""
    return text.removesuffix("\n").removesuffix("\r")
