"""An option where it is used: bound to a task (or the service) of one service, by all of its names.

The same `Option` object serves every class that inherits it; only with the class does it have a
flag, a variable, keys of a file and a default. `State` keeps a service's bindings together with
where each value came from, in one private attribute of the namespace: that is all a reload needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sparts.errors import OptionError, describe
from sparts.masking import hide_secret
from sparts.option_types import Expected, convert, display, duration, expectation, port, size, split
from sparts.shown import OURS
from sparts.startup import NamedTuple

if TYPE_CHECKING:
    import argparse
    from typing import Protocol
else:
    Protocol = object

STATE = "_sparts_state"
_SINGLE = (None, str, int, float, bool, duration, port, size)  # no list is a value of these


class Source(NamedTuple):
    """Where a value came from.

    Attributes:
        kind: "command line", "environment", "file", "run time", "service class", "task class",
            "default" (the declaration's own), or the name of a further source.
        name: the flag, variable, ``file: [section] key``, or class and attribute.
    """

    kind: str
    name: str = ""

    @property
    def explicit(self) -> bool:
        """Whether somebody gave the value, and not a class."""
        return self.kind not in ("service class", "task class", "default")

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}" if self.name else self.kind


class State(NamedTuple):
    """All that is known of a service's options beside their values.

    Attributes:
        service: the service's class.
        bindings: every option by its name in the namespace, the service's first, then by task.
        sources: where each value came from, by the name in the namespace; empty until layered.
        given: the values of the command line.
        further: the sources beside command line, environment and classes; the first counts most.
        layered: the values as the sources last gave them, whatever code has set since.
        aside: by group of a plugin, the options that are not its own in this service, as the
            service has one of that flag, with the default that the group reads instead.
    """

    service: type
    bindings: Mapping[str, Binding]
    sources: Mapping[str, Source]
    given: Mapping[str, Any]
    further: tuple[OptionSource, ...] = ()
    layered: Mapping[str, Any] = {}
    aside: Mapping[type, Mapping[str, Any]] = {}


class OptionSource(Protocol):
    """Where values of options come from, beside the command line, environment and classes.

    A plugin returns such objects from the hook `sparts_sources_add`. Three more methods are called
    if they are there:

    ``read()``: before each round of calls of `get`, to fetch everything at once.
    ``place(option)``: where in the source an option's value is, for messages.
    ``watch(callback)``: once an instance of the service has started, in its lifecycle thread. Call
    ``callback()`` from any thread when values may have changed: the service then reads all sources
    again, as at a reload. It does so once after ``watch``, too: no change is missed. ``watch`` must
    not block; what it raises becomes a warning of the service. What it returns, if anything, is
    called without arguments in the lifecycle thread when the instance ends.
    """

    name: str
    """What ``--show-config`` and messages call it."""

    def get(self, option: Binding, /) -> object:
        """Return the value of an option: its text, or as TOML has it. `MISSING` or None: no value.

        Called at the start in the main thread and at a reload in the lifecycle thread. An exception
        fails the start with status 2, and a reload with a warning.
        """


MISSING: Any = object()
"""What `OptionSource.get` returns for an option of which the source has no value."""


class Declaration:
    """What an `Option` declares: the arguments of `option`."""

    _dests: dict[str, str]
    name: str
    type: Any
    default: Any
    help: str | None
    action: Any
    metavar: Any
    required: bool
    choices: Any
    nargs: int | str | None
    secret: bool
    reloadable: bool | Literal["restart"]
    deprecated: str | None
    advanced: bool
    command_line_only: bool

    def flag(self, prefix: str = "") -> str:
        """The flag for an owner of this prefix: ``--http-port``; no prefix gives ``--port``."""
        return "--" + self.dest(prefix).replace("_", "-")

    def dest(self, prefix: str = "") -> str:
        """The name in the namespace for an owner of this prefix: ``http_port``."""
        if prefix not in self._dests:
            self._dests[prefix] = _joined(prefix, self.name)
        return self._dests[prefix]


Layer = dict[str, tuple[Any, Source]]  # typed values and their sources by name in the namespace


def prefix_of(owner: type) -> str:
    """Return the prefix of the options of a class: ``OPT_PREFIX``, or else its name.

    A service's options have none, and those of a group with an empty ``OPT_PREFIX``.
    """
    if (own := getattr(owner, "option_prefix", None)) is not None:  # a class says so itself
        return str(own())
    prefix: str | None = getattr(owner, "OPT_PREFIX", "")
    named = prefix is None or (prefix == "" and hasattr(owner, "initTask"))  # no task has none
    return owner.__name__ if named or prefix is None else str(prefix)


def dest_of(owner: type, name: str) -> str:
    """Return what the option of a class with this name is called in the namespace."""
    return _joined(prefix_of(owner), name)


def flag_of(owner: type, name: str = "") -> str:
    """Return the flag of the option of a class with this name: ``--http-port``.

    Without a name, what all of its flags begin with: ``--http``.
    """
    return "--" + dest_of(owner, name).replace("_", "-")


def _joined(prefix: str, name: str) -> str:
    return "_".join(filter(None, (prefix, name))).replace("-", "_")


def _named(owner: type, attribute: str) -> str:
    from sparts.places import named  # few services have an error

    return named(owner, attribute)


class Binding:
    """One option of one class (``owner``: a task's, or the service's) in one service.

    Args:
        option: as it was declared.
        owner, service: the classes.
        prefix: that of the owner, as it is checked.
        variables: what the service's variables begin with.
    """

    def __init__(
        self, option: Declaration, owner: type, service: type, prefix: str, variables: str
    ) -> None:
        self.option = option
        self.owner = owner
        self.prefix = prefix
        self.flag: str = option.flag(prefix)
        self.dest: str = option.dest(prefix)
        self.env: str = variables + _variable(self.dest)
        action, nargs = option.action, option.nargs
        self.switch: bool = action in ("store_true", "store_false") or (
            option.type is bool and action is None and nargs is None
        )
        """Whether the flag takes no value and the option is true or false."""
        self.many: bool = action in ("append", "extend") or nargs not in (None, "?")
        """Whether the value is a list because the option may be given several values."""
        self.kind: type[bool] | type[int] | Any = (
            bool if self.switch else int if action == "count" else option.type
        )
        """The type of one value."""
        self._read: list[tuple[type, str]] = []  # class attributes that the default is made of
        self.default: Any
        self.default_source: Source
        self.default, self.default_source = self._resolve_default(service)

    @property
    def key(self) -> str:
        """The key of a configuration file."""
        return self.option.dest("")

    def convert(self, raw: object, source: str) -> Any:
        """Return the typed value of ``raw`` (a string, or a value as TOML or code has it), checked.

        None stays None. ``source`` is where it came from, for the message.

        Raises:
            OptionError: it is nothing that the option takes.
        """
        try:
            return self._typed(raw)
        except Expected as exc:
            cause = None if self.option.secret else exc
            raise OptionError(f"{source}: {self.complaint(exc, raw)}") from cause

    def _typed(self, raw: object) -> Any:
        return None if raw is None else self._list(raw) if self.many else self.one(raw)

    def complaint(self, exc: Expected, raw: object) -> str:
        """Return what is wrong with a value that is not taken."""
        if self.option.secret:
            return f"expected {expectation(self.kind)}, got something else (a secret)"
        shown = repr(raw)
        return f"expected {exc}, got {shown if len(shown) <= 120 else shown[:117] + '...'}"

    def one(self, raw: object) -> Any:
        """Return one typed value; `Expected` if it is nothing that the option takes."""
        value = convert(self.kind, raw)
        if self.option.secret:  # out of all logs from here on
            hide_secret([raw, value])
        choices = self.option.choices
        if choices is not None and value not in choices:
            raise Expected("one of " + ", ".join(map(display, choices)))
        return value

    def _list(self, raw: object) -> list[Any]:
        values = split(raw) if isinstance(raw, str) else raw
        if not isinstance(values, list | tuple):
            raise Expected(f"a list, each of it {expectation(self.kind)}")
        if self.option.action == "append" and self.option.nargs not in (None, "?"):
            lists = all(isinstance(value, list | tuple) for value in values)
            return [self._values(each) for each in (values if lists else [values])]
        return self._values(values)

    def _values(self, values: Sequence[object]) -> list[Any]:
        nargs = self.option.nargs
        if nargs == "+" and not values:
            raise Expected("at least one value")
        if isinstance(nargs, int) and self.option.action != "extend" and len(values) != nargs:
            raise Expected(f"{nargs} value{'s' * (nargs != 1)}")
        return [self.one(value) for value in values]

    def _resolve_default(self, service: type) -> tuple[Any, Source]:
        raw = self.option.default
        if raw is None and self.option.action in ("store_true", "store_false"):
            raw = self.option.action == "store_false"  # as in argparse
        of_service = self.owner is service or not self.prefix
        source = Source("default" if of_service else "task class",
                        (service if of_service else self.owner).__name__)  # fmt: skip
        if raw is None or type(raw) in (bool, int, float):  # it is a value, as of most options
            return raw, source
        try:
            if callable(raw) and not isinstance(raw, type):
                stands_in = getattr(self.owner, "_SERVICE_DEFAULTS", True)
                view = ClassView(self.owner, service, stands_in)
                view.read = self._read
                raw = raw(view)
                if names := object.__getattribute__(view, "stood_in"):
                    source = Source("service class", f"{service.__name__}.{names[-1]}")
            if isinstance(raw, str) or (self._read and isinstance(raw, int | float)):
                return self._typed(raw), source
            if isinstance(raw, list | tuple | dict) and self.kind in _SINGLE and not self.many:
                raise Expected(expectation(self.kind))
        except OptionError:
            raise
        except Exception as exc:
            value = getattr(*self._read[-1]) if self._read and callable(raw) else raw
            text = self.complaint(exc, value) if isinstance(exc, Expected) else describe(exc)
            cause = None if self.option.secret else exc
            names = [f"{owner.__name__}.{name}" for owner, name in self._read]
            where = names[-1] if names else f"the default of {self.flag}"
            raise OptionError(f"{where}: {text}. See {self.place_of_default()}.") from cause
        return (list(raw) if isinstance(raw, list | tuple) and self.many else raw), source

    def place_of_default(self) -> str:
        """Return where the default is from: the class attribute that was read last, or `option`."""
        return _named(*self._read[-1]) if self._read else self.place

    @property
    def place(self) -> str:
        """The attribute that declares it, with the file and the line."""
        attributes = (pair for cls in self.owner.__mro__ for pair in vars(cls).items())
        name = next(name for name, each in attributes if each is self.option)
        return _named(self.owner, name)


class ClassView:
    """A task's class as an option's default function sees it.

    An attribute that the user's service class defines stands in for the task's of the same name, so
    that ``DEFAULT_PORT = 8000`` on a service moves its HTTP task. What `VService` itself defines
    does not, nor does a dunder name.
    """

    def __init__(self, owner: type, service: type, stands_in: bool) -> None:
        self.owner = owner
        self.service = service
        self.stands_in = stands_in
        self.stood_in: list[str] = []
        self.read: list[tuple[type, str]] = []
        """What was read: the class, and the name of the attribute."""

    def __getattribute__(self, name: str) -> Any:
        get = object.__getattribute__
        owner, service = get(self, "owner"), get(self, "service")
        special = name.startswith("__") and name.endswith("__")
        if get(self, "stands_in") and not special:
            definer = next((cls for cls in service.__mro__ if name in vars(cls)), object)
            if definer is not object and definer.__module__ not in OURS:
                get(self, "stood_in").append(name)
                owner = service
        owner = owner if hasattr(owner, name) else service
        value = getattr(owner, name)
        if not special:
            get(self, "read").append((owner, name))
        return value


def env_prefix(service: type) -> str:
    """What a service's variables begin with: ``ENV_PREFIX`` of the class or ``NAME_``."""
    given = getattr(service, "ENV_PREFIX", None)
    return _variable(service.__name__) + "_" if given is None else str(given)


def _variable(name: str) -> str:
    if not name.replace("_", "a").isalnum():  # few are; going through all takes a while
        name = "".join(c if c.isalnum() else "_" for c in name)
    return name.upper()


def state_of(ns: argparse.Namespace) -> State | None:
    """What is known of a namespace's options; None for one that was made by hand."""
    return getattr(ns, STATE, None)


def aside_of(ns: argparse.Namespace, group: type) -> Mapping[str, Any]:
    """The options of a group that stepped aside for the service's own, with their defaults."""
    state = state_of(ns)
    return {} if state is None else state.aside.get(group, {})


def source_of(ns: argparse.Namespace, dest: str) -> Source:
    """Where the value of ``dest`` in ``ns`` came from.

    For a namespace that argparse alone made, a value that is not the default was given on the
    command line; what nobody declared has the source "default".
    """
    state = state_of(ns)
    if state is None or dest not in state.bindings:
        return Source("default")
    binding = state.bindings[dest]
    same = getattr(ns, dest, binding.default) == binding.default
    guess = binding.default_source if same else Source("command line", binding.flag)
    return state.sources.get(dest, guess)


def origin_of(ns: argparse.Namespace, owner: type, name: str) -> str:
    """Return where an option has its value from, for errors: ``--p-cron``, ``P.CRON (a.py:7)``."""
    dest, state = dest_of(owner, name), state_of(ns)
    source = source_of(ns, dest)
    if source.explicit or state is None:
        return source.name or source.kind
    return state.bindings[dest].place_of_default()
