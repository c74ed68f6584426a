"""Overrides that would silently do nothing are refused before anything starts."""

from __future__ import annotations

import functools
import sys
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar
from unittest.mock import AsyncMock, Mock

import pytest
from sparts import entry_points
from sparts.builtin.overrides import find_problems, signatures, sparts_task_start, spelling
from sparts.errors import TaskLoadError, UsageError
from sparts.loops import LoopBoundTask
from sparts.options import option
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.asyncio import AsyncioTask
from sparts.tasks.dbus import DBusServiceTask
from sparts.tasks.event import EventTask
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import PriorityQueueTask, QueueTask
from sparts.tasks.thrift import ThriftServerTask
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.core.commands import sparts
from tests.processes import ServiceProcess, clean_environment

Body = dict[str, Any]


def derive(base: type, name: str = "__module__", value: Any = "acme", /, **body: Any) -> Any:
    """Make a class as a module of somebody else has it, with something under a name."""
    return type("Mine", (base,), {"__module__": "acme", name: value, **body})


def told(*classes: Any, error: bool) -> list[str]:
    """Give the errors, or the warnings, of tasks and of a service that may be among them."""
    service = next((each for each in classes if issubclass(each, VService)), None)
    problems = find_problems(service, [each for each in classes if each is not service])
    return [str(each) for each in problems if bool(each.error) is error]


errors = functools.partial(told, error=True)
warnings = functools.partial(told, error=False)


async def coroutine(self: Any, *args: Any) -> None:
    """Stand for any method."""


async def async_generator(self: Any, *args: Any) -> AsyncIterator[int]:
    """Stand for any method."""
    yield 1


def generator(self: Any, *args: Any) -> Iterator[int]:
    """Stand for any method."""
    yield 1


def execute(self: Any, *args: Any) -> None:
    """Stand for a plain method."""


# -- the kind of a method --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "name", "remedy"),
    [
        (QueueTask, "execute", "Derive from AsyncQueueTask instead."),
        (PeriodicTask, "execute", "Derive from AsyncPeriodicTask instead."),
        (PollerTask, "fetch", "No AsyncPollerTask exists. Write `def fetch`."),
        (EventTask, "execute", "No AsyncEventTask exists. Write `def execute`."),
        (PriorityQueueTask, "execute", "No AsyncPriorityQueueTask exists."),
        (DirectoryWatcherTask, "onFileCreated", "Write `def onFileCreated`."),
        (VTask, "_runloop", "Derive from AsyncioTask, and name it `run`."),
        (VTask, "initTask", "`start_in_loop` of an AsyncioTask"),
        (AsyncioTask, "check", "Write `def check`."),
    ],
)
def test_coroutine_for_a_plain_method(base: type, name: str, remedy: str) -> None:
    (error,) = errors(derive(base, name, coroutine))
    line = coroutine.__code__.co_firstlineno
    assert error.startswith(f"Mine.{name} (tests/core/test_overrides.py:{line}) is a coroutine")
    assert f"but {base.__name__} calls it as a plain one" in error
    assert remedy in error


@pytest.mark.parametrize(
    ("base", "name", "value", "remedy"),
    [
        (QueueTask, "execute", classmethod(lambda cls, item, context: None), "@classmethod"),
        (AsyncQueueTask, "execute", classmethod(coroutine), "@classmethod"),
        (PollerTask, "fetch", classmethod(lambda cls: None), "@classmethod"),
        (VService, "initService", classmethod(lambda cls: None), "@classmethod"),
        (QueueTask, "execute", staticmethod(lambda self, item: None), "@staticmethod"),
        (PeriodicTask, "execute", staticmethod(lambda self: None), "@staticmethod"),
    ],
)
def test_method_that_would_not_get_the_task(base: type, name: str, value: Any, remedy: str) -> None:
    (error,) = errors(derive(base, name, value))
    assert "not get" in error
    assert error.endswith(f"Remove `{remedy}`.")
    assert errors(derive(base, **{name: value}, SPARTS_ALLOW_NAMES=name)) == []


