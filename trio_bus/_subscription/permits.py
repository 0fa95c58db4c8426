"""How many entries a subscription may hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .valve import Reason, Valve


class Permits:
    """Bounds what runs, and what is held at all.

    Invariant: ``free + taken == max_in_flight``, where a permit is taken before an entry is read
    and given back when its handler has ended; and at most ``max_pending_acks`` settlements wait
    without a permit of their own. One more keeps its permit until another one is confirmed, so that
    held <= max_in_flight + max_pending_acks. Where the valve is shut no permit is free.
    """

    def __init__(self, max_in_flight: int, max_pending_acks: int, valve: Valve) -> None:
        # No semaphore: a count costs a tenth of it, and each message takes one and returns it.
        self._free = self._most = max_in_flight
        self._waiting = trio.lowlevel.ParkingLot()  # nobody waits while one is free
        self._valve = valve
        self._max_pending = max_pending_acks
        self._pending = 0
        self._deferred = 0
        self._free_since = trio.current_time()
        # Who waits for company goes on when that many are free.
        self._enough = math.inf
        self._gathered = trio.Event()

    @property
    def free(self) -> int:
        """How many entries could be taken at once."""
        return 0 if self._valve.is_shut() else self._free

    async def take(self, at_most: int, despite: Reason | None = None) -> int:
        """Wait for one permit, then take as many as are free; return how many.

        They are for one read or claim: `give_back` ends it, also with none. No checkpoint where one
        is free.
        """
        while True:
            await self._valve.wait_open(despite)
            if self._free > 0:
                self._free -= 1
            else:
                await self._waiting.park()  # who releases one hands it over
            if not self._valve.is_shut(despite):
                break
            self._release()
        more = min(at_most - 1, self._free)
        self._free -= more
        self._valve.begin()
        return 1 + more

    async def wait_company(self, enough: int, longest: float) -> int:
        """Wait until *enough* are free, or one is for so many seconds; say how many are.

        Where none is free it waits for the first one.
        """
        if self._free == 0:
            await self._wait_free(1)
        if self._free < enough:
            with trio.move_on_at(self._free_since + longest):
                await self._wait_free(enough)
        return self._free

    async def _wait_free(self, enough: int) -> None:
        while self._free < enough:
            self._enough, self._gathered = enough, trio.Event()
            await self._gathered.wait()

    def give_back(self, count: int) -> None:
        """End a read or a claim, and return permits for which no entry came."""
        self._release(count)
        self._valve.end()

    def submitted(self, count: int = 1) -> None:
        """Turn permits of entries whose handlers ended into pending settlements."""
        if 0 < self._free < self._enough - count and self._pending + count <= self._max_pending:
            self._pending += count  # nearly always, when many end at once
            self._free += count
            return
        room = min(count, self._max_pending - self._pending)
        self._pending += room
        self._deferred += count - room
        self._release(room)

    def dropped(self) -> None:
        """Return the permit of an entry that is not held any more."""
        self._release()

    def confirmed(self, count: int) -> None:
        """Count so many pending settlements less."""
        deferred = min(count, self._deferred)
        self._pending -= count - deferred
        self._deferred -= deferred
        self._release(deferred)

    def _release(self, count: int = 1) -> None:
        """Return permits; where none is free, who waits gets them first."""
        if self._free == 0 and count:
            count -= len(self._waiting.unpark(count=count))
            self._free_since = trio.current_time()
        self._free += count
        assert self._free <= self._most, "a permit was returned twice"
        if self._free >= self._enough:
            self._gathered.set()
            self._enough = math.inf
