"""Tasks by name and class: resolved, ordered, found again."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from sparts import entry_points, references
from sparts.errors import (
    AmbiguousTaskError,
    DependencyCycleError,
    TaskLoadError,
    TaskNotFoundError,
    UsageError,
)
from sparts.options import prefix_of
from sparts.references import resolve, resolve_all
from sparts.taskset import Tasks
from sparts.testing.distributions import make_distribution
from sparts.testing.running import make_service, running, service_of
from sparts.vservice import VService
from sparts.vtask import SkipTask, VTask

from tests.processes import run_to_end

MODULE = """
from sparts.vtask import VTask
class Cleanup(VTask):
    LOOPLESS = True
class Other(VTask):
    LOOPLESS = True
not_a_task = 3
"""


class A(VTask):
    LOOPLESS = True


class B(VTask):
    LOOPLESS = True
    DEPS = [A]


class C(VTask):
    LOOPLESS = True
    DEPS = [B]


def names(classes: list[type[VTask]]) -> list[str]:
    return [cls.__name__ for cls in classes]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_distribution(
        tmp_path,
        "acme-jobs",
        "2.1",
        entry_points={"sparts.tasks": {"Cleanup": "acme_jobs_tasks:Cleanup"}},
        modules={"acme_jobs_tasks": MODULE},
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_jobs_tasks", raising=False)
    return tmp_path


def test_class_is_itself() -> None:
    assert resolve(A) is A


def test_name_is_found_through_its_entry_point(installed: Path) -> None:
    assert resolve("Cleanup").__module__ == "acme_jobs_tasks"


def test_module_and_class_are_imported_without_entry_point(installed: Path) -> None:
    assert resolve("acme_jobs_tasks:Other").__name__ == "Other"


def test_alias_is_a_task_with_its_own_options(installed: Path) -> None:
    alias = resolve("night=Cleanup")
    assert alias.__name__ == "night"
    assert prefix_of(alias) == "night"
    assert issubclass(alias, resolve("Cleanup"))
    assert resolve("night=Cleanup") is alias


def test_alias_goes_with_every_form(installed: Path) -> None:
    for target in ("acme_jobs_tasks:Cleanup", "Cleanup@acme-jobs", "Cleanup@acme_jobs"):
        assert issubclass(resolve(f"x={target}"), resolve("Cleanup"))


def test_alias_must_be_a_name(installed: Path) -> None:
    with pytest.raises(UsageError, match="'a-b' cannot name a task"):
        resolve("a-b=Cleanup")


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(TaskNotFoundError) as caught:
        resolve("TornadoHTTTask")
    assert str(caught.value) == (
        "No task is named 'TornadoHTTTask'. Did you mean 'TornadoHTTPTask'?"
    )


def test_missing_plugin_is_named_for_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "installed", list)
    with pytest.raises(TaskNotFoundError) as caught:
        resolve("TornadoHTTPTask")
    assert str(caught.value) == (
        "No task is named 'TornadoHTTPTask'. It comes with sparts-tornado: "
        "pip install sparts-tornado"
    )


def test_table_of_known_providers_is_up_to_date() -> None:
    from scripts.known_providers import TABLE, table

    assert TABLE.read_text() == table(), "run `make known`"


def test_two_distributions_of_one_name_are_told_apart(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_distribution(
        tmp_path_factory.mktemp("other"),
        "beta-jobs",
        "0.3",
        entry_points={"sparts.tasks": {"Cleanup": "beta_jobs_tasks:Cleanup"}},
        modules={"beta_jobs_tasks": MODULE},
    )
    monkeypatch.syspath_prepend(other)
    with pytest.raises(AmbiguousTaskError) as caught:
        resolve("Cleanup")
    assert str(caught.value) == (
        "acme-jobs 2.1 and beta-jobs 0.3 both provide a task named 'Cleanup'. "
        "Name it as 'Cleanup@acme-jobs' or 'Cleanup@beta-jobs'."
    )
    assert resolve("Cleanup@beta-jobs").__module__ == "beta_jobs_tasks"


def test_wrong_distribution_names_the_right_one(installed: Path) -> None:
    with pytest.raises(
        TaskNotFoundError, match="sparts-core provides no task named 'Cleanup'; acme"
    ):
        resolve("Cleanup@sparts-core")


@pytest.mark.parametrize(
    ("name", "target", "modules", "message"),
    [
        ("Broken", "broken_tasks:Broken", {"broken_tasks": "1 / 0"}, "ZeroDivisionError: division"),
        ("Broken", "nowhere_at_all:Broken", {}, "ModuleNotFoundError: No module named 'nowhere"),
        ("Broken", "broken_tasks:Broken", {"broken_tasks": ""}, "AttributeError: module 'broken_"),
        ("Wrong", "broken_tasks:Cleanup", {"broken_tasks": MODULE}, "is a class named 'Cleanup'"),
        ("Wrong", "broken_tasks:not_a_task", {"broken_tasks": MODULE}, "is not a class but 3"),
    ],
)
def test_unloadable_task_names_its_distribution_and_cause(
    name: str,
    target: str,
    modules: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = {"sparts.tasks": {name: target}}
    make_distribution(tmp_path, "broken-dist", "1.2.3", entry_points=points, modules=modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_tasks", raising=False)
    with pytest.raises(TaskLoadError) as caught:
        resolve(name)
    assert f"'{name}' of broken-dist 1.2.3 ({target})" in str(caught.value)
    assert message in str(caught.value)


def test_what_is_no_task_type_is_refused() -> None:
    with pytest.raises(TaskLoadError, match="is not a task type"):
        resolve(int)  # type: ignore[arg-type]
    with pytest.raises(TaskLoadError, match="is not a task type"):
        resolve("builtins:int")


def test_dependencies_come_along_and_go_first() -> None:
    assert names(resolve_all([C])) == ["A", "B", "C"]


def test_declared_order_is_kept_where_dependencies_allow_it() -> None:
    class D(VTask):
        LOOPLESS = True

    assert names(resolve_all([C, D, A])) == ["A", "B", "C", "D"]
    assert names(resolve_all([D, A, C])) == ["D", "A", "B", "C"]


def test_dependency_by_name_is_met_by_name(installed: Path) -> None:
    class Needs(VTask):
        LOOPLESS = True
        DEPS = ["Cleanup"]

    class Cleanup(VTask):
        LOOPLESS = True

    assert resolve_all([Needs, Cleanup]) == [Cleanup, Needs]
    assert names(resolve_all([Needs])) == ["Cleanup", "Needs"]


def test_dependency_is_met_by_subclass_that_is_there() -> None:
    class BetterA(A):
        pass

    assert names(resolve_all([B, BetterA])) == ["BetterA", "B"]


def test_task_follows_others_without_bringing_them() -> None:
    life: list[str] = []

    class Noting(VTask):
        LOOPLESS = True

        def start(self) -> None:
            life.append(f"+{self.name}")

        def stop(self) -> None:
            life.append(f"-{self.name}")

    class Handler(Noting): ...

    class One(Handler): ...

    class Two(Handler): ...

    class Server(Noting):
        @classmethod
        def _follows(cls) -> tuple[type[VTask], ...]:
            return (Handler,)

    assert resolve_all([Server]) == [Server]
    assert resolve_all([Server, One, A, Two]) == [One, Two, Server, A]
    with running(service_of(Server, One, Two)) as service:
        assert service.tasks.dependants(service.tasks.Two) == [service.tasks.Server]
    assert life == ["+One", "+Two", "+Server", "-Server", "-Two", "-One"]


def test_cycle_is_shown() -> None:
    class X(VTask):
        LOOPLESS = True

    class Y(VTask):
        LOOPLESS = True
        DEPS = [X]

    X.DEPS = [Y]
    with pytest.raises(DependencyCycleError) as caught:
        resolve_all([A, X])
    text = str(caught.value)
    assert text.startswith("Tasks depend on each other: X -> Y -> X. Take one of them out: see X.D")
    assert re.fullmatch(r".* X.DEPS \(\S+/test_taskset.py:\d+\), Y.DEPS \(\S+:\d+\)\.", text)


def test_chain_of_a_thousand_dependencies_is_ordered() -> None:
    chain: list[type[VTask]] = [A]
    for index in range(1000):
        chain.append(type(f"T{index}", (VTask,), {"LOOPLESS": True, "DEPS": [chain[-1]]}))
    assert resolve_all([chain[-1]]) == chain


def test_two_classes_of_one_name_are_refused() -> None:
    other = type("A", (VTask,), {"__module__": "elsewhere"})
    with pytest.raises(
        UsageError, match=r"Two tasks are named 'A': .*test_taskset\.A and elsewhere"
    ):
        resolve_all([A, other])


def test_tasks_are_classes_before_and_instances_after_creation() -> None:
    class Service(VService):
        TASKS = [C]

    service = make_service(Service)
    assert list(service.tasks) == [A, B, C]
    assert service.tasks.B is B
    with running(Service) as service:
        assert [type(task) for task in service.tasks] == [A, B, C]
        task = service.tasks.B
        assert isinstance(task, B)
        assert service.tasks[1] is service.tasks["B"] is service.tasks[B] is task
        assert service.tasks.get("B") is service.tasks.get(B) is service.getTask("B") is task
        assert service.requireTask(B) is task
        assert len(service.tasks) == 3
        assert "B" in service.tasks
        assert service.tasks.get("X") is service.getTask("X") is None


def test_requiring_what_is_not_there_names_what_is() -> None:
    with running(service_of(B)) as service:
        with pytest.raises(KeyError, match="has no task 'X'. Its tasks: A, B"):
            service.requireTask("X")
        with pytest.raises(AttributeError, match="has no task 'X'"):
            service.tasks.X  # noqa: B018


def test_class_finds_the_instance_of_its_subclass() -> None:
    class BetterA(A):
        pass

    class Service(VService):
        TASKS = [BetterA, "again=sparts.testing.distributions:make_distribution"]

    with pytest.raises(TaskLoadError):
        make_service(Service)
    Service.TASKS = [BetterA]
    with running(Service) as service:
        assert isinstance(service.requireTask(A), BetterA)


def test_task_runs_without_one_that_was_left_out() -> None:
    class Skipped(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            raise SkipTask("not configured")

    class Needs(VTask):
        LOOPLESS = True
        DEPS = [Skipped]

    class Service(VService):
        TASKS = [Needs, A]

    with running(Service) as service:
        assert [task.name for task in service.tasks] == ["Needs", "A"]
        with pytest.raises(KeyError, match="no task 'Skipped'"):
            service.requireTask("Skipped")

    Needs.DEPS_OPTIONAL = False
    with running(Service) as service:
        assert [task.name for task in service.tasks] == ["A"]


def test_service_runs_with_every_task_left_out() -> None:
    class Skipped(VTask):
        LOOPLESS = True

        def initTask(self) -> None:  # noqa: N802
            raise SkipTask("not configured")

    with running(service_of(Skipped)) as service:
        assert len(service.tasks) == 0
        assert service.getTask(Skipped) is None


def test_both_lists_and_registered_tasks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "registered", [])

    class Registered(VTask):
        LOOPLESS = True

    class Service(VService):
        ALL_TASKS = [A]
        TASKS = [B]

    assert Registered.register() is Registered
    Registered.register()
    assert [cls.__name__ for cls in make_service(Service).tasks] == ["A", "B", "Registered"]


def test_tasks_option_selects_tasks_and_what_they_need() -> None:
    class D(VTask):
        LOOPLESS = True

    with running(service_of(C, D), "--tasks", "B") as service:
        assert [task.name for task in service.tasks] == ["A", "B"]


def test_tasks_option_refuses_what_the_service_has_not() -> None:
    with pytest.raises(
        UsageError, match="--tasks: this service has no task 'Bb'. Did you mean 'B'"
    ):
        make_service(service_of(C), "--tasks", "Bb")


def test_register_on_the_collection_adds_before_creation() -> None:
    tasks = Tasks([A])
    tasks.register(C)
    assert list(tasks) == [A, B, C]


SCRIPT = """
from sparts.vservice import VService
from sparts.vtask import VTask
class X(VTask):
    LOOPLESS = True