@pytest.mark.parametrize("base", [AsyncQueueTask, AsyncPeriodicTask])
def test_plain_method_for_a_coroutine(base: type) -> None:
    (error,) = errors(derive(base, execute=execute))
    twin = base.__name__.removeprefix("Async")
    assert f"a plain function, but {base.__name__} awaits it" in error
    assert f"Write `async def execute`, or derive from {twin}." in error


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (QueueTask, "execute"),
        (PeriodicTask, "execute"),
        (AsyncQueueTask, "execute"),
        (AsyncQueueTask, "start_in_loop"),
        (AsyncioTask, "stop_in_loop"),
    ],
)
@pytest.mark.parametrize("function", [generator, async_generator])
def test_generator_for_a_method(base: type, name: str, function: Any) -> None:
    (error,) = errors(derive(base, name, function))
    assert "generator function" in error
    assert "it would never run" in error


def our_tasks() -> list[type[VTask]]:
    """Give the task types of ours that can be imported here."""
    found = []
    for entry in entry_points.find(entry_points.TASKS):
        try:
            found.append(entry_points.load_checked(entry))
        except TaskLoadError:
            continue
    assert len(found) > 20
    return found


def methods_of(task: type) -> dict[str, bool]:
    """Give the names of the methods to override, and whether they are coroutine functions."""
    found: dict[str, bool] = {}
    for base in reversed(task.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, FunctionType) and not name.startswith("_"):
                written: Any = value
                while hasattr(written, "__base_work__"):
                    written = written.__wrapped__
                found[name] = bool(written.__code__.co_flags & 0x80)
            else:
                found.pop(name, None)
    return found


def test_every_method_of_our_task_types() -> None:
    wrong: list[str] = []
    for task in our_tasks():
        either = {name for base in task.__mro__ for name in vars(base).get("MAY_BE_ASYNC", ())}
        for name, is_async in methods_of(task).items():
            refused = bool(errors(derive(task, name, coroutine)))
            if refused is not (not is_async and name not in either):
                wrong.append(f"async {task.__name__}.{name}")
            if is_async and name not in either:
                plain = FunctionType(execute.__code__.replace(co_name=name), globals(), name)
                if not errors(derive(task, name, plain)):
                    wrong.append(f"{task.__name__}.{name}")
    assert wrong == []


def test_our_task_types_are_right_themselves() -> None:
    assert find_problems(None, our_tasks()) == []


def test_start_in_loop_may_be_either() -> None:
    assert errors(derive(AsyncioTask, start_in_loop=coroutine, stop_in_loop=execute)) == []
    assert errors(derive(LoopBoundTask, start_in_loop=coroutine, stop_in_loop=coroutine)) == []


class Acme(VTask):
    """A third party's task type."""

    __module__ = "acme_tasks"
    LOOPLESS = True
    ENDPOINT: ClassVar[str]
    BATCH = 10
    PARTS: ClassVar[int] = 5
    speed = option(default=1)
    MAY_BE_ASYNC = ("on_close",)

    def on_message(self, message: str) -> None:
        """Take a message."""

    def on_open(self) -> Awaitable[None] | None:
        """Begin; may be ``async``."""

    def on_close(self) -> None:
        """End; may be ``async``."""

    async def on_data(self, data: bytes) -> None:
        """Take data."""


def test_task_types_of_third_parties() -> None:
    assert len(errors(derive(Acme, on_message=coroutine))) == 1
    assert len(errors(derive(Acme, onMessage=execute))) == 1
    assert len(errors(derive(Acme, Speed=2))) == 1
    assert len(warnings(derive(Acme, ENDPOIN="x", BATCHES=5, BATCHE=5))) == 2
    assert errors(derive(Acme, on_open=coroutine, on_close=coroutine)) == []
    assert errors(derive(Acme, ENDPOINT="x", BATCH=3, speed=2)) == []


def test_classes_of_one_package_know_each_other() -> None:
    class Base(PeriodicTask):
        def handle(self, item: str) -> None:
            raise NotImplementedError

    assert errors(derive(Base, __module__=__name__, handle=coroutine)) == []
    assert len(errors(derive(Base, __module__=__name__, execute=coroutine))) == 1


