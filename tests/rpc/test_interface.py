"""The description of methods, which every transport serves."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import msgspec
import pytest
from sparts.errors import UsageError
from sparts.rpc import RPCError, RPCTask, interface_of, rpc
from sparts.rpc.types import Kind, type_of
from sparts.rpc.values import explain
from sparts.testing.running import running, service_of


@dataclass
class Point:
    x: float
    y: float


class TooFar(RPCError):  # noqa: N818
    """The points are too far from each other."""


class Geo(RPCTask):
    """Distances."""

    @rpc(idempotent=True, deadline=2.0)
    def distance(self, a: Point, b: Point | None = None) -> float:
        """Return the distance."""
        return 0.0

    @rpc(raises=[])
    async def walk(self, steps: Iterator[int]) -> AsyncIterator[Point]:
        """Give the points."""
        yield Point(0.0, 0.0)


def test_interface_has_all_that_transports_need() -> None:
    interface = interface_of(Geo)
    assert (interface.name, interface.doc) == ("Geo", "Distances.")
    assert list(interface.methods) == ["distance", "walk"]
    distance, walk = interface.methods.values()
    assert distance.qualified == "Geo.distance"
    assert distance.doc == "Return the distance."
    assert distance.errors == {"TooFar": TooFar}
    assert (distance.idempotent, distance.deadline, distance.is_async) == (True, 2.0, False)
    a, b = distance.parameters
    assert (a.name, a.type.kind, a.required) == ("a", Kind.STRUCT, True)
    assert (b.type.kind, b.type.args, b.default) == (Kind.OPTIONAL, (a.type,), None)
    assert [field.name for field in a.type.fields] == ["x", "y"]
    assert distance.result.kind is Kind.FLOAT
    assert (walk.streams, walk.is_async, walk.errors) == (True, True, {})
    assert walk.result is a.type
    assert walk.stream_parameter is walk.parameters[0]


def test_doc_of_a_base_is_not_inherited() -> None:
    assert interface_of(type("Quiet", (Geo,), {})).doc == ""


class Place(TypedDict):
    name: str
    note: NotRequired[str]


def test_fields_of_typed_dict_may_be_absent() -> None:
    assert [field.required for field in type_of(Place).fields] == [True, False]


def untyped(self, a) -> None: ...  # type: ignore[no-untyped-def]
def resultless(self, a: int): ...  # type: ignore[no-untyped-def]
def uncarried(self: Any, a: list[complex]) -> None: ...
def many(self: Any, *a: int) -> None: ...
def of_no_instance(number: Any) -> int:
    return 1


mark: Any = rpc
NO_METHOD = "Odd.member is a class or static method"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (rpc(untyped), "Odd.untyped has no annotation for its parameter a"),
        (rpc(resultless), "Odd.resultless has no result type"),
        (rpc(uncarried), "Odd.uncarried cannot be called from outside: parameter a: complex"),
        (rpc(many), "Odd.many takes any number of arguments"),
        (mark(classmethod(of_no_instance)), NO_METHOD),
        (mark(staticmethod(of_no_instance)), NO_METHOD),
        (classmethod(mark(of_no_instance)), NO_METHOD),
        (staticmethod(mark(of_no_instance)), NO_METHOD),
        (mark(property(of_no_instance)), f"{NO_METHOD}, or a property"),
        (mark(functools.cached_property(of_no_instance)), f"{NO_METHOD}, or a property"),
        (property(mark(of_no_instance)), f"{NO_METHOD}, or a property"),
        (functools.cached_property(mark(of_no_instance)), f"{NO_METHOD}, or a property"),
        (mark(type("Inner", (), {})), "Odd.member is"),
    ],
)
def test_what_no_caller_could_use_is_refused(member: Any, message: str) -> None:
    name = getattr(member, "__name__", "member")
    name = name if name in message else "member"
    with pytest.raises(UsageError, match=message):
        interface_of(type("Odd", (RPCTask,), {name: member}))


def named(name: str) -> Any:
    """Return a method of a name that can be called."""

    def method(self: RPCTask) -> int:
        return 1

    method.__name__ = name
    return rpc(method)


def test_every_name_of_tasks_is_refused_clearly() -> None:
    with running(service_of(type("One", (RPCTask,), {"answer": named("answer")}))) as service:
        task = service.requireTask("One")
        annotated = (vars(base).get("__annotations__", {}) for base in RPCTask.__mro__)
        names = {*dir(RPCTask), *vars(task)}.union(*annotated)
    names -= {"__class_getitem__", "__init_subclass__", "__new__"}  # Python wraps these
    assert len(names) > 80
    odd = {}
    for name in names:
        try:
            taken = type("Taken", (RPCTask,), {name: named(name), "answer": named("answer")})
            with running(service_of(taken)):
                odd[name] = "started"
        except UsageError as error:
            if f"tasks use the name {name}. Rename the method" not in str(error):
                odd[name] = str(error)
        except Exception as error:
            odd[name] = repr(error)
    assert odd == {}


def test_names_like_those_of_tasks_are_free() -> None:
    public = [name for name in dir(RPCTask) if name[0] != "_"]
    near = {"".join(f"_{each.lower()}" if each.isupper() else each for each in name)
            for name in public}  # fmt: skip
    near |= {name.title() for name in public} | {f"{name[:-1]}x" for name in public}
    near = {name.strip("_") for name in near} - {*dir(RPCTask)} | {"mro"}
    assert {"get_counters", "init_task", "Start"} <= near
    task = type("Near", (RPCTask,), {name: named(name) for name in near})
    with running(service_of(task)):
        assert interface_of(task).methods.keys() == near


def test_description_needs_neither_tasks_nor_msgspec() -> None:
    code = """
import sys
from sparts.rpc import RPCError, interface_of, rpc
class Geo:
    @rpc
    def distance(self, a: int) -> float: ...
assert interface_of(Geo).methods["distance"].names == ("a",)
assert not {"sparts.vtask", "sparts.loops", "msgspec"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {"x": 1}}, "a: expected int, got str as a key"),
        ({"a": {1: "x"}}, "a[...]: expected int, got str"),
        ([], "expected object, got array"),
    ],
)
def test_wrong_values_are_explained_by_their_paths(value: Any, said: str) -> None:
    shape = msgspec.defstruct("Shape", [("a", dict[int, int])])
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, shape)
    assert explain(raised.value) == said
