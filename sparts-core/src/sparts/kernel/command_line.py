"""The command line of a service: its parser, and which tasks it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts import options, plugins, references
from sparts.options import sources
from sparts.shown import brings_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sparts.dispatch import Hooks
    from sparts.protocols import Task


def build_parser(cls: Any, hooks: Hooks) -> argparse.ArgumentParser:
    """Return the parser with all options of the service, its tasks and these plugins.

    Raises:
        UsageError: a task cannot be resolved, or options contradict each other.
    """
    parser: argparse.ArgumentParser = cls._makeArgumentParser()
    owners, tasks, found = _find_options(cls, hooks)
    options.add_options(parser, cls, owners)
    options.add_own_arguments(parser, [cls, *tasks])
    sources.use_plugins(parser, found)
    return parser


def parse(cls: Any, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a service by its command line, with a parser only if it takes one.

    Raises:
        UsageError: a task, a plugin, an argument or another source of options is wrong.
        SystemExit: after ``-h`` and the like.
    """
    owners, tasks, found = _find_options(cls, plugins.load_hooks(tolerant=True))
    own = any(map(brings_parser, (cls, *tasks)))
    ns = None if own else sources.parse_plainly(cls, owners, argv, found)
    return sources.parse_options(cls._buildArgumentParser(), argv) if ns is None else ns


def _find_options(cls: Any, hooks: Hooks) -> tuple[list[type], list[type[Task]], sources.Plugins]:
    """Return the classes with options beside the service, its tasks, and what plugins need."""
    groups = hooks.collect("sparts_options_add", options.checked_group, service_class=cls)
    blocked = {g: n for g, n in plugins.blocked_options(cls).items() if g not in groups}
    own = [group for group in groups if not options.prefix_of(group)]
    others = [group for group in groups if options.prefix_of(group)]
    tasks = resolve_tasks(cls, hooks)

    def find_sources(ns: argparse.Namespace) -> list[options.OptionSource]:
        hooks.tolerant = False  # -h has ended by now
        add = sources.checked_source
        return hooks.collect("sparts_sources_add", add, service_class=cls, options=ns)

    found = sources.Plugins(hooks.broken, blocked, find_sources)
    return [*own, *blocked, *tasks, *others], tasks, found


def resolve_tasks(cls: Any, hooks: Hooks) -> list[type[Task]]:
    """Return the classes of this service's tasks and of what they depend on, in start order.

    Raises:
        UsageError: a task cannot be resolved; see `sparts.references.resolve_all`.
    """
    contributed = hooks.collect("sparts_tasks_add", references.resolve, service_class=cls)
    own, added = references.of_class(cls), references.registered
    return references.resolve_all(dict.fromkeys([*own, *contributed, *added]))