def test_task_with_its_own_runner() -> None:
    assert errors(derive(PeriodicTask, execute=coroutine, _runloop=execute)) == []


def test_doubles_and_decorators_are_accepted() -> None:
    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    def bare(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    def later(self: Any, item: Any, context: Any) -> Awaitable[None]:
        raise NotImplementedError

    double: Any
    for double in (Mock(), AsyncMock(), functools.partial(print), staticmethod(print)):
        assert find_problems(None, [derive(QueueTask, execute=double)]) == []
        assert find_problems(None, [derive(AsyncQueueTask, execute=double)]) == []
    for double in (decorated(coroutine), bare(coroutine), later, lambda self, item: later):
        assert find_problems(None, [derive(AsyncQueueTask, execute=double)]) == []
    cached = functools.cached_property(execute)
    cached.__set_name__(object, "execute")
    assert find_problems(None, [derive(QueueTask, execute=cached)]) == []


def test_ordinary_tasks_get_only_a_quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(self: Any) -> None:
        raise NotImplementedError

    body: Body = {"initTask": init, "helper": init, "_mine": init, "limit": 3}
    tasks = [derive(base, **body, execute=execute_of) for base, execute_of in ORDINARY]
    service = derive(VService, initService=init, TASKS=tasks)
    monkeypatch.delattr(signatures, "compare")
    monkeypatch.delattr(spelling, "check")
    assert find_problems(service, tasks) == []
    with pytest.raises(AttributeError, match="compare"):
        find_problems(None, [derive(QueueTask, execute=coroutine)])


ORDINARY: list[tuple[type, Any]] = [
    (PeriodicTask, lambda self: None),
    (PeriodicTask, lambda self, context: None),
    (QueueTask, lambda self, item: None),
    (QueueTask, lambda self, item, context: None),
    (EventTask, lambda self, item, context=None: None),
]


# -- parameters ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "name", "function", "passed"),
    [
        (PeriodicTask, "execute", lambda self, a, b: None, "0 to 1 arguments"),
        (QueueTask, "execute", lambda self, a, b, c: None, "2 arguments"),
        (QueueTask, "on_dead_letter", lambda self, a: None, "2 arguments"),
        (DirectoryWatcherTask, "onFileDeleted", lambda self: None, "2 arguments"),
        (VTask, "initTask", lambda self, a: None, "no argument"),
        (VTask, "initTask", staticmethod(lambda a: None), "no argument"),
        (VTask, "__init__", lambda self: None, "1 argument"),
    ],
)
def test_wrong_number_of_parameters(base: type, name: str, function: Any, passed: str) -> None:
    (error,) = errors(derive(base, name, function))
    assert f"but {base.__name__} calls it with {passed}. Write `def {name}(self" in error


def test_required_keyword_is_refused() -> None:
    (error,) = errors(derive(VTask, check=lambda self, *, deep: None))
    assert "needs deep, which VTask does not pass" in error


@pytest.mark.parametrize(
    ("base", "name", "function"),
    [
        (PeriodicTask, "execute", lambda self: None),
        (QueueTask, "execute", lambda self, item: None),
        (QueueTask, "execute", staticmethod(lambda item, context: None)),
        (PollerTask, "fetch", lambda self, context: None),
        (VTask, "initTask", lambda self, more=1: None),
        (VTask, "initTask", lambda *args: None),
        (VTask, "__init__", lambda self, service, more=None: VTask.__init__(self, service)),
        (QueueTask, "_failed", lambda self: None),
    ],
)
def test_forms_that_can_be_called(base: type, name: str, function: Any) -> None:
    assert errors(derive(base, name, function)) == []


