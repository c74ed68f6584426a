"""The command line: every option as a flag, grouped by task, on any argparse parser.

The parser may be one that somebody else made. What is added works with its own ``parse_args`` too
(command line and defaults, typed), and with `parse_options` in full.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NoReturn

from sparts import entry_points
from sparts.errors import OptionError, nearest
from sparts.masking import MASK, hide_secret
from sparts.option_types import Expected, display, duration, format_size, size, written
from sparts.options.binding import STATE, Binding, State
from sparts.options.sources import COMPLETION, HELP_ALL, Namespace, Plugins, bound_options, layer

# A "%" of a help text that argparse does not expand, and the one that is escaped already.
_PLUGINS = "_sparts_plugins"
_UNSET: Any = object()
_STRAY_PERCENT = r"%%|%(?!\((?:prog|default|dest|metavar|type|choices)\)s)"


def add_options(parser: argparse.ArgumentParser, service: type, tasks: Iterable[type]) -> None:
    """Add every option of a service and its tasks to ``parser``, a group for each, in their order.

    Args:
        parser: where they go; its own arguments stay.
        service: the service's class.
        tasks: the task classes, in the order in which the service names them; then those classes
            derived from `OptionGroup` that plugins contribute.

    Raises:
        OptionError: two of them have one flag, a flag is the parser's own, or a declaration is
            wrong.
    """
    bindings: dict[str, Binding] = {}
    taken: dict[str, Binding] = {}
    aside: dict[type, dict[str, Any]] = {}
    rest = HelpAll([HELP_ALL])
    shared: Any = None  # the group of the help for all options without a prefix
    for owner in dict.fromkeys((service, *tasks)):
        bound = bound_options(owner, service)
        if not bound and owner is not service:
            continue
        if owner is service or bound[0].prefix:
            title = "options of the service" if owner is service else _title(owner)
            about = None if owner is service else first_line(owner) or None
            group = parser.add_argument_group(title, about)
            shared = shared or group
        else:
            group = shared
        for binding in bound:
            known = binding.flag in parser._option_string_actions
            if owner is not service and known and _steps_aside(binding, taken, service):
                aside.setdefault(owner, {})[binding.dest] = binding.default
                rest.notes.append(
                    f"{binding.flag} is {service.__name__}'s own, not that of sparts."
                )
                continue
            _check_names(binding, taken)
            action = _add(group, binding)
            if group is shared and owner is not service:
                rest.regrouped.setdefault(_title(owner), []).append(action)
            if binding.option.advanced:
                rest.hide(action)
            bindings[binding.dest] = binding
    rest.hide_empty(parser)
    if HELP_ALL not in parser._option_string_actions:
        parser._add_action(rest)
    if parser.usage is None and not parser._get_positional_actions():
        parser.usage = "%(prog)s [options]"
    parser.set_defaults(**{STATE: State(service, bindings, {}, {}, aside=aside)})


def _title(owner: type) -> str:
    return getattr(owner, "TITLE", None) or owner.__name__


def _steps_aside(new: Binding, taken: dict[str, Binding], service: type) -> bool:
    """Whether an option without a prefix gives its flag up to that of the service or its parser."""
    return not new.prefix and (new.flag not in taken or taken[new.flag].owner is service)


def _check_names(new: Binding, taken: dict[str, Binding]) -> None:
    """Raise if another option has the flag or variable of ``new``; note that ``new`` has them."""
    for name in (new.flag, new.env):
        other = taken.setdefault(name, new)
        first, second = other.owner.__name__, new.owner.__name__
        if other is not new and first == second:
            raise OptionError(
                f"{first} declares {name} twice: give one of them another name. See "
                f"{other.place} and {new.place}."
            )
        if other is not new:
            raise OptionError(
                f"{first} and {second} both have the option {name}: give one of them another "
                f"OPT_PREFIX, or another name in TASKS, such as 'other={second}'. See "
                f"{other.place} and {new.place}."
            )


class HelpAll(argparse.Action):
    """The action of ``--help-all``: what ``-h`` shows, and the advanced options too."""

    def __init__(self, option_strings: Sequence[str]) -> None:
        text = "show the advanced options too, and exit"
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=text)
        self._hidden: list[tuple[Any, dict[str, Any]]] = []
        self.regrouped: dict[str, list[argparse.Action]] = {}
        """By title, the options to be shown in a group of their own, not with the service's."""
        self.notes: list[str] = []
        """Lines to be shown below all options."""

    def hide(self, action: argparse.Action) -> None:
        """Leave an option out of ``-h``."""
        self._hidden.append((action, {"help": action.help}))
        action.help = argparse.SUPPRESS

    def hide_empty(self, parser: Any) -> None:
        """Leave out the headings of groups of which ``-h`` shows no option."""
        for group in parser._action_groups:
            if all(action.help == argparse.SUPPRESS for action in group._group_actions):
                shown = {"title": group.title, "description": group.description}
                self._hidden.append((group, shown))
                group.title = group.description = None

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Print the whole help and exit with status 0 (called by argparse)."""
        for hidden, shown in self._hidden:
            vars(hidden).update(shown)
        groups = list(parser._action_groups)
        made = []
        for title, actions in self.regrouped.items():
            made.append(parser.add_argument_group(title))
            made[-1]._group_actions += actions
            for group in groups:
                group._group_actions[:] = [a for a in group._group_actions if a not in actions]
        # behind argparse's own groups and that of the service
        parser._action_groups[:] = [*groups[:3], *made, *groups[3:]]
        if self.notes:
            parser.epilog = "\n".join(filter(None, [parser.epilog, *self.notes]))
        parser.print_help()
        parser.exit()


def _add(group: Any, binding: Binding) -> argparse.Action:
    option, owner = binding.option, binding.owner.__name__
    settings: dict[str, Any] = {"default": binding.default, "help": _help(binding)}
    if binding.switch and option.action is None:
        settings["action"] = Switch
    elif option.action in ("store_true", "store_false", "count"):
        settings["action"] = option.action
    else:
        settings |= {"type": _argument(binding), "metavar": option.metavar or _metavar(binding)}
        names = ("action", "nargs", "choices")
        settings |= {n: getattr(option, n) for n in names if getattr(option, n) is not None}
    settings |= {"dest": binding.dest, "required": option.required}
    try:
        action: argparse.Action = group.add_argument(binding.flag, **settings)
        argparse.HelpFormatter("")._format_args(action, "")  # raises as the help would
    except argparse.ArgumentError as exc:
        message = f"{owner} cannot have the option {binding.flag}: the parser has one of that name"
        raise OptionError(f"{message} ({exc}). Rename it: see {binding.place}.") from exc
    except (TypeError, ValueError) as exc:
        message = f"{owner}: the declaration of {binding.flag} is wrong: {exc}"
        raise OptionError(f"{message}. See {binding.place}.") from exc
    return action


def _argument(binding: Binding) -> Callable[[str], Any]:
    """Return the ``type`` that argparse calls: our conversion, with our message."""

    def argument(value: str) -> Any:
        # argparse converts a default that is a string, but ours is what it should be already
        try:
            return value if value is binding.default else binding.one(value)
        except Expected as exc:
            raise argparse.ArgumentTypeError(binding.complaint(exc, value)) from None

    argument.__name__ = binding.option.name
    return argument


class Switch(argparse.Action):
    """The action of a boolean option: ``--NAME`` sets it, ``--no-NAME`` clears it."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        flags = [*option_strings, *("--no-" + flag[2:] for flag in option_strings)]
        super().__init__(flags, dest, nargs=0, **settings)
        self.on: frozenset[str] = frozenset(option_strings)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Set the value (called by argparse)."""
        setattr(namespace, self.dest, option_string in self.on)

    def format_usage(self) -> str:
        """Both flags, as argparse shows them in the usage line."""
        return " | ".join(self.option_strings)


def _metavar(binding: Binding) -> str:
    """What stands for the value in ``-h``: the choices, or the last word of the name."""
    option = binding.option
    choices = option.choices
    if choices is None and isinstance(option.type, type) and issubclass(option.type, Enum):
        choices = list(option.type)
    if choices is not None:
        return "{" + ",".join(map(display, choices)) + "}"
    return option.name.replace("-", "_").rpartition("_")[2].upper()


def _help(binding: Binding) -> str:
    """The help of one flag, with its default and its variable, ready for argparse's ``%``."""
    option, text = binding.option, str(binding.option.help or "")
    notes, default = f"env: {binding.env}", binding.default
    empty = default is None or default is False or default in ("", [], ())
    if option.required or option.secret:
        notes = f"{'required' if option.required else 'secret'}; {notes}"
    elif not empty and "%(default)s" not in text:
        notes = f"default: {_display_default(binding)}; {notes}"
    if option.deprecated:
        notes = f"deprecated: {option.deprecated}; {notes}"
    if "%" in text:
        if option.secret:
            text = re.sub(r"%\(default\)\w", MASK, text)
        text = re.sub(_STRAY_PERCENT, "%%", text)
    return f"{text} [{notes.replace('%', '%%')}]".lstrip()


