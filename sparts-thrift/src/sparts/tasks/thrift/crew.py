"""The threads of a thrift server: how many of them are awake.

One thread, the *leader*, waits for events, reads, makes the calls and sends the answers. While it
does, it hands nothing to others, and no other thread wants the interpreter's lock: measured, that
makes 1.7 times as many calls a second as two threads that both wait for events, and half the
processor time a call (8.9 instead of 16.6 us). Apache's TThreadedServer takes 8.6 to 9.8 us: it
would be ahead. On a machine that others keep busy the threads take 9.6 to 11.8 us without rest.

Threads that contend for the lock are slow where two cores are free, as each waits for the other to
run, and fast where one core does it all: servers with a thread a connection made 26,000 calls a
second on two free cores, and 60,000 on one that others kept busy.

A call that takes long must not hold up the clients of others. So the leader wakes another thread
before a call of a method whose last call took long; and a clock that runs only while calls are made
wakes one where a call turns out to take long. The other threads rest.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 0.01
"""Seconds that a call may take until another thread is woken to serve the other clients.

The clock's thread takes the interpreter's lock that often: at 3 ms it cost 4 to 15 % of the calls a
second of a busy server, at 20 ms nothing that could be measured.
"""


class Crew:
    """Counts the threads and has them rest.

    Args:
        most_calls: how many calls may run at a time.
        hand_over: called when a call takes long, before another thread is woken.
        name: for the name of the clock's thread.
    """

    def __init__(self, most_calls: int, hand_over: Callable[[], None], name: str) -> None:
        self._most_calls = most_calls
        self._room = [None] * most_calls
        self._large_room = [None] * max(1, most_calls // 2)
        self._hand_over = hand_over
        self._changed = threading.Condition()  # guards the three that follow, and where they rest
        self._awake = 0
        self._resting = 0
        self._woken = 0
        self.over: bool = False
        """Whether the threads have ended, or are about to."""
        self.begun: int = 0
        """Changes with each call."""
        self._ticking = False
        self._tick = threading.Event()
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._watch, name=f"{name} clock", daemon=True)

    # -- beginning and end -------------------------------------------------------------------------

    def start(self) -> None:
        """Start the clock; before any thread enters."""
        self._clock.start()

    def finish(self) -> None:
        """Have the threads end that rest, and the clock."""
        with self._changed:
            self.over = True
            self._changed.notify_all()
        self._ended.set()
        self._tick.set()

    def join(self) -> None:
        """Wait for the end of the clock."""
        if self._clock.ident is not None:
            self._clock.join()

    # -- who is awake ------------------------------------------------------------------------------

    def enter(self) -> None:
        """Note that this thread is awake."""
        with self._changed:
            self._awake += 1

    def leave(self) -> None:
        """Note that it waits for something else than events."""
        with self._changed:
            self._awake -= 1
        self.wake_if_needed()

    @property
    def crowded(self) -> bool:
        """Whether more threads wait for events than one."""
        return self._awake > self._most_calls - len(self._room) + 1

    def rest(self) -> None:
        """Wait until one thread more is needed, if this one is not."""
        with self._changed:
            self._awake -= 1
            # Looked at after that: who begins a call meanwhile sees that there is one thread less.
            if self.over or not self._awake > self._most_calls - len(self._room):
                self._awake += 1
                return
            self._resting += 1
            self._changed.wait_for(lambda: self._woken or self.over)
            if self.over:
                self._awake += 1
            else:
                self._woken -= 1

    def wake_if_needed(self) -> None:
        """Wake a thread that rests, if all that are awake make calls."""
        if self._awake > self._most_calls - len(self._room):
            return
        with self._changed:
            if self._resting:
                self._resting -= 1
                self._awake += 1
                self._woken += 1
                self._changed.notify()

    # -- calls -------------------------------------------------------------------------------------

    def begin(self, large: bool = False) -> bool:
        """Take the room of a call; False: there is none. Large ones may take half of all room."""
        if large and not _take(self._large_room):
            return False
        if not _take(self._room):
            if large:
                self._large_room.append(None)
            return False
        self.begun += 1
        if not self._ticking:
            self._ticking = True
            self._tick.set()
        return True

    def end(self, large: bool = False) -> None:
        """Give the room back."""
        self._room.append(None)
        if large:
            self._large_room.append(None)

    def _watch(self) -> None:
        """Look, as long as calls are made, whether one takes long; the body of the clock."""
        while True:
            self._tick.wait()
            before = self.begun
            self._ended.wait(PATIENCE)
            if self.over:
                return
            if self.begun != before:
                continue
            if self._awake <= self._most_calls - len(self._room):
                self._hand_over()
                self.wake_if_needed()
            self._stop_ticking(before)  # the next call has it go on

    def _stop_ticking(self, before: int) -> None:
        self._tick.clear()
        self._ticking = False
        if self.begun != before or self.over:  # meanwhile
            self._ticking = True
            self._tick.set()


def _take(room: list[None]) -> bool:
    try:
        room.pop()
    except IndexError:
        return False
    return True
