"""The sources of an option's value, layered: command line, environment, further ones, class."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from sparts import entry_points
from sparts.errors import OptionError, UsageError, describe, nearest
from sparts.masking import hide_secret
from sparts.options.binding import (
    MISSING,
    STATE,
    Binding,
    Layer,
    OptionSource,
    Source,
    State,
    state_of,
)
from sparts.options.plain import read_plainly
from sparts.records import NamedTuple

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace as Namespace
    from logging import Logger
else:

    class Namespace(SimpleNamespace):
        """What `argparse.Namespace` is, which a start does not import; ``isinstance`` says so."""

        def __contains__(self, name: str) -> bool:
            """Return whether there is a value of that name."""
            return name in self.__dict__

        @property
        def __class__(self) -> type:
            """The class of argparse."""
            import argparse

            return argparse.Namespace


_UNSET: Any = object()
_COMPLETION = "_ARGCOMPLETE"
_PLUGINS = "_sparts_plugins"


class Plugins(NamedTuple):
    """What the plugins of a service have `parse_options` do, beside their options.

    Attributes:
        broken: what is wrong with plugins, of which the first is raised; ``-h`` shows it. What is
            broken is missing from the parser.
        refused: the groups of plugins that are blocked, with the names of these: their options are
            refused, wherever they are set.
        find: called with the namespace as the command line, the environment and the classes make
            it; returns further sources, of which the first counts most.
    """

    broken: Sequence[UsageError]
    refused: Mapping[type, str]
    find: Callable[[argparse.Namespace], Iterable[OptionSource]]


def use_plugins(parser: argparse.ArgumentParser, found: Plugins) -> None:
    """Let `parse_options` do what plugins need; the parser went through `add_options`."""
    parser.set_defaults(**{_PLUGINS: found})
    if found.broken:
        parser.epilog = f"This service cannot start. {found.broken[0]}".replace("%", "%%")


def parse_options(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """The namespace of a service: the final, typed value of every option of `add_options`.

    The command line counts before the environment, that before further sources (see `Plugins`),
    those before the classes.

    Args:
        parser: a parser that went through `add_options`.
        argv: the command line without the program; None is that of the process.

    Raises:
        OptionError: a flag, variable, file or value is wrong; the message names it. (What is
            required is looked for when the service is made: see `check_required`.)
        PluginError: a plugin is broken.
        SystemExit: after ``-h``, ``--help-all`` and a completion.
    """
    state: State = parser.get_default(STATE)
    if _COMPLETION in os.environ:
        _complete(parser)
    found: Plugins = parser.get_default(_PLUGINS) or Plugins((), {}, lambda ns: ())
    try:
        ns = _parse_command_line(parser, argv, state.bindings)
    except OptionError as wrong:  # perhaps only as a plugin's options are missing
        raise next(iter(found.broken), wrong) from None
    if found.broken:
        raise found.broken[0]
    given = {d: v for d, v in vars(ns).items() if d in state.bindings and v is not _UNSET}
    return _layer(ns, state._replace(given=given), found)


def parse_plainly(
    service: type, owners: Iterable[type], argv: Sequence[str] | None, found: Plugins
) -> argparse.Namespace | None:
    """Do what `add_options` and `parse_options` do, without a parser; None if it takes one.

    Args:
        service: the service's class.
        owners: the classes that have options beside it; see `add_options`.
        argv: the command line without the program; None is that of the process.
        found: what plugins need.
    """
    if found.broken or _COMPLETION in os.environ:
        return None
    state = read_plainly(service, owners, sys.argv[1:] if argv is None else argv)
    return None if state is None else _layer(Namespace(), state, found)


def _layer(ns: argparse.Namespace, state: State, found: Plugins) -> argparse.Namespace:
    """Give a namespace the values of all sources."""
    _take(ns, state)
    if further := tuple(found.find(ns)):
        _take(ns, state._replace(further=further))
    _check_refused(getattr(ns, STATE), found.refused)
    return ns


def _take(ns: argparse.Namespace, state: State) -> None:
    """Give a namespace the values of all sources that there are so far."""
    values, sources = _layered(state)
    vars(ns).update(values)
    setattr(ns, STATE, state._replace(sources=sources, layered=values))


def _check_refused(state: State, refused: Mapping[type, str]) -> None:
    for dest, source in state.sources.items():
        owner = state.bindings[dest].owner
        if owner in refused and source.explicit:
            raise OptionError(
                f"{state.bindings[dest].flag} is set ({source}), but the built-in plugin "
                f"{refused[owner]!r} is blocked. Leave one of them out."
            )


def checked_source(found: Any) -> OptionSource:
    """Return what a plugin contributed as a source of options.

    Raises:
        OptionError: it has no name or no method ``get``.
    """
    if isinstance(getattr(found, "name", None), str) and callable(getattr(found, "get", None)):
        source: OptionSource = found
        return source
    raise OptionError(f"{found!r} is no source of options: it needs a 'name' and a method 'get'.")


def reload_values(old: State) -> tuple[State, dict[str, Any], list[str]]:
    """What the sources give now; nothing is changed.

    Returns:
        The state after the reload, the values that changed, and the flags of those that may not.

    Raises:
        OptionError: a file or a value is wrong, or a required one is gone.
    """
    if not old.sources:  # argparse alone made the namespace: there is no file to read again
        return old, {}, []
    values, sources = _layered(old)
    new = old._replace(sources=sources, layered=values)
    changed = {d: value for d, value in values.items() if value != old.layered[d]}
    for dest in changed:
        _require(new, new.bindings[dest], values[dest])
    refused = [d for d in changed if not old.bindings[d].option.reloadable]
    for dest in refused:
        values[dest] = old.layered[dest]
    for dest, source in old.sources.items():
        if source.kind == "run time" or dest in refused:
            sources[dest] = source
            changed.pop(dest, None)
    return new, changed, sorted(old.bindings[dest].flag for dest in refused)


def _layered(state: State) -> tuple[dict[str, Any], dict[str, Source]]:
    """The value and the source of every option, from all sources as they are now."""
    layers: Layer = {d: (b.default, b.default_source) for d, b in state.bindings.items()}
    for source in reversed(state.further):
        layers.update(_asked(source, state))
    layers.update(_environment(state))
    for dest, value in state.given.items():
        layers[dest] = (value, Source("command line", state.bindings[dest].flag))
    return {d: v for d, (v, _) in layers.items()}, {d: s for d, (_, s) in layers.items()}


def _asked(source: OptionSource, state: State) -> Layer:
    """The values that a further source has.

    Raises:
        OptionError: it failed, or a value is wrong; the message names the source.
    """
    found: Layer = {}
    try:
        if read := getattr(source, "read", None):
            read()
        for dest, binding in state.bindings.items():
            if (value := source.get(binding)) is not MISSING and value is not None:
                place_of = getattr(source, "place", None)
                place = place_of(binding) if place_of else dest
                shown = place if place_of else f"{source.name}: {place}"
                found[dest] = (binding.convert(value, shown), Source(source.name, place))
    except OptionError:
        raise
    except Exception as error:
        raise OptionError(f"{source.name}: cannot be read: {describe(error)}.") from error
    return found


def _parse_command_line(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, bindings: Mapping[str, Binding]
) -> argparse.Namespace:
    """Parse the command line alone: what it does not give is `_UNSET`."""
    plain = (None, "store", "store_true", "store_false")  # the rest builds on what was there: None
    builds = {d for d, binding in bindings.items() if binding.option.action not in plain}
    from argparse import ArgumentError, ArgumentParser

    ns = Namespace(**{d: None if d in builds else _UNSET for d in bindings})
    required = [a for a in parser._actions if a.dest in bindings and a.required]
    ours = type(parser).error is ArgumentParser.error and "error" not in vars(parser)
    try:
        for action in required:  # any source may give it
            action.required = False
        if ours:
            vars(parser)["error"] = _raise
        parser.parse_args(argv, ns)
    except ArgumentError as exc:  # of a parser with exit_on_error=False
        _raise(str(exc))
    except OptionError as exc:
        _hide_misspelt(sys.argv[1:] if argv is None else argv, parser)
        raise OptionError(f"{exc}{_meant(str(exc), parser)}") from None
    finally:
        for action in required:
            action.required = True
        if ours:
            del vars(parser)["error"]
    vars(ns).update({d: _UNSET for d in builds if getattr(ns, d) is None})
    return ns


def warn_of_deprecated(ns: argparse.Namespace, logger: Logger) -> None:
    """Log which options that were given are deprecated, and what to use instead."""
    if state := state_of(ns):
        for dest, source in state.sources.items():
            if source.explicit and (instead := state.bindings[dest].option.deprecated):
                logger.warning("%s is deprecated: %s", source.name, instead)


def _raise(message: str) -> NoReturn:
    """What a parser's ``error`` does here: the caller says it, without the usage."""
    raise OptionError(message.removeprefix("argument "))


