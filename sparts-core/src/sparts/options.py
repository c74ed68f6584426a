"""`option()`: one declaration, four sources (command line, environment, file, default).

An option is a class attribute of a service or a task. It becomes a flag, an environment variable, a
key of the configuration file and a typed attribute, all by the same rules. The neighbours do the
work: `option_types` converts, `option_binding` names an option in a service, `arguments` makes the
command line and `config` layers the sources.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, overload

from sparts.arguments import add_groups
from sparts.config import parse_options, reload_values
from sparts.errors import OptionError
from sparts.logs import hide_secret
from sparts.option_binding import MASK, STATE, Binding, Source, source_of, state_of

if TYPE_CHECKING:
    from typing import Unpack

__all__ = [
    "MASK",
    "Option",
    "Source",
    "add_options",
    "declared_options",
    "option",
    "option_values",
    "parse_options",
    "reload_options",
    "set_option",
    "source_of",
]

T = TypeVar("T")
_Default = Callable[[Any], Any]
_Action = type[argparse.Action]
_write_lock = threading.Lock()  # one writer at a time; readers need none, they see whole namespaces


class _Rest(TypedDict, total=False):
    """The arguments of `option` that say nothing of the value's type."""

    help: str | None
    metavar: str | tuple[str, ...] | None
    required: bool
    choices: Iterable[Any] | None
    secret: bool
    reloadable: bool


class Option(Generic[T]):
    """A declared option: a data descriptor that reads and sets the typed value of its owner.

    Attributes are the arguments of `option`. Reading takes the value from the owner's ``options``;
    setting converts and checks it first (`OptionError`), then lets every thread see it at once.
    """

    def __init__(
        self,
        name: str | None,
        type: Any,
        default: Any,
        help: str | None,
        action: Any,
        metavar: Any,
        required: bool,
        choices: Iterable[Any] | None,
        nargs: int | str | None,
        secret: bool,
        reloadable: bool,
    ) -> None:
        self.name = name or ""
        self.type = _type_of(default) if type is None and action is None else type
        self.default = default
        self.help = help
        self.action = action
        self.metavar = metavar
        self.required = required
        self.choices = None if choices is None else list(choices)
        self.nargs = nargs
        self.secret = secret
        self.reloadable = reloadable
        self._dests: dict[str, str] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    def __repr__(self) -> str:
        return f"<option {self.name!r}>"

    def flag(self, prefix: str = "") -> str:
        """The flag for an owner of this prefix: ``--http-port``; no prefix gives ``--port``."""
        return "--" + "-".join(filter(None, (prefix, self.name))).replace("_", "-")

    def dest(self, prefix: str = "") -> str:
        """The name in the namespace for an owner of this prefix: ``http_port``."""
        found = self._dests.get(prefix)
        if found is None:
            found = "_".join(filter(None, (prefix, self.name))).replace("-", "_")
            self._dests[prefix] = found
        return found

    @overload
    def __get__(self, obj: None, owner: type) -> Option[T]: ...

    @overload
    def __get__(self, obj: object, owner: type | None = None) -> T: ...

    def __get__(self, obj: Any, owner: type | None = None) -> Option[T] | T:
        if obj is None:
            return self
        dest = self.dest(type(obj).option_prefix())
        value = getattr(obj.options, dest, _MISSING)
        if value is _MISSING or (type(value) is str and self._unconverted):
            return _read_by_hand(self, obj, value)  # type: ignore[no-any-return]
        return value  # type: ignore[no-any-return]

    def __set__(self, obj: object, value: T) -> None:
        _assign(obj, Binding(self, type(obj), type(_holder(obj))), value)

    @property
    def _unconverted(self) -> bool:
        """Whether a text in the namespace was put there by hand, as this type is none."""
        return self.type in (int, float, bool, Path)


_MISSING: Any = object()


def _read_by_hand(option: Option[Any], obj: Any, value: Any) -> Any:
    """The value of a namespace that was made by hand: converted, or the default if it has none."""
    binding = Binding(option, type(obj), type(_holder(obj)))
    return binding.default if value is _MISSING else binding.convert(value, binding.flag)


def _type_of(default: object) -> Any:
    """The type that a default speaks for when none was declared; None is text."""
    known = (bool, int, float, Path, Enum)
    return type(default) if isinstance(default, known) else None


