"""`option()`: one declaration, four sources (command line, environment, file, default).

An option is a class attribute of a service or a task. It becomes a flag, an environment variable, a
key of the configuration file and a typed attribute, all by the same rules. The modules beside this
one do the work: `binding` names an option in a service, `sources` layers what all sources give and
reads the usual command lines, `arguments` has argparse read all others, `files` reads files
(`sparts.builtin.config` writes them); `sparts.option_types` converts.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypedDict, TypeVar, overload

from sparts.errors import OptionError, nearest
from sparts.option_types import is_path
from sparts.options import sources
from sparts.options.binding import (
    MISSING,
    STATE,
    Binding,
    Declaration,
    OptionSource,
    Source,
    aside_of,
    dest_of,
    flag_of,
    origin_of,
    prefix_of,
    source_of,
    state_of,
)
from sparts.options.sources import Namespace, check_required, declared_options
from sparts.startup import imported_later

if TYPE_CHECKING:
    import argparse
    from typing import Self, Unpack

    from sparts.options.arguments import (
        add_options,
        add_own_arguments,
        parse_options,
    )

    class _Rest(TypedDict, total=False):
        """The arguments of `option` that say nothing of the value's type."""

        help: str | None
        metavar: str | tuple[str, ...] | None
        required: bool
        choices: Iterable[Any] | None
        secret: bool
        reloadable: bool | Literal["restart"]
        deprecated: str | None
        advanced: bool
        command_line_only: bool

else:  # what needs argparse
    names = ("add_options", "add_own_arguments", "parse_options")
    __getattr__ = imported_later(__name__, {"sparts.options.arguments": names})


__all__ = [
    "MISSING", "Option", "OptionGroup", "OptionSource", "Source", "add_options",
    "add_own_arguments", "check_required", "checked_group", "declared_options", "dest_of",
    "flag_of", "option", "origin_of", "parse_options", "prefix_of", "reload_options",
    "set_option", "source_of", "state_of",
]  # fmt: skip

T = TypeVar("T")
_TELLING = (bool, int, float, Enum)  # types that a default says
_write_lock = threading.Lock()  # one writer at a time; readers need none, they see whole namespaces
_Default = Callable[[Any], Any]


class Option(Declaration, Generic[T]):
    """A declared option: a data descriptor that reads and sets the typed value of its owner.

    The attributes are the arguments of `option`. Reading takes the value from the owner's
    ``options``; setting converts and checks it first (`OptionError`), then lets every thread see it
    at once.
    """

    def __init__(self, **settings: Any) -> None:
        vars(self).update(settings)
        self.name: str = self.name or ""
        self.choices: Any = None if self.choices is None else list(self.choices)
        # what extends by one string takes its letters
        self.nargs: int | str | None = self.nargs or "+" if self.action == "extend" else self.nargs
        tells = isinstance(self.default, _TELLING) or is_path(type(self.default))
        found = self.type is None and self.action is None and tells
        self.type: Any = type(self.default) if found else self.type
        if not (self.type is None or callable(self.type)):
            raise TypeError(f"option(type={self.type!r}): give a class or function, such as int.")
        self._text_is_raw = self.type in (int, float, bool) or is_path(self.type)
        self._dests: dict[str, str] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    def __repr__(self) -> str:
        return f"<option {self.name!r}>"

    @overload
    def __get__(self, obj: None, owner: type) -> Option[T]: ...
    @overload
    def __get__(self, obj: object, owner: type | None = None) -> T: ...
    def __get__(self, obj: Any, owner: Any = None) -> Any:
        return self if obj is None else self.read(obj, options_of(obj))

    def read(self, owner: Any, options: argparse.Namespace) -> Any:
        """Return the value that a service or task has for this option in a namespace."""
        value = getattr(options, self.dest(prefix_of(type(owner))), MISSING)
        if value is MISSING:  # a namespace that was made by hand
            return _binding(owner, self.name).default
        if type(value) is str and self._text_is_raw:  # set in it by hand
            return _binding(owner, self.name).convert(value, self.name)
        return value

    def __set__(self, obj: object, value: T) -> None:
        assign(obj, _binding(obj, self.name), value)


# What the declaration says of the attribute's type, for mypy.
# fmt: off
@overload
def option(name: str | None = ..., *, action: Literal["store_true", "store_false"],
           default: bool | _Default | None = ..., **rest: Unpack[_Rest]) -> Option[bool]: ...
