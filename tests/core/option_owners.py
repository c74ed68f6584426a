"""Services to try options on, made without starting them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

from sparts.states import TaskState
from sparts.vservice import VService
from sparts.vtask import VTask

ServiceT = TypeVar("ServiceT", bound=VService)


def service_of(*tasks: type[VTask] | str, class_name: str = "MyService", **attributes: Any) -> Any:
    """A service's class with these tasks and attributes."""
    return type(class_name, (VService,), {"TASKS": tasks, "__module__": __name__, **attributes})


def task_of(name: str = "HTTP", prefix: str | None = "http", **attributes: Any) -> Any:
    """A task's class with these attributes (options among them)."""
    body = {"OPT_PREFIX": prefix, "LOOPLESS": True, "__module__": __name__, **attributes}
    return type(name, (VTask,), body)


def parsed(service: type[VService], *argv: str) -> argparse.Namespace:
    """The namespace of a command line, all sources layered."""
    return service.from_args(argv).options


def parser_of(service: type[VService]) -> argparse.ArgumentParser:
    """The parser of a service by its established name."""
    return service._buildArgumentParser()


def made(service: type[ServiceT], *argv: str) -> ServiceT:
    """An instance with its tasks made, not initialised."""
    instance = service.from_args(argv)
    instance.tasks.create(instance)
    return instance


def pretend_running(service: VService, *tasks: type[VTask]) -> None:
    """Have some tasks of a service that was not started look as if they ran."""
    for task in tasks:
        service.requireTask(task).supervisor.state = TaskState.ALIVE


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """The process's environment with these variables; as it was afterwards."""
    with mock.patch.dict(os.environ, variables):
        yield
