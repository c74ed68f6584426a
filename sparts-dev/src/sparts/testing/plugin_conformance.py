"""`check_plugin`: whether an installed distribution keeps what sparts expects of every plugin.

    def test_what_it_tells_of_itself_holds() -> None:
        check_plugin("acme-jobs")

It imports everything that the distribution's entry points name, and says everything that it finds
at once.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from sparts import entry_points
from sparts.cli import load_command
from sparts.cli.inspection import inspect_task
from sparts.entry_points import EntryPoint, normalized
from sparts.entry_points.scanning import search_path
from sparts.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib import metadata

LIGHT = {"pluggy", "sparts"}
"""What a hook module may import beside its own package and the standard library."""


def check_plugin(distribution: str) -> None:
    """Check that a distribution is a good plugin.

    Its metadata says what it is and requires; each of its tasks is a task type of just that name,
    with a docstring, that no other distribution has; its hook modules implement hooks that there
    are, with their parameters, and import no framework; its subcommands can be called; and it puts
    nothing into packages that belong to sparts. A task whose extra is not installed is passed over.

    Args:
        distribution: its name, as pip knows it. It must be installed, editable or not.

    Raises:
        AssertionError: it is none; the message lists everything that was found.
    """
    problems = find_plugin_problems(distribution)
    if problems:
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise AssertionError(f"{distribution} does not do what every plugin must:{listed}")


def find_plugin_problems(distribution: str) -> list[str]:
    """Return what is wrong with a plugin, one sentence each; see `check_plugin`."""
    found = entry_points.distribution(distribution)
    if found is None:
        return [f"It is not installed here: python -m pip install -e . (or pip install "
                f"{distribution})."]  # fmt: skip
    name = normalized(distribution)
    entries = [entry for entry in entry_points.installed() if entry.distribution == name]
    own = {entry.value.partition(":")[0].partition(".")[0].strip() for entry in entries}
    own |= {str(file).partition("/")[0].removesuffix(".py") for file in found.files or ()}
    problems = [*_find_in_metadata(found, entries), *_find_in_files(found)]
    for entry in entries:
        match entry.group:
            case entry_points.TASKS:
                problems += _find_in_task(entry)
            case entry_points.PLUGINS:
                problems += _find_in_hooks(entry, own)
            case _:
                problems += _find_in_command(entry)
    return problems


def _find_in_metadata(found: metadata.Distribution, entries: list[EntryPoint]) -> Iterator[str]:
    fields = found.metadata
    for field, key in {"Summary": "description", "Requires-Python": "requires-python"}.items():
        if field not in fields or not fields[field].strip():
            yield f"Its metadata has no {field}: set {key} in pyproject.toml."
    required = {
        normalized(re.split(r"[^\w.-]", line)[0])
        for line in found.requires or ()
        if "extra ==" not in line
    }
    if "sparts-core" not in required and normalized(fields["Name"]) != "sparts-core":
        yield "It does not require sparts-core: add it to the dependencies."
    if not entries:
        yield (
            "It has no entry point of sparts.tasks, sparts.plugins or sparts.commands: no service "
            "would ever find anything of it. (Install it again after a change of pyproject.toml.)"
        )


def _find_in_files(found: metadata.Distribution) -> Iterator[str]:
    ours = normalized(found.metadata["Name"]).startswith("sparts-")
    for file in found.files or ():
        path = str(file)
        if path in ("sparts/__init__.py", "sparts/tasks/__init__.py"):
            yield f"It installs {path}, which hides everything that others have in that package."
        elif path.startswith("sparts/") and not ours:
            yield f"It installs {path} into the package of sparts: use a package of your own."


def _find_in_task(entry: EntryPoint) -> Iterator[str]:
    for other in entry_points.installed():
        if other[:2] == entry[:2] and other.distribution != entry.distribution:
            yield f"Its task {entry.name} has the name of another, of {other.owner}."
    found = inspect_task(entry)
    if found.problem:
        yield found.problem
    elif found.task is not None and not (found.task.__doc__ or "").strip():
        yield f"Its task {entry.name} has no docstring, whose first line `sparts tasks` shows."


def _find_in_hooks(entry: EntryPoint, own: set[str]) -> Iterator[str]:
    from sparts.dispatch.through_pluggy import PluginHooks

    try:
        PluginHooks().load([entry])
    except PluginError as error:
        yield str(error)
        return
    try:
        imported = _imported_by(entry.value.partition(":")[0].strip())
    except subprocess.CalledProcessError as error:
        problem = error.stderr.decode(errors="replace").rstrip().rpartition("\n")[2]
        yield f"Its hook module {entry.value} cannot be imported by a fresh process: {problem}"
        return
    if heavy := sorted(imported - LIGHT - sys.stdlib_module_names - own):
        yield (
            f"Its hook module {entry.value} imports {', '.join(heavy)}, in every service, also one "
            f"that uses nothing of it. Import that inside of the functions that need it."
        )


def _imported_by(module: str) -> set[str]:
    """Return the packages that the import of a module brings into a fresh process of a service."""
    code = (
        "import json, sys\n"
        f"sys.path[:] = {search_path()!r}\n"
        "import sparts.vservice, sparts.hookspecs\n"
        "before = set(sys.modules)\n"
        f"import {module}\n"
        "print(json.dumps([name.partition('.')[0] for name in sys.modules.keys() - before]))"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def _find_in_command(entry: EntryPoint) -> Iterator[str]:
    try:
        load_command(entry)
    except PluginError as error:
        yield str(error)