@overload
def option(
    name: str | None = ...,
    *,
    action: Literal["store_true", "store_false"],
    default: bool | _Default | None = ...,
    **rest: Unpack[_Rest],
) -> Option[bool]: ...


@overload
def option(
    name: str | None = ...,
    *,
    action: Literal["count"],
    default: int | _Default | None = ...,
    **rest: Unpack[_Rest],
) -> Option[int]: ...


@overload
def option(
    name: str | None = ...,
    *,
    type: Callable[[str], T],
    action: Literal["append", "extend"],
    default: Iterable[T] | str | _Default | None = ...,
    nargs: int | str | None = ...,
    **rest: Unpack[_Rest],
) -> Option[list[T]]: ...


@overload
def option(
    name: str | None = ...,
    *,
    type: Callable[[str], T],
    nargs: Literal["*", "+"] | int,
    default: Iterable[T] | str | _Default | None = ...,
    **rest: Unpack[_Rest],
) -> Option[list[T]]: ...


@overload
def option(
    name: str | None = ...,
    *,
    action: Literal["append", "extend"],
    default: Iterable[str] | _Default | None = ...,
    nargs: int | str | None = ...,
    **rest: Unpack[_Rest],
) -> Option[list[str]]: ...


@overload
def option(
    name: str | None = ...,
    *,
    nargs: Literal["*", "+"] | int,
    default: Iterable[str] | _Default | None = ...,
    **rest: Unpack[_Rest],
) -> Option[list[str]]: ...


@overload
def option(
    name: str | None = ...,
    *,
    type: Callable[[str], T],
    default: T | str | _Default | None = ...,
    nargs: Literal["?"] | None = ...,
    **rest: Unpack[_Rest],
) -> Option[T]: ...


@overload
def option(
    name: str | None = ...,
    *,
    default: str | _Default | None = ...,
    nargs: Literal["?"] | None = ...,
    **rest: Unpack[_Rest],
) -> Option[str]: ...


@overload
def option(name: str | None = ..., *, default: T, **rest: Unpack[_Rest]) -> Option[T]: ...


@overload
def option(
    name: str | None = ...,
    type: Callable[[str], Any] | None = ...,
    default: Any = ...,
    help: str | None = ...,
    action: str | _Action | None = ...,
    metavar: str | tuple[str, ...] | None = ...,
    required: bool = ...,
    choices: Iterable[Any] | None = ...,
    nargs: int | str | None = ...,
    *,
    secret: bool = ...,
    reloadable: bool = ...,
) -> Option[Any]: ...


def option(
    name: str | None = None,
    type: Any = None,
    default: Any = None,
    help: str | None = None,
    action: Any = None,
    metavar: str | tuple[str, ...] | None = None,
    required: bool = False,
    choices: Iterable[Any] | None = None,
    nargs: int | str | None = None,
    *,
    secret: bool = False,
    reloadable: bool = True,
) -> Option[Any]:
    """Declare an option, as a class attribute of a service or a task.

    Args:
        name: its name without prefix; None takes the attribute's.
        type: as in argparse, a function of a text: a class (``bool`` gives ``--no-NAME`` too, an
            `Enum` its members), one of `sparts.option_types`, or your own. None is the default's
            type if that is a number, a boolean, a path or an enumeration, and text otherwise.
        default: the value if nobody gives one, or a function of the class. A text is converted.
        help: one line or a few for ``-h``.
        action: as in argparse.
        metavar: what ``-h`` shows for the value.
        required: whether one of the sources must give it.
        choices: the values allowed.
        nargs: as in argparse; makes a list, except ``"?"``.
        secret: never shown by help, ``--show-config``, logs or any transport; a file that
            ``NAME_FILE`` names and systemd's credentials give it too.
        reloadable: whether it may change at run time.
    """
    return Option(
        name, type, default, help, action, metavar, required, choices, nargs, secret, reloadable
    )


def declared_options(cls: type) -> list[Option[Any]]:
    """The options of a class and its bases, in the order of declaration, bases first.

    What a class declares again takes the place of its base's; what it sets to anything else is
    gone.
    """
    found: dict[str, Option[Any]] = {}
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if isinstance(value, Option):
                found[attribute] = value
            else:
                found.pop(attribute, None)
    return list(found.values())


