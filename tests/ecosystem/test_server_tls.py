"""What a server task sets in its TLS holds for every server of ours, and after a reload."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from sparts import entry_points
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import WAIT, restart

from tests.certificates import trusting


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("TornadoHTTPTask", ()),
        ("TwistedWebTask", ()),
        ("NBServerTask", ("FB303HandlerTask",)),
        ("AsgiTask", ()),
        ("WsgiTask", ()),
    ],
)
def test_protocols_of_tls_survive_reload_and_restart(
    name: str, more: tuple[str, ...], pem: str, service_factory: ServiceFactory
) -> None:
    base: Any = entry_points.load_task(name)
    body = {"OPT_PREFIX": "server", "ALPN": ("second", "first"), "app": lambda self: print}
    task = type("Server", (base,), body)
    argv = ("--server-host", "127.0.0.1", "--server-tls-cert", pem)
    service = service_factory(service_of(task, *more), *argv)
    context = trusting()
    context.set_alpn_protocols(["first", "second"])
    for step in ("start", "reload", "reload", "restart"):
        if step == "reload":
            service._instance.reloading.reload()
        elif step == "restart":
            service = restart(service)
        with (
            socket.create_connection(service.requireTask(task).bound_addrs[0], WAIT) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            assert connection.selected_alpn_protocol() == "second", step
