"""The time that this server tells."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import trio

from trio_bus._wall import wall

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ServerClock:
    """Milliseconds since 1970: the wall time of the first look, plus what trio's clock counted.

    A later ``trio.run`` may have another clock; the time goes on there where it stopped.
    """

    def __init__(self, wall_start: datetime | None = None) -> None:
        self._wall_start = wall_start
        self._run: trio.lowlevel.TrioToken | None = None
        # The time of the server when the clock of this run showed _began.
        self._base_ms = 0
        self._began = 0.0
        self._last_ms = 0

    def now_ms(self) -> int:
        """Return the time; needs a running trio."""
        self._notice_new_run()
        self._last_ms = max(self._last_ms, self._base_ms + self._elapsed_us() // 1000)
        return self._last_ms

    def step(self, seconds: float) -> None:
        """Set it forward by so many seconds, or back."""
        self.now_ms()
        by_ms = round(seconds * 1000)
        self._base_ms += by_ms
        self._last_ms += by_ms

    def due_ms(self, delay: float) -> int:
        """Return when something is due that waits for *delay* seconds: rounded up, if it waits."""
        now_ms = self.now_ms()
        if delay <= 0:
            return now_ms
        due_us = self._base_ms * 1000 + self._elapsed_us() + math.ceil(delay * 1_000_000)
        return max(now_ms, -(-due_us // 1000))

    def _elapsed_us(self) -> int:
        # What is a whole number of milliseconds must not lose one of them.
        return round((trio.current_time() - self._began) * 1_000_000)

    def _notice_new_run(self) -> None:
        run = trio.lowlevel.current_trio_token()
        if run is self._run:
            return
        if self._run is None:
            start = self._wall_start or wall.now()
            self._base_ms = (start - _EPOCH) // timedelta(milliseconds=1)
        else:
            self._base_ms = self._last_ms
        self._run = run
        self._began = trio.current_time()
