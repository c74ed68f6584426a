"""Methods of services that are named like something of a task: they work, or the start says what
to do."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import StartError, UsageError
from sparts.tasks.fb303 import FB303HandlerTask
from sparts.tasks.thrift import ThriftHandlerTask
from sparts.testing.running import running, service_of
from sparts.thrift.compiler import CompileContext
from sparts.thrift.compiler.sources import Sources
from sparts.thrift.fb303 import FacebookService
from sparts.thrift.scaffold.skeleton import Skeleton
from sparts.thrift.services import find_services

from tests.needs import require
from tests.thrift.echo import OtherHandler

FB303 = Path(FacebookService.__file__).with_name("fb303.thrift")
LOOKED_FOR = (
    "SPARTS_ALLOW_NAMES", "TITLE", "bound_addrs", "close_for_copies", "connections", "execute",
    "interval", "open_for_copies", "option_prefix", "status_panels", "TRANSPORT",
)  # fmt: skip
"""What sparts looks for in classes or tasks that may have it."""
PYTHON = ("__len__", "__eq__", "__call__", "__bool__", "__getattr__", "__iter__", "__private")
NO_IDL = {"register", "service", "inline", "module"}
"""What thrift's compilers refuse as a name, besides Python's keywords."""


def names_of(handler: type[ThriftHandlerTask], base: type[ThriftHandlerTask]) -> list[str]:
    """Return each name that means something in a handler, and names that look like one of them."""
    with running(service_of(handler)) as service:
        task = service.requireTask(handler)
        names = {*dir(base), *dir(task), *vars(task), *LOOKED_FOR, *PYTHON}
    names -= {*vars(handler), *FB303HandlerTask.MAY_BE_ASYNC} - set(dir(object))
    names |= {name for cls in base.__mro__ for name in getattr(cls, "__annotations__", {})}
    public = {name for name in names if not name.startswith("_")}
    near = {name.replace("_", "").lower() for name in public} | {f"{name[:-1]}x" for name in public}
    return sorted({*names, *near, "None", "await"} - NO_IDL - set(keyword.kwlist[3:]))


def services_of(names: list[str], folder: Path, compiler: str, fb303: bool) -> dict[str, Any]:
    """Return services with one method each, by the name of that method."""
    lines = [f'include "{FB303}"'] if fb303 else []
    extends = "extends fb303.FacebookService " if fb303 else ""
    for number, name in enumerate(names):
        lines.append(f"service S{number} {extends}{{ string {name}(1: string other) }}")
    source = folder / f"names_{compiler}_{fb303}.thrift"
    source.write_text("\n".join(lines))
    made = CompileContext(compiler=compiler).importThrift(source)
    by_name = {each.name: each.target for each in find_services(made)}
    return {name: by_name[f"S{number}"] for number, name in enumerate(names)}


def outcome(base: type[ThriftHandlerTask], made: Any, name: str) -> str:
    """Start a handler that has the method; return what it answers, or the error of the start."""
    written = {name: lambda self, other: f"{other}!"}
    try:
        if name in ("MODULE", "SERVICE_NAME"):  # or the class would have lost it
            base = type("Base", (base,), {"MODULE": made})
        handler = type("Handler", (base,), {"MODULE": made, **written})
        with running(service_of(handler)) as service:
            return str(service.requireTask(handler).methods_served[name].function("it"))
    except (StartError, UsageError) as error:  # the second: when the class is made
        return str(error)


def odd_outcomes(
    base: type[ThriftHandlerTask], services: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Give what neither works nor fails with what to do about the name."""
    for name, made in services.items():
        came = outcome(base, made, name)
        remedy = f'return self.on_{name} for "{name}"'
        if came != "it!" and not (f"its method {name}(" in came and remedy in came):
            yield name, came


@pytest.mark.parametrize("compiler", ["thrift", "thriftpy2"])
@pytest.mark.parametrize("base", [ThriftHandlerTask, FB303HandlerTask])
def test_every_name_works_or_says_its_remedy(
    base: type[ThriftHandlerTask], compiler: str, tmp_path: Path
) -> None:
    fb303 = base is FB303HandlerTask
    names = names_of(OtherHandler, ThriftHandlerTask)
    if fb303:
        names = sorted({*names_of(base, base)} - {*names} | {"DEPS", "DEPs", "initTask"})
    if compiler == "thrift":  # whose code has the names as its own methods
        require(["thrift-compiler"])
        names = [name for name in names if name[:2] != "__" and name not in ("None", "await")]
    services = services_of(names, tmp_path, compiler, fb303)
    assert len(services) > 10
    assert list(odd_outcomes(base, services)) == []


@pytest.mark.parametrize("base", [ThriftHandlerTask, FB303HandlerTask])
def test_methods_of_a_mixin_are_treated_the_same(
    base: type[ThriftHandlerTask], tmp_path: Path
) -> None:
    fb303 = base is FB303HandlerTask
    names = ["DEPS", "find_service", "initTask", "_dependencies", "OPT_PREFIX"]
    for name, made in services_of(names, tmp_path, "thriftpy2", fb303).items():
        mixin = type("Mixin", (), {name: lambda self, other: other})
        early = type("Early", (base,), {name: lambda self, other: other})
        for handler in (
            type("Handler", (mixin, base), {"MODULE": made}),
            type("Handler", (early,), {"MODULE": made}),
        ):
            remedy = pytest.raises(StartError, match=f"return self.on_{name} ")
            with remedy, running(service_of(handler)):
                pass


@pytest.mark.parametrize("base", [ThriftHandlerTask, FB303HandlerTask])
def test_skeleton_of_every_name_starts(base: type[ThriftHandlerTask], tmp_path: Path) -> None:
    fb303 = base is FB303HandlerTask
    names = names_of(FB303HandlerTask if fb303 else OtherHandler, base)
    extends = "extends fb303.FacebookService " if fb303 else ""
    methods = "".join(f"string {name}(1: string other)\n" for name in names)
    source = tmp_path / "all.thrift"
    source.write_text(f"include '{FB303}'\nservice All {extends}{{ {methods} }}")
    interface = CompileContext(compiler="thriftpy2").importThrift(source)
    skeleton = Skeleton(interface, Sources([]).read(source))

    made: dict[str, Any] = {"interface": interface, "Any": Any}
    exec(skeleton.words("acme")["bases"], made)
    exec(skeleton.words("acme")["handlers"], made)

    handler = made["AllTask"]
    with running(service_of(handler)) as service:
        assert service.requireTask(handler).methods_served.keys() >= set(names)
