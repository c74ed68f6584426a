"""Clients of services of the tests, and calls without any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sparts.tasks.thrift import NBServerTask
from sparts.testing.running import running
from sparts.thrift.client import ThriftClient
from sparts.vservice import VService
from thrift.transport.TTransport import TMemoryBuffer


def client_of(service: VService, module: Any, /, server: Any = NBServerTask, **options: Any) -> Any:
    """Give a client of ours of a server of the service."""
    task: Any = service.requireTask(server)
    return ThriftClient.for_localhost(task.bound_addrs[0][1], module=module, **options)


@contextmanager
def serving(
    service: type[VService], module: Any, /, *argv: str, **options: Any
) -> Iterator[tuple[VService, Any]]:
    """Run a service; give it, and a client of its server."""
    with (
        running(service, "--thrift-host", "127.0.0.1", *argv) as started,
        client_of(started, module, **options) as client,
    ):
        yield started, client


def processed(processor: Any, protocol: Any, made: Any, method: str, *arguments: Any) -> Any:
    """Have a processor answer a call in a protocol; return or raise what Apache's client reads."""
    asked, answered = TMemoryBuffer(), TMemoryBuffer()
    getattr(made.Client(protocol(asked)), f"send_{method}")(*arguments)
    processor.process(protocol(TMemoryBuffer(asked.getvalue())), protocol(answered))
    return getattr(made.Client(protocol(TMemoryBuffer(answered.getvalue()))), f"recv_{method}")()
