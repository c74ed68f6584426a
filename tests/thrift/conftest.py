"""Peers of others' and the interface that they serve, started once for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks.thrift import NBServerTask
from sparts.testing.leftovers import Leftovers
from sparts.testing.running import ServiceFactory, service_of

from tests.thrift.interop.peers import IDL, generate, peer

PeerFactory = Callable[..., Any]


@pytest.fixture
def serve(service_factory: ServiceFactory) -> Callable[..., Any]:
    """Give a function that serves a handler on a free port: ``serve(HANDLER, "--flag", ...)``."""

    def run(handler: Any, *argv: str) -> Any:
        here = ("--thrift-host", "127.0.0.1")
        return service_factory(service_of(NBServerTask, handler), *here, *argv)

    return run


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder with what Debian's compiler made of the interface."""
    return generate(tmp_path_factory.mktemp("generated"))


@pytest.fixture(scope="session")
def interop_by() -> Callable[[str], Any]:
    """Give a function that gives the interface's module, made by a compiler."""
    from sparts.thrift.compiler import CompileContext

    made: dict[str, Any] = {}

    def make(compiler: str) -> Any:
        if compiler not in made:
            made[compiler] = CompileContext(compiler=compiler).importThrift(IDL)
        return made[compiler]

    return make


@pytest.fixture(scope="session")
def types(interop_by: Callable[[str], Any]) -> Any:
    """Give the interface's module, made by Apache's compiler."""
    return interop_by("thrift")


@pytest.fixture
def no_descriptor_left(types: Any) -> Iterator[None]:
    """Hold after the test that it has left no descriptor open."""
    before = Leftovers()
    yield
    before.check("The test")


@pytest.fixture(scope="session")
def peers(generated: Path) -> Iterator[PeerFactory]:
    """Give a function that gives the port of a peer: ``peers("apache", KIND, PROTOCOL, ...)``."""
    started: dict[tuple[str, ...], int] = {}
    with ExitStack() as stack:

        def port(make: str, *arguments: str) -> int:
            key = (make, *arguments)
            if key not in started:
                folder = [str(generated)] if make == "apache" else []
                line = stack.enter_context(peer(f"{make}_server", *folder, *arguments))
                started[key] = int(line)
            return started[key]

        yield port
