"""Options that change while the service runs: set one by one, or read again from their sources."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sparts.errors import OptionError
from sparts.options.binding import STATE, Binding, Source, state_of
from sparts.options.sources import Namespace, reload_values

if TYPE_CHECKING:
    import argparse

_write_lock = threading.Lock()  # one writer at a time; readers need none, they see whole namespaces


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
    instance = getattr(owner, "_instance", None)
    options: argparse.Namespace = owner.options if instance is None else instance.options
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
        state, values, refused = reload_values(state)
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
