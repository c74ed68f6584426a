"""Server tasks name what opens their sockets: the core knows no more of it than its protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sparts.errors import UsageError
from sparts.testing.running import running, service_of
from sparts.testing.waiting import restart
from sparts.vtask import SkipTask, VTask

from tests.core.scripts import ended


class Opener:
    """Notes what it is asked for."""

    made: ClassVar[list[Opener]] = []

    def __init__(self) -> None:
        self.calls: list[str] = []
        Opener.made.append(self)

    def open(self, servers: Iterable[Any]) -> None:
        """Open for these."""
        self.calls.append(f"open {' '.join(server.name for server in servers)}")

    def close(self, owner: str | None = None) -> None:
        """Close those of one, or all."""
        self.calls.append(f"close {owner}")

    def reloads(self) -> list[tuple[str, Callable[[], None]]]:
        """Give one thing to reload."""
        return [("its certificate", lambda: self.calls.append("reload"))]


class Server(VTask):
    """Names what opens its sockets."""

    LOOPLESS = True
    _opened_by = Opener
    _binds_itself = False


class Other(Server):
    """Another one."""


class Plain(VTask):
    """Is no server."""

    LOOPLESS = True


@pytest.fixture(autouse=True)
def none_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Opener, "made", [])


def test_one_opener_serves_all_servers_of_a_process() -> None:
    with running(service_of(Server, Plain, Other)) as service:
        (opener,) = Opener.made
        assert service.listeners is opener
        service.reload()
        assert opener.calls == ["open Server Other", "reload"]
        restart(service)
        assert Opener.made == [opener]
    assert opener.calls[2:] == ["open Server Other", "close None"]


def test_sockets_of_skipped_server_are_closed() -> None:
    class Skips(Server):
        def initTask(self) -> None:  # noqa: N802
            raise SkipTask("not today")

    with running(service_of(Skips, Other)):
        (opener,) = Opener.made
        assert opener.calls == ["open Skips Other", "close Skips"]


def test_service_without_servers_has_no_listeners() -> None:
    none = pytest.raises(UsageError, match="No task of this service listens on sockets")
    with running(service_of(Plain)) as service, none:
        _ = service.listeners
    assert Opener.made == []


def test_imported_server_that_is_no_task_opens_nothing(tmp_path: Path) -> None:
    body = """
import sparts.net.listeners
class S(VService):
    def initService(self):
        say("kept:", self.hooks.kept.get("listeners"))
        self.shutdown()
"""
    assert "kept: None" in ended(tmp_path, body, status=0).lines
