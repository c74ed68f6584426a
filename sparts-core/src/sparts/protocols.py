"""What libraries, hooks and the kernel need of a service and of a task.

`sparts.vservice.VService` and `sparts.vtask.VTask` are such. Whatever is below them takes these, so
that it can be read, and used, without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    import logging
    from collections.abc import Callable, Iterable, Mapping
    from typing import ClassVar, Protocol

    from sparts.counters.metric import LiveNumber


if TYPE_CHECKING:  # at run time they would only take time

    class Service(Protocol):
        """A service, as its parts and plugins see it."""

        VERSION: str
        REGISTER_SIGNAL_HANDLERS: ClassVar[bool]
        name: str
        _instance: Any

        @property
        def logger(self) -> logging.Logger: ...  # noqa: D102
        @property
        def options(self) -> argparse.Namespace: ...  # noqa: D102
        @property
        def health(self) -> Any: ...  # noqa: D102
        @property
        def hooks(self) -> Any: ...  # noqa: D102
        @property
        def listeners(self) -> Any: ...  # noqa: D102
        def initService(self) -> None: ...  # noqa: D102, N802
        def initLogging(self) -> None: ...  # noqa: D102, N802
        def reload(self) -> None: ...  # noqa: D102
        def preprocessOptions(self) -> None: ...  # noqa: D102, N802
        def check_options(self, options: argparse.Namespace, /) -> None: ...  # noqa: D102
        def on_options_changed(self, names: frozenset[str], /) -> None: ...  # noqa: D102
        def getCounters(self) -> Mapping[str, LiveNumber]: ...  # noqa: D102, N802
        def getCounter(self, name: str, /) -> LiveNumber: ...  # noqa: D102, N802
        def getExportedValues(self) -> Mapping[str, str]: ...  # noqa: D102, N802
        def getExportedValue(self, name: str, /) -> str: ...  # noqa: D102, N802
        def getOptions(self) -> Mapping[str, Any]: ...  # noqa: D102, N802
        def setOption(self, name: str, value: Any, /) -> None: ...  # noqa: D102, N802
        def registerWarning(self, message: str, /) -> int: ...  # noqa: D102, N802
        def clearWarning(self, warning: int, /) -> bool: ...  # noqa: D102, N802
        def restart(self) -> None: ...  # noqa: D102
        def shutdown(self) -> None: ...  # noqa: D102
        def _run_process(self) -> Any: ...

    class Instance(Protocol):
        """One instance of a service, as libraries see what the kernel keeps of it."""

        hooks: Any
        options: argparse.Namespace
        running: Any
        service: Any
        ours: Any
        tasks: Any

        @property
        def health(self) -> Any: ...  # noqa: D102
        @property
        def logger(self) -> logging.Logger: ...  # noqa: D102
        @property
        def name(self) -> str: ...  # noqa: D102
        def begin_stop(self, kind: str, /) -> None: ...  # noqa: D102

    class Task(Protocol):
        """A task, as its parts and plugins see it."""

        name: str
        logger: logging.Logger
        service: Any
        _n_failures: Any
        _n_restarts: Any

        @property
        def healthy(self) -> bool: ...  # noqa: D102
        @property
        def _call_wrappers(self) -> Any: ...
        def initTask(self) -> None: ...  # noqa: D102, N802
        def initTaskThread(self) -> None: ...  # noqa: D102, N802
        def start(self) -> None: ...  # noqa: D102
        def stop(self) -> None: ...  # noqa: D102
        def join(self) -> None: ...  # noqa: D102
        def reload(self) -> None: ...  # noqa: D102
        def check_options(self, options: argparse.Namespace, /) -> None: ...  # noqa: D102
        def on_options_changed(self, names: frozenset[str], /) -> None: ...  # noqa: D102
        def on_dependency_restarted(self, task: Any, /) -> None: ...  # noqa: D102
        @classmethod
        def _dependencies(cls) -> Any: ...
        @classmethod
        def _follows(cls) -> Any: ...
        def _runloop(self) -> None: ...
        def _give_up_start(self) -> None: ...
        def _abandoned(self) -> None: ...
        def _left_out(self) -> None: ...
        def _workers_left(self) -> None: ...
        def _format_stacks(self) -> str: ...

    class SupervisedTask(Task, Protocol):
        """A task, as its supervisor sees it: with what its class sets.

        `Task` has none of it, as pyright would refuse classes with ``LOOPLESS = True`` and the like
        as ``type[Task]``: they do not repeat that it is a ClassVar, and of which type.
        """

        DEPS_OPTIONAL: ClassVar[bool]
        LOOPLESS: ClassVar[bool]
        RESTART: ClassVar[Any]
        STOP_TIMEOUT: ClassVar[float | None]

    class Address(Protocol):
        """Where a server task is to listen, as the writers of unit files see it."""

        owner: str
        prefix: str
        port: int
        path: str
        group: str
        backlog: int

        def resolved(self) -> list[str]: ...  # noqa: D102

    class Listeners(Protocol):
        """All listening sockets of a process, as built-in plugins see them."""

        def open(self, servers: Iterable[Any], /) -> None: ...  # noqa: D102
        def close(self, owner: str | None = None) -> object: ...  # noqa: D102
        def reloads(self) -> Iterable[tuple[str, Callable[[], None]]]: ...  # noqa: D102
        def descriptors(self) -> list[tuple[str, int]]: ...  # noqa: D102
        def hand_over(self) -> list[tuple[str, int]]: ...  # noqa: D102
        def give(self, uid: int) -> None: ...  # noqa: D102

    class Server(Task, Protocol):
        """A server task: it names what opens its sockets, the same as all others of a service."""

        _opened_by: ClassVar[type[Any]]
        _binds_itself: ClassVar[bool]

        def address(self) -> Address: ...  # noqa: D102
