"""How long a service task waits after an error."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trio_bus._backoff import Backoff

SERVICE_BACKOFF = Backoff(first=0.05, factor=2.0, cap=5.0, jitter=1.0)
"""Full jitter, so that consumers that lost one server do not come back in step; 5 s at most."""

SHORTEST = 0.01
"""Seconds: full jitter may say zero, and an error loop must never run hot."""


class Pause:
    """Waits longer after each error in a row."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def seconds(self, tries: int) -> float:
        """How long to wait after that many errors in a row."""
        return max(SHORTEST, SERVICE_BACKOFF.delay_after(tries, self._random))

    async def __call__(self, tries: int) -> None:
        """Wait."""
        await trio.sleep(self.seconds(tries))
