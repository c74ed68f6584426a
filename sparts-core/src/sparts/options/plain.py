"""The options of a service, and the plain way to read a command line of them, without argparse.

Nearly every start has a plain one: ``--name value``, ``--name=value``, ``--switch``. To import
argparse and to fill a parser takes longer than all of that. Whatever else there is, errors and
``-h`` among it, is for argparse: see `sparts.options.arguments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sparts.option_types import Expected
from sparts.options.binding import MISSING, Binding, Declaration, State

HELP_ALL = "--help-all"
_ACTIONS = (None, "store", "append", "extend", "count")


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
    return [Binding(declared, owner, service) for declared in declared_options(owner)]


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
