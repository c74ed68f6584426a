"""How copies of a service share connections, and what they ask of each other."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sparts.builtin.processes.sharing import PAUSES, Share, Table

from tests.core.copies import Copies


class Pair:
    """Two copies that share a listening socket, in which a connection waits."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener, self.mine, self.theirs = listener, 0, 0
        self.table = Table(1)
        for place in (0, 1):
            self.table.clear(place)
        self.share: Share = self.table.share(0, 0, lambda: self.mine)
        self.other: Share = self.table.share(0, 1, lambda: self.theirs)

    def pause(self) -> float:
        """How long the first copy leaves the connection to the other."""
        return self.share.pause(self.listener)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two copies."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()):
            found = Pair(listener)
            yield found
        os.close(found.table.descriptor)


def test_copy_that_is_not_ahead_accepts_at_once(pair: Pair) -> None:
    for pair.mine in (0, 1, 2):
        assert pair.pause() == 0.0


def test_copy_that_is_ahead_pauses_longer_each_time(pair: Pair) -> None:
    pair.mine = 10
    assert tuple(pair.pause() for _ in PAUSES) == PAUSES
    assert pair.pause() == 0.0  # nobody else took it


def test_copy_that_takes_nothing_is_skipped(pair: Pair) -> None:
    pair.mine = 10
    while pair.pause():
        pass
    assert pair.pause() == 0.0
    pair.theirs = 1
    pair.other.note()  # it works again
    assert pair.pause() == PAUSES[0]


def test_copy_pauses_only_while_a_connection_waits(pair: Pair) -> None:
    pair.mine = 10
    assert pair.pause() > 0
    pair.listener.accept()[0].close()  # the other took it
    assert pair.pause() == 0.0


def test_pause_ends_with_the_lead_of_a_copy(pair: Pair) -> None:
    pair.mine = 10
    assert pair.pause() > 0
    assert not pair.share.recount()
    pair.mine = 1
    assert pair.share.recount()


def test_copy_that_has_left_is_not_waited_for(pair: Pair) -> None:
    pair.mine = 10
    pair.other.leave()
    assert pair.pause() == 0.0


ASKS = """
import json
from sparts.builtin.processes import copy_of

class Asks(VTask):
    def initTask(self):
        self.copy = copy_of(self.service)
        self.copy.answers("number", lambda add: self.copy.number + add)
        self.copy.answers("slow", self.slow)
        self.copy.answers("bad", lambda _: 1 / 0)
    def slow(self, _):
        if self.copy.number == 2:
            time.sleep(60)
        return "quick"
    def _runloop(self):
        while not os.path.exists("ask"):
            time.sleep(0.02)
        if self.copy.number == 1:
            for question, value, only in [
                ("number", 10, None), ("slow", None, None), ("bad", None, 1), ("what", None, 2),
            ]:
                found = self.copy.ask(question, value, 0.3, only).result()["answers"]
                os.write(1, f"{question}: {json.dumps(found)}\\n".encode())
            given_up = self.copy.ask("number", 1)
            given_up.cancel()
            os.write(1, f"given up: {json.dumps(given_up.result()['answers'])}\\n".encode())
            self.copy.order("stop").result()
        self.stop_event.wait()

class S(VService):
    TASKS = [Asks]
"""


def test_copies_ask_each_other_through_the_parent(tmp_path: Path) -> None:
    with Copies(tmp_path, ASKS) as service:
        service.wait_ready()
        (tmp_path / "ask").touch()

        def answer(question: str) -> object:
            return json.loads(service.wait_for_line(rf"^{question}: (.*)")[1])

        assert answer("number") == {"1": {"value": 11}, "2": {"value": 12}}
        late = {"error": "it did not answer in time"}
        assert answer("slow") == {"1": {"value": "quick"}, "2": late}
        assert answer("given up") == {"1": {"value": 2}, "2": {"value": 3}}
        assert answer("bad") == {"1": {"error": "ZeroDivisionError: division by zero"}}
        assert answer("what") == {"2": {"error": "it does not know that question yet"}}
        assert service.wait() == 0, service.output
