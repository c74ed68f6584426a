"""check_plugin: our own distributions keep its contract, and what breaks it is named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.testing import check_plugin, make_distribution
from sparts.testing.plugin_conformance import find_plugin_problems

TASKS = """
from sparts.vtask import VTask
class AcmeTask(VTask):
    '''Does nothing.'''
    LOOPLESS = True
class Undocumented(VTask):
    LOOPLESS = True
no_task = 3
class NoTask: pass
class PeriodicTask(AcmeTask):
    '''Has the name of another.'''
"""
HOOKS = """
from sparts.hookspecs import hookimpl
@hookimpl
def sparts_service_create(service): pass
"""

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Install a distribution named acme-jobs with some entry points and modules."""

    def install(*, modules: dict[str, str] | None = None, **arguments: Any) -> str:
        texts = {"acme_tasks": TASKS, "acme_hooks": HOOKS, **(modules or {})}
        arguments = {"requires": ["sparts-core>=1.0"], **arguments}
        make_distribution(tmp_path, "acme-jobs", modules=texts, **arguments)
        return "acme-jobs"

    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield install
    for name in set(sys.modules) - before:
        if name.startswith(("acme", "framework")):
            del sys.modules[name]


def tasks(*values: str) -> dict[str, dict[str, str]]:
    return {"sparts.tasks": dict(value.split("=") for value in values)}


GOOD = {
    **tasks("AcmeTask=acme_tasks:AcmeTask"),
    "sparts.plugins": {"acme": "acme_hooks"},
    "sparts.commands": {"acme": "acme_tasks:NoTask"},
}


@pytest.mark.parametrize("name", ["sparts-core", "sparts-tornado"])
def test_our_own_distributions_do_what_every_plugin_must(name: str) -> None:
    check_plugin(name)


def test_a_plugin_that_does_all_passes(make: Make) -> None:
    check_plugin(make(entry_points=GOOD))


def told(distribution: str) -> str:
    with pytest.raises(AssertionError) as caught:
        check_plugin(distribution)
    message = str(caught.value)
    assert message.startswith(f"{distribution} does not do what every plugin must:\n- ")
    return message


def test_a_distribution_that_is_not_installed_is_told() -> None:
    assert "It is not installed here: python -m pip install -e ." in told("no-such-plugin")


@pytest.mark.parametrize(
    ("entry_points", "problem"),
    [
        ({}, "It has no entry point"),
        (tasks("Other=acme_tasks:AcmeTask"), "is a class named 'AcmeTask'"),
        (tasks("AcmeTask=acme_absent:AcmeTask"), "could not be imported: ModuleNotFoundError"),
        (tasks("AcmeTask=acme_tasks:Absent"), "could not be imported: AttributeError"),
        (tasks("no_task=acme_tasks:no_task"), "is not a class but 3"),
        (tasks("NoTask=acme_tasks:NoTask"), "a task is a subclass of sparts.vtask.VTask"),
        (tasks("Undocumented=acme_tasks:Undocumented"), "Undocumented has no docstring"),
        (tasks("PeriodicTask=acme_tasks:PeriodicTask"), "has the name of another, of sparts-core"),
        ({"sparts.plugins": {"acme": "acme_absent"}}, "Hook plugin 'acme' of acme-jobs 1.0"),
        ({"sparts.plugins": {"acme": "acme_tasks"}}, "implements no hook"),
        ({"sparts.plugins": {"acme": "acme_misspelt"}}, "sparts_servise_create"),
        ({"sparts.plugins": {"acme": "acme_parameters"}}, "of_mine"),
        ({"sparts.plugins": {"acme": "acme_heavy"}}, "acme_heavy imports framework, in every"),
        ({"sparts.commands": {"acme": "acme_absent:main"}}, "Command 'acme' of acme-jobs 1.0"),
        ({"sparts.commands": {"acme": "acme_tasks:no_task"}}, "is not a function but 3"),
    ],
)
def test_what_a_plugin_does_wrong_is_told(
    entry_points: dict[str, dict[str, str]], problem: str, make: Make, tmp_path: Path
) -> None:
    modules = {
        "acme_misspelt": HOOKS.replace("service", "servise"),
        "acme_parameters": HOOKS.replace("(service)", "(of_mine)"),
        "acme_heavy": f"{HOOKS}\nimport framework, json, pluggy, acme_tasks",
    }
    (tmp_path / "framework.py").touch()  # of another distribution
    message = told(make(entry_points=entry_points, modules=modules))
    assert problem in message
    assert message.count("\n- ") == 1


def test_missing_metadata_is_told(make: Make) -> None:
    message = told(make(entry_points=GOOD, requires=(), summary=""))
    assert "has no Summary: set description in pyproject.toml" in message
    assert "It does not require sparts-core" in message


def test_requirement_of_extra_is_none_of_plugin(make: Make) -> None:
    make(entry_points=GOOD, requires=["sparts-core>=1; extra == 'dev'"])
    assert "It does not require sparts-core" in told("acme-jobs")


def test_files_in_packages_of_sparts_are_told(make: Make) -> None:
    modules = {"sparts.__init__": "", "sparts.tasks.acme": ""}
    problems = find_plugin_problems(make(entry_points=GOOD, modules=modules))
    assert any("sparts/__init__.py, which hides everything" in problem for problem in problems)
    assert any("sparts/tasks/acme.py into the package of sparts" in each for each in problems)


def test_task_without_its_extra_is_passed_over(make: Make) -> None:
    name = make(
        entry_points=tasks("AcmeTask=acme_glib:AcmeTask [glib]"),
        modules={"acme_glib": f"import no_such_glib\n{TASKS}"},
        requires=["sparts-core", "no-such-glib; extra == 'glib'"],
    )
    check_plugin(name)
