"""A short soak: that it runs, loses nothing and fails nothing. What grows takes longer to see."""

from __future__ import annotations

from importlib import metadata

import pytest
from sparts.testing import make_service

from soak import run
from soak.service import Soaked


@pytest.mark.needs("dbus")
def test_a_short_soak_loses_nothing_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soak.report.growth", lambda samples: {})
    found = run.soak(6.0)
    assert found.problems() == []


@pytest.mark.needs_module("gi")
def test_every_task_type_is_soaked() -> None:
    ours = {
        f"sparts-{name}"
        for name in ("core", "asgi", "tornado", "thrift", "twisted", "dbus", "grpc")
    }
    shipped = {
        point.load()
        for point in metadata.entry_points(group="sparts.tasks")
        if point.dist is not None and point.dist.name in ours and point.name != "GrpcClientTask"
    }
    service = make_service(Soaked)
    soaked = [task for task in service.tasks if isinstance(task, type)]
    missing = {task.__name__ for task in shipped if not any(issubclass(s, task) for s in soaked)}
    assert missing == set()
