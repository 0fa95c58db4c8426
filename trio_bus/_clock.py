"""Wall time that follows trio's clock, so that a mock clock moves it too."""

from __future__ import annotations

from datetime import datetime, timedelta

import trio

from ._wall import wall


class WallClock:
    """The wall time at the first look, plus what trio's clock counted since.

    A step of the machine's clock cannot make it jump.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start
        self._began: float | None = None

    def now(self) -> datetime:
        """Return the time in UTC; needs a running trio."""
        if self._start is None:
            self._start = wall.now()
        if self._began is None:
            self._began = trio.current_time()
        return self._start + timedelta(seconds=trio.current_time() - self._began)