@pytest.mark.parametrize(("base", "argument"), [(QueueTask, "service"), (VService, "ns")])
def test_init_without_super_is_refused(base: Any, argument: str) -> None:
    def init(self: Any, own: Any) -> None:
        raise NotImplementedError

    def calls(self: Any, own: Any) -> None:
        base.__init__(self, own)

    (error,) = errors(derive(base, "__init__", init))
    assert "does not call that of" in error
    assert error.endswith(f"Add `super().__init__({argument})`.")
    assert errors(derive(base, "__init__", calls)) == []


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "name", "value", "must"),
    [
        (VTask, "workers", "4", "a whole number"),
        (VTask, "workers", None, "a whole number"),
        (VTask, "LOOPLESS", "no", "True or False"),
        (VTask, "STOP_TIMEOUT", "5 seconds", "a number or None"),
        (VTask, "RESTART", True, "a string or a RestartPolicy"),
        (VTask, "OPT_PREFIX", 5, "a string or None"),
        (VTask, "PROCESSES", "one", "'all' or 'first'"),
        (QueueTask, "ON_ERROR", "ignore", "'shutdown' or 'log'"),
        (EventTask, "ON_ERROR", True, "'shutdown' or 'log'"),
        (VService, "VERSION", 1.5, "a string"),
    ],
)
def test_value_of_the_wrong_type(base: type, name: str, value: Any, must: str) -> None:
    (error,) = errors(derive(base, name, value))
    assert error.startswith(f"Mine.{name} (")
    assert error.endswith(f"is {value!r}. It must be {must}.")


def test_values_of_the_right_type() -> None:
    right: Body = {"STOP_TIMEOUT": 5, "DEPS": [Acme], "OPT_PREFIX": "x", "RESTART": "always"}
    assert errors(derive(VTask, workers=2, LOOPLESS=True, PROCESSES="first", **right)) == []
    assert errors(derive(QueueTask, WORKERS="4", INTERVAL=[5])) == []
    for value in (Mock(), print, property(execute), option(default=1)):
        assert errors(derive(VTask, STOP_TIMEOUT=value)) == []
    assert len(warnings(derive(Acme, PARTS=None))) == 1


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "name", "value", "meant"),
    [
        (QueueTask, "onDeadLetter", execute, "on_dead_letter"),
        (DirectoryWatcherTask, "on_file_created", execute, "onFileCreated"),
        (VTask, "init_task", execute, "initTask"),
        (VTask, "_run_loop", execute, "_runloop"),
        (VTask, "WORKERS", 4, "workers"),
        (DirectoryWatcherTask, "POLL", True, "poll"),
        (PeriodicTask, "Interval", 5, "INTERVAL"),
    ],
)
def test_name_that_differs_in_case_and_underscores(
    base: type, name: str, value: Any, meant: str
) -> None:
    (error,) = errors(derive(base, LOOPLESS=True, **{name: value}))
    assert f"Mine.{name} (" in error
    assert f"by sparts, which has {meant}. Rename it" in error
    assert errors(derive(base, SPARTS_ALLOW_NAMES=(name,), **{name: value})) == []


OLD = [
    *((VService, "_createTasks"), (VTask, "_loptName"), (PeriodicTask, "_handle_try_later")),
    *((ThriftServerTask, "_findProcessors"), (DBusServiceTask, "_makeBus")),
]


@pytest.mark.parametrize(("base", "name"), OLD)
def test_methods_that_sparts_07_called(base: Any, name: str) -> None:
    def own(self: Any) -> None:
        getattr(super(base, self), name)()

    def run(self: Any) -> None:
        self._createTasks(), self._loptName(), self._handle_try_later()
        self._findProcessors(), self._makeBus()

    (problem,) = errors(derive(base, name, own))
    assert f"Mine.{name}" in problem
    assert "is not called any more" in problem
    assert errors(derive(base, name, own, run_it=run)) == []
    assert errors(derive(base, name, own, SPARTS_ALLOW_NAMES=(name,))) == []


def test_tasks_on_a_service_means_TASKS() -> None:  # noqa: N802
    (error,) = errors(derive(VService, tasks=[Acme]))
    assert "which has TASKS" in error
    assert len(errors(derive(VService, Version="1"))) == 1
    assert len(errors(derive(VService, initService=coroutine))) == 1
    assert len(errors(derive(VService, init_service=execute))) == 1


