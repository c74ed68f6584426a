"""Methods of a servicer that is a task, named like something of a task."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from grpc_tools import protoc
from sparts.errors import UsageError
from sparts.tasks.grpc import GrpcTask
from sparts.testing.running import running, service_of

from tests.grpc.greeters import GreeterTask

ARGS = ("--grpc-host", "127.0.0.1", "--grpc-port", "0")


def generated(stem: str, services: dict[str, list[str]], folder: Path) -> Any:
    """Return the module of servicers that have these methods."""
    lines = ['syntax = "proto3";', f"package {stem};", "message Text {}"]
    for service, names in services.items():
        methods = " ".join(f"rpc {name}(Text) returns (Text);" for name in names)
        lines.append(f"service {service} {{ {methods} }}")
    (folder / f"{stem}.proto").write_text("\n".join(lines))
    arguments = [f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["protoc", *arguments, str(folder / f"{stem}.proto")]) == 0
    return importlib.import_module(f"{stem}_pb2_grpc")


def names_of_tasks() -> list[str]:
    """Return all names that mean something in a task, but for Python's own."""
    with running(service_of(GreeterTask), *ARGS) as service:
        task = service.requireTask(GreeterTask)
        annotated = (vars(base).get("__annotations__", {}) for base in GrpcTask.__mro__)
        names = {*dir(GrpcTask), *vars(task)}.union(*annotated)
    return sorted(name for name in names if name[:2] != "__")


def method(self: Any, request: Any, context: Any) -> Any:
    return request


def test_every_name_of_tasks_fails_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    names = names_of_tasks()
    assert len(names) > 120
    services = {f"S{number}": [name] for number, name in enumerate(names)}
    made = generated("odd_names", services, tmp_path)
    odd = {}
    for number, name in enumerate(names):
        base = getattr(made, f"S{number}Servicer")
        for bases in ((base, GrpcTask), (GrpcTask, base)):
            try:
                cls = type("Odd", bases, {name: method})
                with running(service_of(cls), *ARGS):
                    odd[name] = "started"
            except UsageError as error:
                if f"methods {name} of S{number}Servicer" not in str(error):
                    odd[name] = str(error)
            except Exception as error:
                odd[name] = repr(error)
    assert odd == {}
    sys.modules.pop("odd_names_pb2_grpc")


def test_names_like_those_of_tasks_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    public = [name for name in names_of_tasks() if name[0] != "_"]
    near = {"".join(part.title() for part in name.split("_")) for name in public}
    near |= {f"{name[0].upper()}{name[1:]}" for name in public} - set(public)
    assert {"Check", "Start", "Stop"} <= near
    made = generated("near_names", {"Near": sorted(near)}, tmp_path)
    cls = type("Near", (made.NearServicer, GrpcTask), dict.fromkeys(near, method))
    with running(service_of(cls), *ARGS) as service:
        task: Any = service.requireTask(cls)
        served = task.registry.names()
    assert {f"/near_names.Near/{name}" for name in near} <= set(served)
