"""What the words after a subcommand mean: tasks by name, or one service as ``module:Class``."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from sparts import entry_points, plugins
from sparts.errors import UsageError, describe
from sparts.kernel.runner import resolve_tasks
from sparts.vservice import VService

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_service(names: Sequence[str]) -> type[VService]:
    """Return the service that is named, or one that is made of the tasks that are.

    Args:
        names: ``module:Class`` of a service, or tasks in any form of name that ``TASKS`` takes.

    Raises:
        UsageError: a module cannot be imported, or a service stands beside something else.
    """
    for name in names:
        alias, _, target = name.rpartition("=")
        if target.endswith(".py") or ".py:" in target:
            raise UsageError(_of_file(target))
        stem, _, cls = target.partition(".")
        if ":" not in target:
            is_file = os.path.isfile(f"{stem}.py")  # perhaps a module was meant
            if is_file and not any(e.name == target for e in entry_points.find(entry_points.TASKS)):
                raise UsageError(_of_file(f"{stem}.py:{cls}"))
            continue
        found = import_object(target)  # also when it is a task: from the current folder, unstarted
        if isinstance(found, type) and issubclass(found, VService):
            if alias or len(names) > 1:
                raise UsageError(f"{target!r} is a service, not a task: name it alone.")
            return found
    doc = f"A service of {', '.join(names)}, put together by `sparts run`."
    return type("Sparts", (VService,), {"TASKS": tuple(names), "__doc__": doc})


def find_tasks(names: Sequence[str]) -> list[type[Any]]:
    """Return the classes of the tasks of the service that `find_service` finds, in start order."""
    return resolve_tasks(find_service(names), plugins.load_hooks())


def import_object(target: str) -> Any:
    """Import what ``module:name`` means, without starting the service that the module may start.

    Raises:
        UsageError: the module cannot be imported or has no such name.
    """
    module_name, _, attributes = target.strip().partition(":")
    original = vars(VService)["initFromCLI"]
    # so that scripts which end with ``MyService.initFromCLI()`` can be imported
    setattr(VService, "initFromCLI", classmethod(lambda cls, name=None: None))  # noqa: B010
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        cause = describe(error)
        missing = isinstance(error, ModuleNotFoundError) and error.name == module_name
        nowhere = " in the current folder, nor installed." if missing else "."
        hint = entry_points.module_hint(error) or nowhere
        raise UsageError(f"{target!r} could not be imported: {cause}{hint}") from error
    finally:
        setattr(VService, "initFromCLI", original)  # noqa: B010
    module = found
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise UsageError(f"{target!r}: no {attribute!r} there. {_classes_of(module)}") from None
    return found


def _of_file(target: str) -> str:
    """Say how to name the services of a file, which is read and not run."""
    import ast

    path, _, name = target.partition(":")
    if not os.path.isfile(path):
        return f"There is no file {path!r}. Name a service as MODULE:SERVICE, or tasks."
    relative = os.path.relpath(path)
    if relative.startswith(".."):
        return f"{path!r} is outside the current folder: run it as `python {path}`."
    module = relative.removesuffix(".py").replace(os.sep, ".")
    try:
        with open(path, "rb") as source:
            tree = ast.parse(source.read())
    except (SyntaxError, ValueError, OSError) as error:
        return f"{path!r} cannot be read: {describe(error)}"
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    bases = {node.name: [ast.unparse(base) for base in node.bases] for node in classes}

    def is_service(cls: str) -> bool:
        return any(each.endswith("Service") or is_service(each) for each in bases.get(cls, ()))

    found = [name] if name else [cls for cls in bases if is_service(cls)]
    what = " or ".join(f"`sparts run {module}:{cls}`" for cls in found or ["SERVICE"])
    return f"{path!r} is a file. Name a module and a class: {what}."


def _classes_of(module: Any) -> str:
    """A hint at the services of a module."""
    own = [value for value in vars(module).values() if isinstance(value, type)]
    names = [cls.__name__ for cls in own if issubclass(cls, VService) and cls is not VService]
    start = f"{module.__name__}:"
    return f"Its services: {', '.join(start + name for name in names) or 'none'}."