def test_names_of_ones_own_are_no_misspellings() -> None:
    def reads(self: Any) -> Any:
        return self.LIMIT_ITEMS, self.WORKER

    def get_task(self: Any, name: str) -> Any:
        return self.getTask(name)

    own: Body = {"_interval": 5, "_options": {}, "execute": execute, "reads": reads}
    assert find_problems(None, [derive(QueueTask, WORKER=1, WORKERS=3, **own)]) == []
    assert find_problems(None, [derive(VTask, STOP=1, QUEUE="jobs", STATES=["a"], **own)]) == []
    assert find_problems(None, [derive(QueueTask, deps=option(default="x"), **own)]) == []
    assert find_problems(derive(VService, get_task=get_task), []) == []


def test_near_miss_of_a_class_attribute_warns() -> None:
    for name in ("WORKER", "WORKERSS", "WORKRES", "WORKURS"):
        (warning,) = warnings(derive(QueueTask, name, 4))
        assert warning.startswith(f"Mine.{name} (")
        assert warning.endswith("is not used by sparts. Did you mean WORKERS?")
    assert warnings(derive(QueueTask, WORKER=4, SPARTS_ALLOW_NAMES="WORKER")) == []
    assert warnings(derive(QueueTask, WRKRS=4)) == []


def test_service_may_set_attributes_of_its_tasks() -> None:
    queue = derive(QueueTask, execute=execute)
    assert warnings(queue, derive(VService, WORKERS=4)) == []
    (warning,) = warnings(queue, derive(VService, WORKRES=4))
    assert warning.endswith("Did you mean WORKERS?")


@pytest.mark.parametrize(
    ("base", "name", "meant"),
    [
        (VTask, "initTaks", "initTask"),
        (DirectoryWatcherTask, "onFileCreatd", "onFileCreated"),
        (QueueTask, "work_sucess", "work_success"),
        (Acme, "on_mesage", "on_message"),
        (VService, "initServise", "initService"),
    ],
)
def test_near_miss_of_a_method_warns(base: Any, name: str, meant: str) -> None:
    def calls(self: Any) -> None:
        getattr(self, name)()
        self.initTaks(), self.onFileCreatd(), self.work_sucess(), self.on_mesage()
        self.initServise()

    mine = functools.partial(derive, base, name, execute, __module__="others")
    (warning,) = warnings(mine())
    assert warning.endswith(f"is not called by sparts. Did you mean {meant}?")
    assert warnings(mine(SPARTS_ALLOW_NAMES=(name,))) == []
    assert warnings(mine(work_now=calls)) == []
    far = dict.fromkeys(("getTasks", "setTask", "stops", "resume"), execute)
    assert warnings(derive(base, __module__="others", **far)) == []


def test_annotation_in_place_of_a_value() -> None:
    for annotation in (5, [Acme], "5", "[Acme]", 0.5, ()):
        (error,) = errors(derive(QueueTask, __annotations__={"WORKERS": annotation}))
        assert error.endswith("is annotated, and has no value. Write `WORKERS = ...`.")
    for fine in (int, "int", "ClassVar[int]", "'int'", int | None, "(int | None)"):
        assert errors(derive(QueueTask, __annotations__={"WORKERS": fine})) == []
    assert errors(derive(QueueTask, __annotations__={"OTHERS": 5})) == []
    assert errors(derive(QueueTask, WORKERS=2, __annotations__={"WORKERS": 5})) == []


def test_data_in_place_of_a_method() -> None:
    for value in (None, 5, property(execute), option(default=1)):
        for name in ("initTask", "_runloop"):
            (error,) = errors(derive(VTask, name, value))
            assert error.endswith(f"is no method, and VTask calls it. Write `def {name}`.")
    for fine in (Mock(), print, functools.partial(print), functools.partialmethod(print)):
        assert errors(derive(VTask, initTask=fine)) == []


