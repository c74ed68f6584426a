"""Options written out: what ``--show-config`` and ``--write-config`` print, both of them TOML."""

from __future__ import annotations

import io
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from itertools import groupby

from sparts.errors import text_of
from sparts.masking import MASK, masked, one_line
from sparts.option_types import display, written
from sparts.options import prefix_of
from sparts.options.arguments import first_line
from sparts.options.binding import Binding, State
from sparts.this_process import open_closed_streams


def print_toml(text: str) -> None:
    """Print a file of TOML, which is UTF-8 whatever the terminal's encoding is."""
    open_closed_streams()
    sys.stdout.flush()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.buffer.write(text.encode())
    else:  # not the process's own
        sys.stdout.write(text)
    sys.stdout.flush()


def shown_config(state: State) -> str:
    """Every option's value and where it came from; a secret that is set is masked."""
    lines = [f"# The options of {state.service.__name__}, and where each value came from."]
    for owner, bindings in _by_owner(state):
        lines.extend(_heading(owner, state))
        for binding in bindings:
            value = state.layered[binding.dest]
            secret = binding.option.secret and value is not None
            plain = MASK if secret else masked(written(binding.kind, value))
            line = assignment(binding.key, plain)
            lines.append(f"{line}  # {one_line(str(state.sources[binding.dest]))}")
    return "\n".join(lines) + "\n"


def written_config(state: State) -> str:
    """A configuration file of all options: each with its help and its default, commented out."""
    lines = [
        f"# Configuration of {state.service.__name__}.",
        "# A key that is commented out shows the default: remove its '#' to change it.",
    ]
    for owner, bindings in _by_owner(state):
        lines.extend(_heading(owner, state))
        for binding in bindings:
            lines.append("")
            for paragraph in _description(binding):
                lines.extend(_comment(paragraph))
            lines.extend(_default(binding))
    return "\n".join(lines) + "\n"


def _by_owner(state: State) -> Iterator[tuple[type, list[Binding]]]:
    """The options of the service and of each task that has any."""
    shown = [each for each in state.bindings.values() if not each.option.command_line_only]
    for owner, bindings in groupby(shown, lambda binding: binding.owner):
        yield owner, list(bindings)


def _heading(owner: type, state: State) -> list[str]:
    """The table of a task, after what the task does."""
    if owner is state.service or prefix_of(owner) == "":
        return []
    return ["", *_comment(first_line(owner)), f"[{_key(owner.__name__)}]"]


def _description(binding: Binding) -> list[str]:
    """What a key is for, what it takes and which variable does the same."""
    option = binding.option
    fill = dict.fromkeys(("prog", "default", "dest", "metavar", "type", "choices"), "")
    try:
        parts = [
            (option.help or "") % {**fill, "default": MASK if option.secret else binding.default}
        ]
    except (KeyError, TypeError, ValueError):
        parts = [option.help or ""]
    if option.choices is not None:
        parts.append("One of " + ", ".join(map(display, option.choices)) + ".")
    if option.required:
        parts.append("Required.")
    if option.secret:
        parts.append(f"Secret: better in the file that {binding.env}_FILE names.")
    return [*parts, f"Variable: {binding.env}"]


def _comment(text: str) -> list[str]:
    """``text`` as lines of comment, without what TOML forbids there."""
    return [f"# {one_line(line)}" for line in textwrap.wrap(text, 96)]


def _default(binding: Binding) -> list[str]:
    """The line of a key with its default, commented out; no value if there is none to be shown, or
    none that a file can hold."""
    default = None if binding.option.secret else binding.default
    if default is None:
        return [f"#{_key(binding.key)} ="]
    for text in _spellings(binding, default):
        with suppress(Exception):  # of a type that is anybody's function
            found = binding.convert(tomllib.loads(f"x = {text}")["x"], "")
            if found == default or str(found) == str(default):
                return [f"#{_key(binding.key)} = {masked(text)}"]
    return [
        *_comment(f"A file cannot hold the default: {masked(text_of(default, repr))}"),
        f"#{_key(binding.key)} =",
    ]


def _spellings(binding: Binding, value: object) -> Iterator[str]:
    """How a file may spell a value, the best first."""
    plain = isinstance(value, int | float | dict | list | tuple | set | frozenset | re.Pattern)
    with suppress(Exception):  # of anybody's value: it cannot be shown
        if plain or type(value).__str__ is not object.__str__:
            yield toml(written(binding.kind, value))
            yield toml(str(value))
        if plain:
            yield toml(json.dumps(value))


def assignment(key: str, value: object) -> str:
    """A line of TOML; commented out and without a value for None, which TOML has no word for."""
    return f"#{_key(key)} =" if value is None else f"{_key(key)} = {toml(value)}"


def _key(name: str) -> str:
    """A key of TOML, quoted where it has to be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def toml(value: object) -> str:
    """A value as TOML writes it; what TOML has no form for is its text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return toml(value.name)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    text = value if isinstance(value, str) else str(getattr(value, "pattern", value))
    text = text.encode("utf-8", "replace").decode()
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
