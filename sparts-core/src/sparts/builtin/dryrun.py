"""``--dryrun``: all that can be known before a start, without starting anything."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.builtin import ProcessOptions, switch
from sparts.errors import SpartsError, UsageError, describe, message_of
from sparts.hookspecs import hookimpl
from sparts.options import Option, OptionGroup
from sparts.shown import ours

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from sparts.vservice import VService


class DryRun(ProcessOptions):
    """Options of `dryrun`."""

    TITLE: ClassVar[str | None] = "life"

    dryrun: Option[bool] = switch(
        "check options, tasks and what they need, print what would run, and exit", advanced=False
    )


@hookimpl
def sparts_options_add() -> type[OptionGroup]:
    """Add the option."""
    return DryRun


@hookimpl
def sparts_service_run(
    service_class: type[VService], options: argparse.Namespace, name: str | None
) -> int | None:
    """Check, and do not run, if ``--dryrun`` is given."""
    asked = DryRun.of(service_class, options).dryrun
    return dry_run(service_class, options, name) if asked else None


def dry_run(service_class: type[VService], ns: argparse.Namespace, name: str | None = None) -> int:
    """Check what a service needs, and print what would run.

    The options have been read, the plugins and tasks are resolved and made, the addresses bound and
    let go again, and every ``check()`` is called, in the calling thread. Nothing is initialised or
    started.

    Args:
        service_class: the service.
        ns: its options.
        name: the name of the service; None is the class's.

    Returns:
        The exit status: 0 if it would start, 1 if something is wrong.

    Raises:
        UsageError: a task or a plugin cannot be resolved, or an option is wrong.
    """
    service = service_class(ns)
    service.name = name or service._instance.name
    service._instance.preprocess_options()
    print(f"{service._instance.name} would run, in this order:")
    for task in ours(service).tasks.task_classes:
        needs = [each if isinstance(each, str) else each.__name__ for each in task._dependencies()]
        print(f"  {task.__name__}" + (f" (needs {', '.join(needs)})" if needs else ""))
    if not ours(service).tasks.task_classes:
        print("  no tasks")
    wrong: list[str] = []

    def attempt(what: str, action: Callable[[], Any]) -> bool:
        try:
            action()
        except Exception as error:
            if isinstance(error, UsageError) and what != "listening":
                raise
            told = isinstance(error, SpartsError | OSError)  # whose messages say it all
            wrong.append(f"{what}: {message_of(error)}" if told else f"{what}: {describe(error)}")
            return False
        return True

    from sparts.builtin.daemon import wanted_process

    wanted_process(service)
    if attempt("making the tasks", lambda: ours(service).tasks.create(service)):
        for name, check in _checks(service):
            attempt(name, check)
        hooks = ours(service).hooks
        attempt("listening", lambda: hooks.call("sparts_sockets_bind", service=service))
        if (listeners := hooks.kept.get("listeners")) is not None:
            listeners.close()
    for problem in wrong:
        print(f"Wrong: {problem}")
    return 1 if wrong else 0


def _checks(service: VService) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give who checks, and how: the service, its tasks, and plugins."""
    owners: list[Any] = [service, *ours(service).getChildren().values()]
    yield from ((owner.name, owner.check) for owner in owners)
    for caller in ours(service).hooks.callers("sparts_service_check"):
        yield caller.name, functools.partial(caller.__call__, {"service": service})