def test_option_that_hides_what_sparts_has() -> None:
    for name in ("name", "state", "service", "logger"):
        found = errors(derive(VTask, name, option(default="x")))
        assert len(found) == (name != "logger")
    for name in ("options", "tasks", "health"):
        (error,) = errors(derive(VService, name, option(default="x")))
        assert error.endswith(f"of that name. Write `own_{name} = option({name!r})`.")
    for name in ("name", "daemon", "level"):
        assert errors(derive(VService, name, option(default="x"))) == []


# -- as processes ----------------------------------------------------------------------------------

SERVICE = """
from sparts.vservice import VService
from sparts.vtask import VTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.periodic import PeriodicTask

class Mailer(QueueTask):
    {mailer}
    def execute(self, item, context):
        pass

class Bare(VTask):
    LOOPLESS = True

class Post(VService):
    TASKS = [Mailer, Bare]
    SPARTS_ALLOW_NAMES = ("POST_LEVLE",)

if __name__ == "__main__":
    Post.initFromCLI()
"""


def run(folder: Path, *argv: str, mailer: str = "", **variables: str) -> list[str]:
    """Run the service as a process until it has started; give its log."""
    (folder / "post.py").write_text(SERVICE.format(mailer=mailer))
    command = [sys.executable, "post.py", *argv]
    with ServiceProcess(command, cwd=folder, env=clean_environment(**variables)) as process:
        process.read_until_started()
        assert process.stop() == 0
        return process.lines


def refused(
    folder: Path, *argv: str, mailer: str = "", tasks: str = "TASKS = [Mailer, Bare]"
) -> str:
    """Run the service as a process, which says in one line what is wrong."""
    text = SERVICE.replace("TASKS = [Mailer, Bare]", tasks).format(mailer=mailer)
    (folder / "post.py").write_text(text)
    done = sparts(*argv, cwd=folder, by=[sys.executable, "post.py"])
    assert (done.status, len(done.err.splitlines())) == (2, 1), done
    return done.err


@pytest.mark.parametrize("argv", [(), ("--dryrun",), ("--tasks", "Bare")])
def test_service_with_an_error_ends_with_2(argv: tuple[str, ...], tmp_path: Path) -> None:
    said = refused(tmp_path, *argv, mailer="async def on_dead_letter(self, context, error): ...")
    assert said.startswith("post.py: error: Mailer.on_dead_letter (post.py:8) is a coroutine")


def test_near_miss_is_one_warning_at_the_start(tmp_path: Path) -> None:
    text = "WARNING:Post:Mailer.WORKER (post.py:8) is not used by sparts. Did you mean WORKERS?"
    lines = run(tmp_path, mailer="WORKER = 4")
    assert [line for line in lines if "WARNING" in line] == [text]


def test_misspelt_variables_are_warnings_at_the_start(tmp_path: Path) -> None:
    wrong = {
        "SPARTS_DISABLE_PLUGIN": "SPARTS_DISABLE_PLUGINS",
        "POST_STOP_TIMOUT": "POST_STOP_TIMEOUT",
        "Post_Level": "POST_LEVEL",
        "POST_MAILER_WROKERS": "POST_MAILER_WORKERS",
    }
    right = ("POST_DRAIN_TIME", "POST_OFFICE", "SPARTS_RUNTIME_DIR", "POST_LEVLE", "LEVLE")
    variables = dict.fromkeys((*wrong, *right), "1")
    lines = run(tmp_path, mailer="OPT_PREFIX = 'mailer'", **variables)
    assert sorted(line for line in lines if line.startswith("WARNING")) == sorted(
        f"WARNING:Post:The variable {name} is set, but sparts does not read it. Did you mean "
        f"{meant}?"
        for name, meant in wrong.items()
    )


def test_variable_of_an_absent_plugin_is_a_warning(tmp_path: Path) -> None:
    said = (
        "WARNING:Post:The variable POST_RELOAD is set, but sparts does not read it. It comes with "
        "sparts-dev, which"
    )
    lines = run(tmp_path, POST_RELOAD="1", SPARTS_DISABLE_PLUGINS="sparts-dev")
    assert [line for line in lines if line.startswith(said)]


