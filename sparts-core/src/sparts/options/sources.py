"""The sources of an option's value, layered: command line, environment, further ones, class.

Nearly every start has a plain command line: ``--name value``, ``--name=value``, ``--switch``. It is
read here. To import argparse and to fill a parser takes longer than all of that. Whatever else
there is, errors and ``-h`` among it, is for argparse: see `sparts.options.arguments`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sparts.errors import OptionError, UsageError, describe
from sparts.option_types import Expected
from sparts.options.binding import (
    MISSING,
    STATE,
    Binding,
    Declaration,
    Layer,
    OptionSource,
    Source,
    State,
    env_prefix,
    prefix_of,
    state_of,
)
from sparts.startup import NamedTuple

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


COMPLETION = "_ARGCOMPLETE"
HELP_ALL = "--help-all"
_ACTIONS = (None, "store", "append", "extend", "count")


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


def declared_options(cls: type) -> list[Declaration]:
    """The options of a class and its bases, in the order of declaration, bases first.

    What a class declares again takes the place of its base's; what it sets to anything else is
    gone.
    """
    found: dict[str, Declaration] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if isinstance(value, Declaration):
                found[attribute] = value
            elif attribute in found:
                del found[attribute]
    return list(found.values())


def bound_options(owner: type, service: type) -> list[Binding]:
    """Return the options of a class as they are in a service.

    Raises:
        OptionError: a declaration is wrong.
    """
    declared, prefix, variables = declared_options(owner), prefix_of(owner), env_prefix(service)
    if declared and prefix and not prefix.replace("-", "_").replace("_", "a").isalnum():
        from sparts.places import named

        text = f"{prefix!r}. Use letters, digits and underscores, as in 'mail'."
        raise OptionError(f"{named(owner, 'OPT_PREFIX')} is {text}")
    return [Binding(each, owner, service, prefix, variables) for each in declared]


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
    if found.broken or COMPLETION in os.environ:
        return None
    state = read_plainly(service, owners, sys.argv[1:] if argv is None else argv)
    return None if state is None else layer(Namespace(), state, found)


def read_plainly(service: type, owners: Iterable[type], words: Sequence[str]) -> State | None:
    """Return the options of a service with what a plain command line gives; None: it is not plain.

    Args:
        service: the service's class.
        owners: the classes that have options beside it; see `sparts.options.add_options`.
        words: the command line without the program.

    Raises:
        OptionError: a declaration is wrong.
    """
    bindings: dict[str, Binding] = {}
    flags: dict[str, tuple[Any, Any]] = dict.fromkeys(("--help", HELP_ALL), (None, None))
    for owner in dict.fromkeys((service, *owners)):
        for binding in bound_options(owner, service):
            names = {binding.env: (None, None)} | _flags_of(binding)
            if len(names) == 1 or not flags.keys().isdisjoint(names):
                return None
            flags |= names
            bindings[binding.dest] = binding
    given: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        flag, equals, text = word.partition("=")
        binding, value = flags.get(flag, (None, None))
        takes = value is MISSING
        text = next(rest, "-") if takes and not equals else text
        if binding is None or (equals and not takes) or (not equals and text[:1] == "-"):
            return None
        try:
            given[binding.dest] = binding.one(text) if takes else value
        except Expected:
            return None
    return State(service, bindings, {}, given)


def _flags_of(binding: Binding) -> dict[str, tuple[Any, Any]]:
    """The flags of an option, each with its value, which is `MISSING` if it is the next word.

    Flags that take several words or count go with None. Of what only argparse can judge: nothing.
    """
    option, flag = binding.option, binding.flag
    if binding.switch:
        both = {"--no-" + flag[2:]: (binding, False)} if option.action is None else {}
        return {flag: (binding, option.action != "store_false")} | both
    several = option.nargs in ("?", "*", "+") or option.action in ("append", "extend", "count")
    odd = option.nargs not in (None, "?", "*", "+") or isinstance(option.metavar, tuple)
    usual = option.action in _ACTIONS and not odd
    return {flag: (None if several else binding, MISSING)} if usual else {}


def layer(ns: argparse.Namespace, state: State, found: Plugins) -> argparse.Namespace:
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


def warn_of_deprecated(ns: argparse.Namespace, logger: Logger) -> None:
    """Log which options that were given are deprecated, and what to use instead."""
    if state := state_of(ns):
        for dest, source in state.sources.items():
            if source.explicit and (instead := state.bindings[dest].option.deprecated):
                logger.warning("%s is deprecated: %s", source.name, instead)


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