def _meant(message: str, parser: argparse.ArgumentParser) -> str:
    """What to install for an unknown flag, or a question for the flag that is nearest to it."""
    rest = message.partition("unrecognized arguments: ")[2]
    flag = rest.partition(" ")[0].partition("=")[0]
    if distribution := entry_points.known_providers(entry_points.OPTIONS).get(flag):
        return f". {entry_points.install_hint(distribution)}"
    near = nearest(flag, parser._option_string_actions) if flag[:1] == "-" else ""
    return f". Did you mean '{near}'?" if near else ""


def _hide_misspelt(argv: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Mask the values of unknown flags that look like those of secret options."""
    known = parser._option_string_actions
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        flag, _, value = word.partition("=")
        near = nearest(flag.lower(), known) if flag[:1] == "-" else ""
        binding = parser.get_default(STATE).bindings.get(known[near].dest) if near else None
        if binding and binding.option.secret and (flag not in known or word == f"{flag}="):
            hide_secret([flag.partition(near)[2], value or following * (following not in known)])


def _environment(state: State) -> Layer:
    found: Layer = {}
    for dest, binding in state.bindings.items():
        name, raw = binding.env, os.environ.get(binding.env)
        if binding.option.secret:
            from sparts.options.files import secret_from_file

            name, raw = secret_from_file(binding, raw)
        text = binding.kind in (None, str) and not binding.many
        if raw is not None and (text or raw.strip()):
            found[dest] = (binding.convert(raw, name), Source("environment", name))
    return found


def check_required(ns: argparse.Namespace, left_out: Collection[type] = ()) -> None:
    """Raise `OptionError` if no source gives a required option; those of some tasks do not count.

    Args:
        ns: what `parse_options` returned; one that was made by hand is not checked.
        left_out: the classes of the tasks that do not run.
    """
    state = state_of(ns)
    for dest, binding in (state.bindings if state else {}).items():
        if state is not None and binding.owner not in left_out:
            _require(state, binding, getattr(ns, dest, None))


def _require(state: State, binding: Binding, value: object) -> None:
    if binding.option.required and value is None:
        section = "" if binding.owner is state.service else f" of [{binding.prefix}]"
        raise OptionError(
            f"{binding.flag} is required: give the flag, the variable {binding.env}, or "
            f"'{binding.key}'{section} in a file for --config."
        )


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's completion, if argcomplete is installed."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)