def _display_default(binding: Binding) -> str:
    """The default as the help shows it, with its unit."""
    default = binding.default
    if binding.kind is size and isinstance(default, int):
        return format_size(default)
    return display(written(binding.kind, default)) + ("s" if binding.kind is duration else "")


def first_line(owner: type) -> str:
    """Return the first line of a class's docstring, or of the nearest base's, without markup."""
    docs = (cls.__doc__ for cls in owner.__mro__[:-1] if cls.__doc__)
    return next(docs, "").strip().partition("\n")[0].replace("`", "")


def add_own_arguments(parser: argparse.ArgumentParser, owners: Iterable[type[Any]]) -> None:
    """Have classes of a service and of tasks add arguments of their own to its parser.

    Raises:
        OptionError: two arguments have one name.
    """
    for owner in owners:
        try:
            owner._addArguments(parser)
        except argparse.ArgumentError as error:
            raise OptionError(f"{owner.__name__}._addArguments: {error}") from error


# -- a whole command line --------------------------------------------------------------------------


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
    if COMPLETION in os.environ:
        _complete(parser)
    found: Plugins = parser.get_default(_PLUGINS) or Plugins((), {}, lambda ns: ())
    try:
        ns = _parse_command_line(parser, argv, state.bindings)
    except OptionError as wrong:  # perhaps only as a plugin's options are missing
        raise next(iter(found.broken), wrong) from None
    if found.broken:
        raise found.broken[0]
    given = {d: v for d, v in vars(ns).items() if d in state.bindings and v is not _UNSET}
    return layer(ns, state._replace(given=given), found)


def _parse_command_line(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, bindings: Mapping[str, Binding]
) -> argparse.Namespace:
    """Parse the command line alone: what it does not give is `_UNSET`."""
    plain = (None, "store", "store_true", "store_false")  # the rest builds on what was there: None
    builds = {d for d, binding in bindings.items() if binding.option.action not in plain}
    ns = Namespace(**{d: None if d in builds else _UNSET for d in bindings})
    required = [a for a in parser._actions if a.dest in bindings and a.required]
    ours = type(parser).error is argparse.ArgumentParser.error and "error" not in vars(parser)
    try:
        for action in required:  # any source may give it
            action.required = False
        if ours:
            vars(parser)["error"] = _raise
        parser.parse_args(argv, ns)
    except argparse.ArgumentError as exc:  # of a parser with exit_on_error=False
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


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's completion, if argcomplete is installed."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)
