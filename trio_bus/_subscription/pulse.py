"""Whether this process stood still: it was stopped, or suspended, or its loop was blocked."""

from __future__ import annotations

import math

import trio

BEATS_PER_LEASE = 4


class Pulse:
    """Beats several times in a lease. Where nothing ran for more than half of one is a gap.

    While we stood still the leases of others may have run out, and ours. Whoever asks first after
    a gap notices it: no task has to run before another.
    """

    def __init__(self, lease: float) -> None:
        self._between = lease / BEATS_PER_LEASE
        self._longest = lease / 2
        self._last = trio.current_time()
        self._gap_ended = -math.inf

    @property
    def gap_ended(self) -> float:
        """When the last gap ended, by trio's clock; -inf if there was none."""
        self._beat()
        return self._gap_ended

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await trio.sleep(self._between)
            self._beat()

    def _beat(self) -> None:
        now = trio.current_time()
        if now - self._last > self._longest:
            self._gap_ended = now
        self._last = now
