"""Hooks report the life of an HTTP service, and not its requests."""

from __future__ import annotations

import urllib.request

import pytest
from sparts import plugins
from sparts import plugins as defaults
from sparts.dispatch.through_pluggy import PluginHooks
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import running, service_of


def calls_of_hooks(requests: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all hooks called while a service answers some requests."""
    called: list[str] = []
    own = {name: plugins.built_in(name) for name in plugins.BUILT_IN}
    hooks = PluginHooks({"sparts": defaults, **own})
    hooks.manager.add_hookcall_monitoring(lambda name, *_: called.append(name), lambda *_: None)
    monkeypatch.setattr(plugins, "load_hooks", lambda tolerant=False: hooks)
    with running(
        service_of(TornadoHTTPTask), "--http-host", "127.0.0.1", "--http-port", "0"
    ) as service:
        port = service.requireTask(TornadoHTTPTask).bound_addrs[0][1]
        for _ in range(requests):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
                assert response.status == 200
    return called


def test_no_hook_is_called_per_request(monkeypatch: pytest.MonkeyPatch) -> None:
    few = calls_of_hooks(1, monkeypatch)
    assert "sparts_task_start" in few
    assert calls_of_hooks(20, monkeypatch) == few