class Y(VTask):
    LOOPLESS = True
    DEPS = [X]
class S(VService):
    TASKS = {tasks}
{more}
S.initFromCLI()
"""


@pytest.mark.parametrize(
    ("tasks", "more", "message"),
    [
        ("['TornadoHTTTask']", "", "error: No task is named 'TornadoHTTTask'. Did you mean 'Torn"),
        ("[X]", "X.DEPS = [Y]", "error: Tasks depend on each other: X -> Y -> X."),
        ("['nowhere_at_all:T']", "", "error: Task 'nowhere_at_all:T' could not be imported: Modul"),
        (
            "['sparts.testing:T']",
            "import sys; sys.modules['sparts.testing'] = None",
            "It comes with sparts-dev: pip install sparts-dev",
        ),
        ("[3]", "", "error: S.TASKS (in __main__) lists 3, which is neither a task class nor"),
    ],
)
def test_wrong_use_ends_with_2_and_no_traceback(
    tasks: str, more: str, message: str, tmp_path: Path
) -> None:
    script = SCRIPT.format(tasks=tasks, more=more)
    status, output = run_to_end([sys.executable, "-c", script], cwd=tmp_path)
    assert message in output
    assert "Traceback" not in output
    assert status == 2


def test_tasks_option_without_a_name_lists_the_tasks(tmp_path: Path) -> None:
    script = SCRIPT.format(tasks="[Y]", more="")
    status, output = run_to_end([sys.executable, "-c", script, "--tasks"], cwd=tmp_path)
    assert (status, output) == (0, "X\nY")
