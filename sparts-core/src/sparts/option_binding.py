"""An option where it is used: bound to a task (or the service) of one service, by all of its names.

The same `Option` object serves every class that inherits it; only with the class does it have a
flag, a variable, keys of a file and a default. `State` keeps a service's bindings together with
where each value came from, in one private attribute of the namespace, so that a namespace is all
that a reload needs.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.errors import OptionError
from sparts.log_secrets import hide_secret
from sparts.option_types import Expected, convert, expectation, split

if TYPE_CHECKING:
    from sparts.options import Option

STATE = "_sparts_state"
MASK = "********"


class Source(NamedTuple):
    """Where a value came from.

    Attributes:
        kind: "command line", "environment", "file", "run time", "service class", "task class" or
            "default" (the declaration's own).
        name: the flag, variable, ``file: [section] key``, or class and attribute; "" for a
            declaration.
    """

    kind: str
    name: str = ""

    @property
    def explicit(self) -> bool:
        """Whether somebody gave the value: command line, environment, file or at run time."""
        return self.kind in ("command line", "environment", "file", "run time")

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}" if self.name else self.kind


class State(NamedTuple):
    """All that is known of a service's options beside their values.

    Attributes:
        service: the service's class.
        bindings: every option by its name in the namespace, the service's first, then task by task.
        sources: where each value came from, by the name in the namespace; empty until they are
            layered.
        given: the values of the command line, as they were given.
        files: the configuration files of the command line or the environment, in order.
        layered: the values as the sources last gave them, whatever code has set since.
    """

    service: type
    bindings: Mapping[str, Binding]
    sources: Mapping[str, Source]
    given: Mapping[str, Any]
    files: tuple[str, ...] = ()
    layered: Mapping[str, Any] = {}


Layer = dict[
    str, tuple[Any, Source]
]  # by the name in the namespace: the typed value and its source


class Binding:
    """One option of one class, in one service.

    Args:
        option: the declaration.
        owner: the task class, or the service's.
        service: the service's class.
    """

    __slots__ = ("default", "default_source", "dest", "env", "flag", "option", "owner", "prefix")

    def __init__(self, option: Option[Any], owner: type, service: type) -> None:
        self.option = option
        self.owner = owner
        self.prefix: str = owner.option_prefix()  # type: ignore[attr-defined]
        self.flag = option.flag(self.prefix)
        self.dest = option.dest(self.prefix)
        self.env = env_prefix(service) + re.sub(r"\W", "_", self.dest).upper()
        self.default, self.default_source = self._resolve_default(service)

    @property
    def many(self) -> bool:
        """Whether the value is a list because the option may be given several values."""
        option = self.option
        return option.action in ("append", "extend") or option.nargs not in (None, "?")

    @property
    def switch(self) -> bool:
        """Whether the flag takes no value and the option is true or false."""
        return self.option.action in ("store_true", "store_false") or (
            self.option.type is bool and self.option.action is None and self.option.nargs is None
        )

    @property
    def kind(self) -> Any:
        """The type of one value."""
        if self.switch:
            return bool
        return int if self.option.action == "count" else self.option.type

    @property
    def key(self) -> str:
        """The key of a configuration file."""
        return self.option.dest("")

    def convert(self, raw: object, source: str) -> Any:
        """The typed value of ``raw``, checked; None stays None.

        Args:
            raw: a text, or a value as TOML or code has it.
            source: where it came from, for the message.

        Raises:
            OptionError: it is nothing that the option takes; the message names the source.
        """
        if raw is None:
            return None
        try:
            if not self.many:
                return self._one(raw)
            values = split(raw) if isinstance(raw, str) else raw
            if not isinstance(values, (list, tuple)):
                raise Expected(f"a list, each of it {expectation(self.kind)}")
            return self._counted([self._one(value) for value in values])
        except Expected as exc:
            if self.option.secret:
                message = (
                    f"{source}: expected {expectation(self.kind)}, got something else (a secret)"
                )
                raise OptionError(message) from None
            raise OptionError(f"{source}: expected {exc}, got {_shown(raw)}") from exc

    def argument(self, raw: str) -> Any:
        """One value of the command line; its error is argparse's, who names the flag."""
        try:
            return self._one(raw)
        except Expected as exc:
            if self.option.secret:
                message = f"expected {expectation(self.kind)}, got something else (a secret)"
                raise argparse.ArgumentTypeError(message) from None
            raise argparse.ArgumentTypeError(f"expected {exc}, got {_shown(raw)}") from exc

    def _one(self, raw: object) -> Any:
        """One value, converted and among the choices; a secret is out of all logs from here on."""
        if self.option.secret:
            hide_secret(raw)
        value = convert(self.kind, raw)
        if self.option.secret:
            hide_secret(value)
        choices = self.option.choices
        if choices is not None and value not in choices:
            raise Expected("one of " + ", ".join(map(str, choices)))
        return value

    def _counted(self, values: list[Any]) -> list[Any]:
        """The list, as many as ``nargs`` says."""
        nargs = self.option.nargs
        if nargs == "+" and not values:
            raise Expected("at least one value")
        if isinstance(nargs, int) and self.option.action is None and len(values) != nargs:
            raise Expected(f"{nargs} values")
        return values

    def _resolve_default(self, service: type) -> tuple[Any, Source]:
        """The default for this class in this service, typed, and what it came from."""
        raw = self.option.default
        kind = "default" if self.owner is service else "task class"
        source = Source(kind, self.owner.__name__)
        if callable(raw) and not isinstance(raw, type):
            view = ClassView(self.owner, service)
            raw = raw(view)
            if names := object.__getattribute__(view, "stood_in"):
                source = Source("service class", f"{service.__name__}.{names[-1]}")
        if isinstance(raw, str):
            return self.convert(raw, f"the default of {self.flag}"), source
        return (list(raw) if isinstance(raw, (list, tuple)) and self.many else raw), source


class ClassView:
    """A task's class as an option's default function sees it.

    An attribute that the user's service class defines stands in for the task's of the same name, so
    that ``DEFAULT_PORT = 8000`` on a service moves its HTTP task. Only the classes that the user
    wrote count, those above `VService` in the order of resolution and not its own; a dunder name
    never does.
    """

    def __init__(self, owner: type, service: type) -> None:
        self.owner = owner
        self.service = service
        self.stood_in: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        get = object.__getattribute__
        owner, service = get(self, "owner"), get(self, "service")
        dunder = name.startswith("__") and name.endswith("__")
        definer = next((cls for cls in service.__mro__ if name in vars(cls)), object)
        if not dunder and definer not in _our_classes(service):
            get(self, "stood_in").append(name)
            return getattr(service, name)
        return getattr(owner, name)


def _our_classes(service: type) -> set[type]:
    """The classes of a service that its author did not write: VService and what it is made of."""
    ours: set[type] = {object}
    for cls in service.__mro__:
        if cls.__module__ == "sparts.vservice" and cls.__name__ == "VService":
            ours.update(cls.__mro__)
    return ours


def env_prefix(service: type) -> str:
    """What a service's variables begin with: ``ENV_PREFIX`` of the class or ``NAME_``."""
    given = getattr(service, "ENV_PREFIX", None)
    return re.sub(r"\W", "_", service.__name__).upper() + "_" if given is None else str(given)


def state_of(ns: argparse.Namespace) -> State | None:
    """What is known of a namespace's options; None for one that was made by hand."""
    return getattr(ns, STATE, None)


def source_of(ns: argparse.Namespace, dest: str) -> Source:
    """Where the value of ``dest`` in ``ns`` came from.

    For a namespace that argparse alone made, a value that is not the default was given on the
    command line; what nobody declared has the source "default".
    """
    state = state_of(ns)
    if state is None or dest not in state.bindings:
        return Source("default")
    if dest in state.sources:
        return state.sources[dest]
    binding = state.bindings[dest]
    if getattr(ns, dest, binding.default) != binding.default:
        return Source("command line", binding.flag)
    return binding.default_source


def _shown(raw: object) -> str:
    """A value in a message, of a length that can be read."""
    shown = repr(raw)
    return shown if len(shown) <= 120 else shown[:117] + "..."
