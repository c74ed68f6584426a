"""Tasks by name and class: resolved, ordered, found again."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

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
from sparts.references import Tasks, resolve, resolve_all
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


def task(name: str, **body: Any) -> type[VTask]:
    """Make a task type that does nothing."""
    return type(name, (VTask,), {"LOOPLESS": True, "__module__": __name__, **body})


def skip(self: VTask) -> None:
    """Leave a task out."""
    raise SkipTask("not configured")


D = task("D")


def names(classes: list[type[VTask]]) -> list[str]:
    return [cls.__name__ for cls in classes]


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_distribution(
        site,
        "acme-jobs",
        "2.1",
        entry_points={"sparts.tasks": {"Cleanup": "acme_jobs_tasks:Cleanup"}},
        modules={"acme_jobs_tasks": MODULE},
    )
    monkeypatch.delitem(sys.modules, "acme_jobs_tasks", raising=False)


def test_class_is_itself() -> None:
    assert resolve(A) is A


def test_name_is_found_through_its_entry_point(installed: None) -> None:
    assert resolve("Cleanup").__module__ == "acme_jobs_tasks"


def test_module_and_class_are_imported_without_entry_point(installed: None) -> None:
    assert resolve("acme_jobs_tasks:Other").__name__ == "Other"


def test_alias_is_a_task_with_its_own_options(installed: None) -> None:
    alias = resolve("night=Cleanup")
    assert alias.__name__ == "night"
    assert prefix_of(alias) == "night"
    assert issubclass(alias, resolve("Cleanup"))
    assert resolve("night=Cleanup") is alias


def test_alias_goes_with_every_form(installed: None) -> None:
    for target in ("acme_jobs_tasks:Cleanup", "Cleanup@acme-jobs", "Cleanup@acme_jobs"):
        assert issubclass(resolve(f"x={target}"), resolve("Cleanup"))


def test_missing_plugin_is_named_for_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "installed", list)
    with pytest.raises(
        TaskNotFoundError, match="^No task .* It comes with sparts-tornado: pip install sparts-tor"
    ):
        resolve("TornadoHTTPTask")


def test_table_of_known_providers_is_up_to_date() -> None:
    from scripts.known_providers import TABLE, table

    assert TABLE.read_text() == table(), "run `make known`"


def test_two_distributions_of_one_name_are_told_apart(
    installed: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_distribution(
        tmp_path_factory.mktemp("other"),
        "beta-jobs",
        "0.3",
        entry_points={"sparts.tasks": {"Cleanup": "beta_jobs_tasks:Cleanup"}},
        modules={"beta_jobs_tasks": MODULE},
    )
    monkeypatch.syspath_prepend(other)
    both = "acme-jobs 2.1 and beta-jobs 0.3 both provide .* as 'Cleanup@acme-jobs' or 'Cleanup@beta"
    with pytest.raises(AmbiguousTaskError, match=both):
        resolve("Cleanup")
    assert resolve("Cleanup@beta-jobs").__module__ == "beta_jobs_tasks"


@pytest.mark.parametrize(
    ("target", "text", "message"),
    [
        ("broken_tasks:Broken", "1 / 0", "ZeroDivisionError: division"),
        ("nowhere_at_all:Broken", "", "ModuleNotFoundError: No module named 'nowhere"),
        ("broken_tasks:Broken", "", "AttributeError: module 'broken_"),
        ("broken_tasks:Cleanup", MODULE, "is a class named 'Cleanup'"),
        ("broken_tasks:not_a_task", MODULE, "is not a class but 3"),
    ],
)
def test_unloadable_task_names_its_distribution_and_cause(
    target: str, text: str, message: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, modules = {"sparts.tasks": {"Broken": target}}, {"broken_tasks": text}
    make_distribution(site, "broken-dist", "1.2.3", entry_points=points, modules=modules)
    monkeypatch.delitem(sys.modules, "broken_tasks", raising=False)
    with pytest.raises(TaskLoadError, match=re.escape(message)) as caught:
        resolve("Broken")
    assert f"'Broken' of broken-dist 1.2.3 ({target})" in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("a-b=Cleanup", UsageError, "'a-b' cannot name a task"),
        ("TornadoHTTTask", TaskNotFoundError, "named 'TornadoHTTTask'. Did you mean 'TornadoHTTPT"),
        ("Cleanup@sparts-core", TaskNotFoundError, "sparts-core provides no task named 'Cleanup';"),
        (int, TaskLoadError, "is not a task type"),
        ("builtins:int", TaskLoadError, "is not a task type"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_wrong_reference_is_refused(reference: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        resolve(reference)


def test_dependencies_come_along_and_go_first() -> None:
    assert names(resolve_all([C])) == ["A", "B", "C"]


def test_declared_order_is_kept_where_dependencies_allow_it() -> None:
    assert names(resolve_all([C, D, A])) == ["A", "B", "C", "D"]
    assert names(resolve_all([D, A, C])) == ["D", "A", "B", "C"]


def test_dependency_by_name_is_met_by_name(installed: None) -> None:
    needs, cleanup = task("Needs", DEPS=["Cleanup"]), task("Cleanup")
    assert resolve_all([needs, cleanup]) == [cleanup, needs]
    assert names(resolve_all([needs])) == ["Cleanup", "Needs"]


def test_dependency_is_met_by_subclass_that_is_there() -> None:
    class BetterA(A):
        pass

    assert names(resolve_all([B, BetterA])) == ["BetterA", "B"]


def test_task_may_depend_on_its_own_base() -> None:
    class Above(A):
        DEPS = [A]

    class Top(Above):
        DEPS = [Above, A]

    assert resolve_all([Above]) == [A, Above]
    assert resolve_all([Top]) == [A, Above, Top]
    with running(service_of(Above)) as service:
        assert [each.name for each in service.tasks] == ["A", "Above"]
        assert service.tasks.dependencies(service.tasks.Above) == [service.tasks.A]


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
    x = task("X")
    x.DEPS = [task("Y", DEPS=[x])]
    with pytest.raises(DependencyCycleError) as caught:
        resolve_all([A, x])
    text = str(caught.value)
    assert text.startswith("Tasks depend on each other: X -> Y -> X. Take one of them out: see X.D")
    assert re.fullmatch(r".* X.DEPS \(\S+/test_references.py:\d+\), Y.DEPS \(\S+:\d+\)\.", text)


def test_chain_of_a_thousand_dependencies_is_ordered() -> None:
    chain: list[type[VTask]] = [A]
    for index in range(1000):
        chain.append(task(f"T{index}", DEPS=[chain[-1]]))
    assert resolve_all([chain[-1]]) == chain


def test_two_classes_of_one_name_are_refused() -> None:
    other = type("A", (VTask,), {"__module__": "elsewhere"})
    with pytest.raises(
        UsageError, match=r"Two tasks are named 'A': .*test_references\.A and elsewhere"
    ):
        resolve_all([A, other])


def test_tasks_are_classes_before_and_instances_after_creation() -> None:
    service = make_service(service_of(C))
    assert list(service.tasks) == [A, B, C]
    assert service.tasks.B is B
    with running(service_of(C)) as service:
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


def test_wrong_task_is_named_with_its_list() -> None:
    own = type("Own", (VService,), {"TASKS": ["builtins:int"]})
    with pytest.raises(TaskLoadError, match="is not a task type.* See Own.TASKS"):
        make_service(own)


def test_class_finds_the_instance_of_its_subclass() -> None:
    class BetterA(A):
        pass

    with running(service_of(BetterA)) as service:
        assert isinstance(service.requireTask(A), BetterA)


def test_task_runs_without_one_that_was_left_out() -> None:
    skipped = task("Skipped", initTask=skip)
    needs = task("Needs", DEPS=[skipped])
    with running(service_of(needs, A)) as service:
        assert [task.name for task in service.tasks] == ["Needs", "A"]
        with pytest.raises(KeyError, match="no task 'Skipped'"):
            service.requireTask("Skipped")
    needs.DEPS_OPTIONAL = False
    with running(service_of(needs, A)) as service:
        assert [task.name for task in service.tasks] == ["A"]


def test_service_runs_with_every_task_left_out() -> None:
    skipped = task("Skipped", initTask=skip)
    with running(service_of(skipped)) as service:
        assert len(service.tasks) == 0
        assert service.getTask(skipped) is None


def test_both_lists_and_registered_tasks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "registered", [])

    registered = task("Registered")
    assert registered.register() is registered
    registered.register()
    assert list(make_service(service_of(B, ALL_TASKS=[A])).tasks) == [A, B, registered]


def test_tasks_option_selects_tasks_and_what_they_need() -> None:
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
        ("[X]", "X.DEPS = [Y]", "error: Tasks depend on each other: X -> Y -> X."),
        ("['nowhere_at_all:T']", "", "error: Task 'nowhere_at_all:T' could not be imported: Modul"),
        (
            "['sparts.testing:T']",
            "import sys; sys.modules['sparts.testing'] = None",
            "It comes with sparts-dev: pip install sparts-dev",
        ),
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


def test_looking_for_a_task_copies_no_list() -> None:
    with running(service_of(A)) as service:
        made = service._instance.running
        before = made.tasks()
        assert service.getTask("A") is before["A"]
        assert made.tasks() is before
        service.getChildren().clear()
        assert list(made.tasks()) == ["A"]
        made.remove("A")
        assert list(before) == ["A"]
        assert not made.tasks()


def test_failure_of_the_stop_itself_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Follows(VTask):
        LOOPLESS = True
        stopping = False

        @classmethod
        def _follows(cls) -> tuple[type[VTask], ...]:
            if cls.stopping:
                raise ValueError("no more")
            return ()

    with pytest.raises(ValueError, match="no more"), running(service_of(Follows)):
        Follows.stopping = True
    assert "The stop failed" in caplog.messages
