"""How many entries a subscription may hold."""

from __future__ import annotations

import trio


class Permits:
    """Bounds what runs, and what is held at all.

    Invariant: ``free + taken == max_in_flight``, where a permit is taken before an entry is read
    and given back when its handler has ended; and at most ``max_pending_acks`` settlements wait
    without a permit of their own. One more keeps its permit until another one is confirmed, so that
    held <= max_in_flight + max_pending_acks.
    """

    def __init__(self, max_in_flight: int, max_pending_acks: int) -> None:
        self._free = trio.Semaphore(max_in_flight, max_value=max_in_flight)
        self._max_pending = max_pending_acks
        self._pending = 0
        self._deferred = 0

    @property
    def free(self) -> int:
        """How many entries could be taken at once."""
        return self._free.value

    async def take(self, at_most: int) -> int:
        """Wait for one permit, then take as many as are free; return how many."""
        await self._free.acquire()
        taken = 1
        while taken < at_most and self._free.value > 0:
            self._free.acquire_nowait()
            taken += 1
        return taken

    def give_back(self, count: int) -> None:
        """Return permits for which no entry came."""
        for _ in range(count):
            self._free.release()

    def submitted(self) -> None:
        """Turn the permit of an entry whose handler ended into a pending settlement."""
        if self._pending < self._max_pending:
            self._pending += 1
            self._free.release()
        else:
            self._deferred += 1

    def confirmed(self) -> None:
        """Count one pending settlement less."""
        if self._deferred:
            self._deferred -= 1
            self._free.release()
        else:
            self._pending -= 1
