"""How copies of a service share connections, and what they ask of each other."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sparts.builtin.processes.channel import CopyEnd, ParentEnd
from sparts.net import sharing
from sparts.net.sharing import PAUSES, Share

from tests.core.copies import ready


class Pair:
    """A copy, and another that shares a listening socket, in which a connection waits."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener, self.mine, self.now = listener, 0, 100.0
        self.told: list[int | None] = []
        self.later: list[Callable[[object], object]] = []
        self.reachable = True
        self.share: Share = Share(lambda: self.mine, self.tell, lambda _, do: self.later.append(do))
        self.share.others = {"2": 0}

    def tell(self, number: int | None) -> bool:
        """Note what is sent to the parent."""
        if self.reachable:
            self.told.append(number)
        return self.reachable

    def pause(self) -> float:
        """How long the first copy leaves the connection to the other."""
        return round(self.share.pause(self.listener), 6)

    def pauses(self) -> tuple[float, ...]:
        """All pauses until the copy takes the connection."""
        found = []
        while pause := self.pause():
            found.append(pause)
            self.now += pause + 0.0001
        return tuple(found)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two copies."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        found = Pair(listener)
        monkeypatch.setattr(sharing, "monotonic", lambda: found.now)
        yield found


def test_copy_that_is_not_ahead_accepts_at_once(pair: Pair) -> None:
    for pair.mine in (0, 1, 2):
        assert pair.pause() == 0.0


def test_copy_that_is_ahead_pauses_longer_each_time(pair: Pair) -> None:
    pair.mine = 10
    assert pair.pauses() == PAUSES  # then it takes it: nobody else did


def test_further_connection_does_not_end_a_pause(pair: Pair) -> None:
    pair.mine = 10
    for _ in range(20):
        assert pair.pause() == PAUSES[0]
    pair.now += 0.0004
    assert pair.pause() == pytest.approx(PAUSES[0] - 0.0004)


def test_copy_that_takes_nothing_is_skipped(pair: Pair) -> None:
    pair.mine = 10
    pair.pauses()
    assert pair.pause() == 0.0
    pair.share.others = {"2": 1}  # it works again
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


def test_more_connections_are_told_at_once_fewer_later(pair: Pair) -> None:
    for pair.mine in (1, 2, 80, 81, 91, 95):
        pair.pause()
    assert pair.told == [0, 2, 80, 95]  # not what has hardly changed
    for pair.mine in range(95, 5, -1):
        pair.share.recount()
    assert pair.told[-1] == 95
    (tell,) = pair.later
    tell(None)
    assert pair.told[-1] == 6
    pair.share.leave()
    tell(None)
    assert pair.told[-1] is None


def test_number_that_could_not_be_sent_follows(pair: Pair) -> None:
    pair.reachable, pair.mine = False, 5
    pair.pause()
    pair.reachable = True
    pair.pause()
    assert pair.told == [0, 5]


def test_parent_that_hangs_holds_up_no_copy() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        copy = CopyEnd(theirs)
        sent = 0
        while copy.offer({"connections": sent}):
            sent += 1
        parent = ParentEnd(ours)
        assert parent.receive() == [{"connections": each} for each in range(sent)]
        assert copy.offer({})


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
"""


def test_copies_ask_each_other_through_the_parent(tmp_path: Path) -> None:
    with ready(tmp_path, ASKS) as service:
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
