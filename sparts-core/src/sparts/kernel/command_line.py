"""The command line of a service: its parser, and which tasks it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts import options, plugins, references

if TYPE_CHECKING:
    import argparse

    from sparts.dispatch import Hooks
    from sparts.protocols import Task


def build_parser(cls: Any, hooks: Hooks) -> argparse.ArgumentParser:
    """Return the parser with all options of the service, its tasks and these plugins.

    Raises:
        UsageError: a task cannot be resolved, or options contradict each other.
    """
    parser: argparse.ArgumentParser = cls._makeArgumentParser()
    groups = hooks.collect("sparts_options_add", options.checked_group, service_class=cls)
    blocked = [group for group in plugins.blocked_options(cls) if group not in groups]
    own = [group for group in groups if not options.prefix_of(group)]
    others = [group for group in groups if options.prefix_of(group)]
    tasks = resolve_tasks(cls, hooks)
    options.add_options(parser, cls, [*own, *blocked, *tasks, *others])
    options.add_own_arguments(parser, [cls, *tasks])

    def find_sources(ns: argparse.Namespace) -> list[options.OptionSource]:
        hooks.tolerant = False  # -h has ended by now
        add = options.checked_source
        return hooks.collect("sparts_sources_add", add, service_class=cls, options=ns)

    options.use_plugins(parser, options.Plugins(hooks.broken, blocked, find_sources))
    return parser


def resolve_tasks(cls: Any, hooks: Hooks) -> list[type[Task]]:
    """Return the classes of this service's tasks and of what they depend on, in start order.

    Raises:
        UsageError: a task cannot be resolved; see `sparts.references.resolve_all`.
    """
    contributed = hooks.collect("sparts_tasks_add", references.resolve, service_class=cls)
    own, added = references.of_class(cls), references.registered
    return references.resolve_all(dict.fromkeys([*own, *contributed, *added]))