@overload
def option(name: str | None = ..., *, type: Callable[[str], T], action: Literal["append"],
           default: object = ..., **rest: Unpack[_Rest]) -> Option[list[T]]: ...
@overload
def option(name: str | None = ..., *, type: Callable[[str], T], nargs: Literal["*", "+"] | int,
           default: object = ..., **rest: Unpack[_Rest]) -> Option[list[T]]: ...
@overload
def option(name: str | None = ..., *, type: Callable[[str], T], default: object = ...,
           nargs: Literal["?"] | None = ..., **rest: Unpack[_Rest]) -> Option[T]: ...
@overload
def option(name: str | None = ..., *, default: str | _Default | None = ...,
           **rest: Unpack[_Rest]) -> Option[str]: ...
@overload
def option(name: str | None = ..., *, default: T, **rest: Unpack[_Rest]) -> Option[T]: ...
@overload
def option(name: str | None = ..., *, nargs: Literal["*", "+"] | int, default: object = ...,
           **rest: Unpack[_Rest]) -> Option[list[str]]: ...
@overload
def option(name: str | None = ..., *, action: str | builtins.type[argparse.Action],
           type: Callable[[str], Any] | None = ..., default: object = ...,
           nargs: int | str | None = ..., **rest: Unpack[_Rest]) -> Option[Any]: ...
@overload
def option(name: str | None, type: Callable[[str], Any] | None, /, default: object = ...,
           **rest: Unpack[_Rest]) -> Option[Any]: ...
# fmt: on
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
    reloadable: bool | Literal["restart"] = True,
    deprecated: str | None = None,
    advanced: bool = False,
    command_line_only: bool = False,
) -> Option[Any]:
    """Declare an option, as a class attribute of a service or a task.

    Args:
        name: its name without prefix; None takes the attribute's.
        type: as in argparse, a function of a string: a class (``bool`` gives ``--no-NAME`` too, an
            `Enum` its members), one of `sparts.option_types`, or your own. None is the default's
            type if that is a number, a boolean, a path or an enumeration, and text otherwise.
        default: the value if nobody gives one, or a function of the class. A string is converted.
        help: one line or a few for ``-h``.
        action: as in argparse.
        metavar: what ``-h`` shows for the value.
        required: whether one of the sources must give it.
        choices: the values allowed.
        nargs: as in argparse; makes a list, except ``"?"``.
        secret: never shown by help, ``--show-config``, logs or any transport; a file that
            ``NAME_FILE`` names and systemd's credentials give it too.
        reloadable: whether it may change at run time; ``"restart"``: it may, but takes effect when
            the service restarts, which answers and the log say.
        deprecated: what to use instead; each start warns the user of the option.
        advanced: whether only ``--help-all`` shows it, and ``-h`` does not.
        command_line_only: whether it has no key in files, as it says something of the start alone.
    """
    return Option(**locals())


class OptionGroup:
    """Options that a plugin adds to every service, by the hook `sparts_options_add`.

    Derive from it and declare them; read them through an instance: ``Mine(service).interval``. Its
    docstring's first line is the heading of the group in ``-h``.
    """

    OPT_PREFIX: ClassVar[str | None] = None
    """The prefix of the options (``"metrics"``: ``--metrics-port``); None: the class's name."""
    TITLE: ClassVar[str | None] = None
    """The title of the group in the help; None: the class's name."""

    def __init__(self, service: Any) -> None:
        self.service = service

    @classmethod
    def of(cls, service_class: type, options: argparse.Namespace) -> Self:
        """Return the group as options give it, where there is no instance of the service yet."""
        return cls(Namespace(service_class=service_class, options=options))

    @property
    def options(self) -> argparse.Namespace:
        """The options of the service, in which this group's have its prefix."""
        options = options_of(self.service)
        aside = aside_of(options, type(self))
        return Namespace(**{**vars(options), **aside}) if aside else options

    def source(self, name: str) -> Source:
        """Return where the value of an option came from.

        Args:
            name: of the option, without the prefix of the group.
        """
        options, dest = options_of(self.service), dest_of(type(self), name)
        aside = dest in aside_of(options, type(self))
        return Source("default", type(self).__name__) if aside else source_of(options, dest)


def checked_group(found: Any) -> type[OptionGroup]:
    """Return what a plugin contributed as options.

    Raises:
        OptionError: it is not a class derived from `OptionGroup`.
    """
    if isinstance(found, type) and issubclass(found, OptionGroup):
        return found
    raise OptionError(f"{found!r} is not a class derived from sparts.options.OptionGroup.")


