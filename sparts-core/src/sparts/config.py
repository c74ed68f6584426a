"""The four sources of an option's value, layered: command line, environment, file, class."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sparts.arguments import CONFIG, SHOW, WRITE
from sparts.errors import OptionError
from sparts.option_binding import STATE, Binding, Layer, Source, State, env_prefix

_UNSET: Any = object()


def parse_options(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """The namespace of a service: the final, typed value of every option of `add_options`.

    The command line counts before the environment, that before the files, those before the
    defaults. ``--show-config`` and ``--write-config`` print and exit with status 0.

    Args:
        parser: a parser that went through `add_options`.
        argv: the command line without the program; None is that of the process.

    Raises:
        OptionError: a flag, variable, file or value is wrong or missing; the message names it.
        SystemExit: after ``-h``, ``--show-config``, ``--write-config`` and a completion.
    """
    state: State = parser.get_default(STATE)
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    ns = _parse_command_line(parser, argv, state.bindings)
    given = {d: v for d, v in vars(ns).items() if d in state.bindings and v is not _UNSET}
    state = state._replace(given=given, files=_files(ns, state.service))
    if getattr(ns, WRITE, False) is True:
        from sparts.config_text import written_config

        _print_and_exit(written_config(state))
    values, sources = layered(state)
    vars(ns).update(values)
    state = state._replace(sources=sources, layered=values)
    setattr(ns, STATE, state)
    if getattr(ns, SHOW, False) is True:
        from sparts.config_text import shown_config

        _print_and_exit(shown_config(state, values))
    _check_required(state, values)
    return ns


def layered(state: State) -> tuple[dict[str, Any], dict[str, Source]]:
    """The value and the source of every option, from all sources as they are now.

    Raises:
        OptionError: a file or a variable is wrong.
    """
    layers: Layer = {d: (b.default, b.default_source) for d, b in state.bindings.items()}
    if state.files:
        from sparts.config_files import read_files

        layers.update(read_files(state.files, state))
    layers.update(_environment(state))
    for dest, value in state.given.items():
        layers[dest] = (value, Source("command line", state.bindings[dest].flag))
    return {d: v for d, (v, _) in layers.items()}, {d: s for d, (_, s) in layers.items()}


def reload_values(state: State) -> tuple[State, dict[str, Any], list[str]]:
    """What the sources give now; nothing is changed.

    Returns:
        The state after the reload, the values that changed, and the flags of those that may not
        change.

    Raises:
        OptionError: a file or a value is wrong, or a required one is gone.
    """
    if not state.sources:  # argparse alone made the namespace: there is no file to read again
        return state, {}, []
    values, sources = layered(state)
    _check_required(state, values)
    fixed = {d for d, binding in state.bindings.items() if not binding.option.reloadable}
    refused = [state.bindings[d].flag for d in fixed if values[d] != state.layered[d]]
    for dest in values:
        if state.sources[dest].kind == "run time" or dest in fixed:
            sources[dest] = state.sources[dest]
        if dest in fixed:
            values[dest] = state.layered[dest]
    changed = {
        d: value
        for d, value in values.items()
        if value != state.layered[d] and sources[d].kind != "run time"
    }
    return state._replace(sources=sources, layered=values), changed, sorted(refused)


def _parse_command_line(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, bindings: Mapping[str, Binding]
) -> argparse.Namespace:
    """Parse the command line alone: what it does not give is `_UNSET`."""
    actions = {a.dest: a for a in parser._actions if a.dest in bindings}
    plain = (None, "store", "store_true", "store_false")  # the rest builds on what was there: None
    ns = argparse.Namespace(
        **{d: _UNSET if bindings[d].option.action in plain else None for d in actions}
    )
    error = vars(parser).get("error", _UNSET)
    required = [action for action in actions.values() if action.required]
    if type(parser).error is argparse.ArgumentParser.error and error is _UNSET:
        vars(parser)["error"] = _raise
    try:
        for action in required:
            action.required = False
        parser.parse_args(argv, ns)
    except argparse.ArgumentError as exc:  # of a parser with exit_on_error=False
        _raise(str(exc))
    finally:
        for action in required:
            action.required = True
        if error is _UNSET:
            vars(parser).pop("error", None)
    for dest in actions:
        if bindings[dest].option.action not in plain and getattr(ns, dest) is None:
            setattr(ns, dest, _UNSET)
    return ns


def _raise(message: str) -> NoReturn:
    """What a parser's ``error`` does here: the caller says it, without the usage."""
    raise OptionError(message.removeprefix("argument "))


def _files(ns: argparse.Namespace, service: type) -> tuple[str, ...]:
    """The configuration files: those of the command line, or those of ``PREFIX_CONFIG``."""
    given = getattr(ns, CONFIG, None)
    if given:
        return tuple(os.path.abspath(file) for file in given)
    from_env = "" if "config" in vars(ns) else os.environ.get(env_prefix(service) + "CONFIG", "")
    return tuple(os.path.abspath(file) for file in from_env.split(os.pathsep) if file)


def _environment(state: State) -> Layer:
    """The values that the environment gives."""
    found: Layer = {}
    for dest, binding in state.bindings.items():
        name: str = binding.env
        raw = os.environ.get(name)
        if binding.option.secret:
            from sparts.config_files import secret_from_file

            name, raw = secret_from_file(binding, raw)
        if raw or (raw is not None and binding.kind in (None, str) and not binding.many):
            found[dest] = (binding.convert(raw, name), Source("environment", name))
    return found


def _check_required(state: State, values: Mapping[str, Any]) -> None:
    """Raise if a required option has no value."""
    for dest, value in values.items():
        binding = state.bindings[dest]
        if binding.option.required and value is None:
            section = "" if binding.owner is state.service else f" of [{binding.prefix}]"
            raise OptionError(
                f"{binding.flag} is required: give the flag, the variable {binding.env}, or "
                f"'{binding.key}'{section} in a file for --config."
            )


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's completion, if argcomplete is installed."""
    import importlib

    try:
        argcomplete: Any = importlib.import_module("argcomplete")
    except ImportError:
        return
    argcomplete.autocomplete(parser)


def _print_and_exit(text: str) -> NoReturn:
    """Print and end the process with status 0."""
    sys.stdout.write(text)
    sys.stdout.flush()
    sys.exit(0)