def test_misspelt_plugin_to_keep_out_is_a_warning(tmp_path: Path) -> None:
    flags = ("--no-plugin", "systemdd", "--no-plugin=sparts_otle", "--no-plugin", "runit")
    others = "somebodys-plugin,sparts-of-others,dryrn"
    lines = run(tmp_path, *flags, SPARTS_DISABLE_PLUGINS=others)
    said = "WARNING:Post:No plugin {!r} is there to be kept out. Did you mean {!r}?"
    wrong = {"dryrn": "dryrun", "sparts-otle": "sparts-otel", "systemdd": "systemd"}
    warnings = [line for line in lines if line.startswith("WARNING")]
    assert warnings == [said.format(*pair) for pair in wrong.items()]


def test_built_in_plugin_can_be_left_out(tmp_path: Path) -> None:
    lines = run(tmp_path, "--no-plugin", "overrides", mailer="onDeadLetter = print")
    assert not [line for line in lines if "onDeadLetter" in line]


@pytest.mark.parametrize(
    ("base", "method", "form"),
    [
        (QueueTask, "execute", "`def execute(self, item, context)`"),
        (PeriodicTask, "execute", "`def execute(self, context)`"),
        (AsyncQueueTask, "execute", "`async def execute(self, item, context)`"),
        (AsyncPeriodicTask, "execute", "`async def execute(self, context)`"),
        (PollerTask, "fetch", "`def fetch(self)`"),
        (AsyncioTask, "run", "`async def run(self)`"),
        (
            VTask,
            "_runloop",
            "`def _runloop(self)`, which returns when `self.stop_event` is set. Or derive "
            "from PeriodicTask, QueueTask or AsyncioTask. Or set LOOPLESS = True if the task "
            "needs no thread",
        ),
    ],
)
def test_method_that_must_be_written(base: Any, method: str, form: str) -> None:
    def start(mine: Any) -> None:
        sparts_task_start(mine(VService.from_args([])))

    with pytest.raises(UsageError) as caught:
        start(derive(base, "process", execute))
    assert str(caught.value).startswith(f"Mine.{method} (")
    assert f"is missing: {base.__name__} has nothing to do without it." in str(caught.value)
    assert str(caught.value).endswith(f"Write {form}.")
    start(derive(base, method, coroutine if "async" in form else execute))
    start(derive(base, _runloop=execute))
    start(derive(base, workers=0))


def test_abstract_method_of_a_third_party() -> None:
    class Listener(VTask):
        LOOPLESS = True

        @abstractmethod
        def on_message(self) -> None:
            """Take a message."""

    service = VService.from_args([])
    listener: Any = Listener
    with pytest.raises(UsageError, match=r"on_message .* is missing: Listener has"):
        sparts_task_start(listener(service))
    sparts_task_start(derive(listener, on_message=execute)(service))


BAD_LISTS = {
    "TASKS = Bare": "Post.TASKS (post.py:16) is no list of tasks. Write TASKS = [Bare].",
    "TASKS = 'Bare'": "Post.TASKS (post.py:16) is no list of tasks. Write TASKS = ['Bare'].",
    "TASKS = None": "Post.TASKS (post.py:16) is no list of tasks. Write TASKS = [...].",
    "TASKS = iter([Bare])": "Post.TASKS (post.py:16) is no list of tasks. Write TASKS = [...].",
    "TASKS = [5]": "Post.TASKS (post.py:16) lists 5, which is neither a task class nor the name",
    "Bare.DEPS = Mailer; TASKS = [Bare]": "Bare.DEPS (post.py:12) is no list of tasks. "
    "Write DEPS = [Mailer].",
    "__init__ = lambda self: None": "Post.__init__ (post.py:16) takes no argument",
    "__init__ = lambda self, ns: None": "Post.__init__ (post.py:16) does not call that of VService",
}


@pytest.mark.parametrize("line", BAD_LISTS)
def test_mistakes_before_the_service_is_made(line: str, tmp_path: Path) -> None:
    assert refused(tmp_path, tasks=line).startswith(f"post.py: error: {BAD_LISTS[line]}")