# -- options that change while the service runs ----------------------------------------------------


def set_option(owner: Any, name: str, value: object) -> None:
    """Set an option of a running service, by the rules of every other source.

    Readers see the old value or the new one: the service gets a changed copy of its namespace, so
    that code with ``service.options`` in a variable reads one consistent state. Any thread may
    call this.

    Args:
        owner: the service, or the task whose prefix ``name`` lacks.
        name: as in the namespace or in the flag: ``http_port``, ``http-port``.
        value: the typed value or its text; None for none.

    Raises:
        OptionError: there is no such option, it may not change at run time, or the value is wrong.
    """
    binding = _binding(owner, name)
    if not binding.option.reloadable:
        raise OptionError(f"{binding.flag} cannot change while the service runs: restart it.")
    assign(owner, binding, value)


def _binding(owner: Any, name: str) -> Binding:
    """The option of ``owner`` with this name."""
    holder = holder_of(owner)
    dest, state = dest_of(type(owner), name), state_of(holder.options)
    known = dict(state.bindings) if state else {}
    if dest not in known:  # a namespace that was made by hand, or a task that came by itself
        service = getattr(holder, "service_class", type(holder))
        known.update(
            (binding.dest, binding) for binding in sources.bound_options(type(owner), service)
        )
    if dest in known:
        return known[dest]
    near = nearest(dest, known)
    hint = f" Did you mean '{near}'?" if near else ""
    raise OptionError(f"No option is named '{dest}'.{hint}")


def holder_of(owner: Any) -> Any:
    """The holder of the namespace of a service, a task or a group: an instance of the service.

    What stands in for one has ``options`` itself.
    """
    instance = getattr(owner, "_instance", None)
    if instance is None and (service := getattr(owner, "service", None)) is not None:
        return getattr(service, "_instance", service) if owner is not service else owner
    return owner if instance is None else instance


def options_of(owner: Any) -> argparse.Namespace:
    """The namespace with the values of the options of a service, a task or a group."""
    options: argparse.Namespace = (getattr(owner, "_instance", None) or owner).options
    return options


def assign(owner: Any, binding: Binding, value: object) -> None:
    """Convert and check a value, set it, and inform the service and its tasks.

    Raises:
        OptionError: the value is not one for this option, or contradicts another option.
    """
    typed = binding.convert(value, f"setting {binding.flag}")
    if typed is None and binding.option.required:
        raise OptionError(f"setting {binding.flag}: a value is required")
    holder = holder_of(owner)
    with _write_lock:
        values = {**vars(holder.options), binding.dest: typed}
        if (state := state_of(holder.options)) is not None:
            sources = {**state.sources, binding.dest: Source("run time")}
            values[STATE] = state._replace(sources=sources)
        _replace(holder, values)
    _report(holder, [binding])


def reload_options(owner: Any) -> frozenset[str]:
    """Read the configuration files and the environment again, and take over what changed.

    Everything is checked before anything changes; then all changes are seen at once. What the
    command line gave or code set at run time stays. An option that is not reloadable stays too,
    with a warning in the log.

    Returns:
        The names, as in the namespace, of what changed.

    Raises:
        OptionError: a file or a value is wrong, or options contradict each other; nothing has
            changed.
    """
    holder = holder_of(owner)
    with _write_lock:
        state = state_of(holder.options)
        if state is None:
            return frozenset()
        state, values, refused = sources.reload_values(state)
        _replace(holder, {**vars(holder.options), **values, STATE: state})
    for flag in refused:
        holder.logger.warning("%s changed: it takes effect at the next start.", flag)
    _report(holder, [state.bindings[dest] for dest in values])
    return frozenset(values)


def _replace(holder: Any, values: Mapping[str, Any]) -> None:
    """Replace the namespace of a service, unless its options would contradict each other."""
    new = Namespace(**values)
    if (check := getattr(holder, "check_options", None)) is not None:
        check(new)
    holder.options = new


def _report(holder: Any, changed: Sequence[Binding]) -> None:
    """Inform the service, which informs its tasks; log which options take effect later."""
    if changed and (tell := getattr(holder, "options_changed", None)) is not None:
        tell(frozenset(binding.dest for binding in changed))
    for binding in changed:
        if binding.option.reloadable == "restart":
            text = "%s changed: it takes effect when the service restarts."
            holder.logger.warning(text, binding.flag)