def add_options(parser: argparse.ArgumentParser, service: type, tasks: Iterable[type]) -> None:
    """Add every option of a service and its tasks to ``parser``, a group for each, in their order.

    Args:
        parser: where they go; its own arguments stay.
        service: the service's class.
        tasks: the task classes, in the order in which the service names them.

    Raises:
        OptionError: two of them have one flag, a flag is the parser's own, or a declaration is
            wrong.
    """
    groups = [
        (owner, [Binding(declared, owner, service) for declared in declared_options(owner)])
        for owner in dict.fromkeys((service, *tasks))
    ]
    add_groups(parser, service, groups)


def set_option(owner: object, name: str, value: object) -> None:
    """Set an option of a running service, by the rules of every other source.

    Readers see the old value or the new one: the service gets a changed copy of its namespace, so
    that whoever keeps ``service.options`` in a variable reads one consistent state. Any thread may
    call this.

    Args:
        owner: the service, or the task whose prefix ``name`` lacks.
        name: the option's name, as in the namespace or as in the flag: ``http_port``,
            ``http-port``.
        value: the typed value or its text; None for none.

    Raises:
        OptionError: there is no such option, it may not change at run time, or the value is wrong.
    """
    holder = _holder(owner)
    binding = _binding(owner, holder, name)
    if not binding.option.reloadable:
        raise OptionError(f"{binding.flag} cannot change while the service runs: restart it.")
    _assign(owner, binding, value)


def reload_options(owner: object) -> frozenset[str]:
    """Read the configuration files and the environment again, and take over what changed.

    Everything is checked before anything changes; then all changes are seen at once. What the
    command line gave or `set_option` set stays. An option that is not reloadable stays too, with a
    warning in the log.

    Returns:
        The names, as in the namespace, of what changed.

    Raises:
        OptionError: a file or a value is wrong; nothing has changed.
    """
    holder = _holder(owner)
    state = state_of(holder.options)
    if state is None:
        return frozenset()
    with _write_lock:
        state, values, refused = reload_values(state)
        for dest in values:
            if state.bindings[dest].option.secret:
                hide_secret(values[dest])
        holder.options = argparse.Namespace(**{**vars(holder.options), **values, STATE: state})
    if values:
        _tell(holder, frozenset(values))
    for flag in refused:
        holder.logger.warning("%s changed: it takes effect at the next start.", flag)
    return frozenset(values)


def option_values(ns: argparse.Namespace) -> dict[str, Any]:
    """Every option's value by its name in the namespace; secrets that are set read ``********``."""
    state = state_of(ns)
    bindings: Mapping[str, Binding] = state.bindings if state else {}
    secrets = {dest for dest, binding in bindings.items() if binding.option.secret}
    return {
        dest: MASK if dest in secrets and value is not None else value
        for dest, value in vars(ns).items()
        if dest != STATE
    }


def _holder(owner: Any) -> Any:
    """The service that holds the namespace of ``owner``, which is a task or that service."""
    return getattr(owner, "service", owner)


def _binding(owner: Any, holder: Any, name: str) -> Binding:
    """The option of ``owner`` with this name."""
    prefix = "" if owner is holder else owner.option_prefix() + "_"
    dest = (prefix + name).replace("-", "_")
    state = state_of(holder.options)
    if state is not None and dest in state.bindings:
        return state.bindings[dest]
    bound = [Binding(opt, type(owner), type(holder)) for opt in declared_options(type(owner))]
    for binding in bound:
        if binding.dest == dest:
            return binding
    from difflib import get_close_matches

    known = [*(state.bindings if state else ()), *(binding.dest for binding in bound)]
    near = get_close_matches(dest, known, 1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise OptionError(f"No option is named '{dest}'.{hint}")


def _assign(owner: object, binding: Binding, value: object) -> None:
    """Convert, check and set one value."""
    typed = binding.convert(value, f"setting {binding.flag}")
    if typed is None and binding.option.required:
        raise OptionError(f"setting {binding.flag}: a value is required")
    if binding.option.secret:
        hide_secret(typed)
    holder = _holder(owner)
    with _write_lock:
        values = {**vars(holder.options), binding.dest: typed}
        if (state := state_of(holder.options)) is not None:
            sources = {**state.sources, binding.dest: Source("run time")}
            values[STATE] = state._replace(sources=sources)
        holder.options = argparse.Namespace(**values)
    _tell(holder, frozenset((binding.dest,)))


def _tell(holder: Any, names: frozenset[str]) -> None:
    """Tell the service, which tells its tasks."""
    if (tell := getattr(holder, "options_changed", None)) is not None:
        tell(names)
