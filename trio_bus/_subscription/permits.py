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
        self._free = trio.Semaphore(max_in_flight, max_value=max_in_flight)
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
        return 0 if self._valve.is_shut() else self._free.value

    async def take(self, at_most: int, despite: Reason | None = None) -> int:
        """Wait for one permit, then take as many as are free; return how many.

        They are for one read or claim: `give_back` ends it, also with none.
        """
        while True:
            await self._valve.wait_open(despite)
            await self._free.acquire()
            if not self._valve.is_shut(despite):
                break
            self._release()
        taken = 1
        while taken < at_most and self._free.value > 0:
            self._free.acquire_nowait()
            taken += 1
        self._valve.begin()
        return taken

    async def wait_company(self, enough: int, longest: float) -> int:
        """Wait until *enough* are free, or one is for so many seconds; say how many are.

        Where none is free it waits for the first one.
        """
        if self._free.value == 0:
            await self._wait_free(1)
        with trio.move_on_at(self._free_since + longest):
            await self._wait_free(enough)
        return self._free.value

    async def _wait_free(self, enough: int) -> None:
        while self._free.value < enough:
            self._enough, self._gathered = enough, trio.Event()
            await self._gathered.wait()

    def give_back(self, count: int) -> None:
        """End a read or a claim, and return permits for which no entry came."""
        for _ in range(count):
            self._release()
        self._valve.end()

    def submitted(self) -> None:
        """Turn the permit of an entry whose handler ended into a pending settlement."""
        if self._pending < self._max_pending:
            self._pending += 1
            self._release()
        else:
            self._deferred += 1

    def dropped(self) -> None:
        """Return the permit of an entry that is not held any more."""
        self._release()

    def confirmed(self) -> None:
        """Count one pending settlement less."""
        if self._deferred:
            self._deferred -= 1
            self._release()
        else:
            self._pending -= 1

    def _release(self) -> None:
        if self._free.value == 0:
            self._free_since = trio.current_time()
        self._free.release()
        if self._free.value >= self._enough:
            self._gathered.set()
            self._enough = math.inf
