"""Counting the examples of a suite, and bounding the time of each."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Self

import attrs

PATIENCE = 30.0
"""Seconds that one example may take: those of a source without a fault take 8 at most."""


class TooLong(BaseException):
    """An example did not end; no `Exception`, so that nothing on its way takes it for a failure."""


@attrs.define
class Examples:
    """How many there were, where the newest is, and whether it took too long."""

    count: int = 0
    place: str = ""
    too_long: bool = False

    def begin(self, place: str = "") -> None:
        """Count one more; *place* is how to find it again."""
        self.count += 1
        self.place = place
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    @contextmanager
    def watched(self) -> Generator[Self]:
        """Raise `TooLong` in the middle of an example that takes too long."""

        def end(_signal: int, _frame: FrameType | None) -> None:
            self.too_long = True
            raise TooLong

        before = signal.signal(signal.SIGALRM, end)
        try:
            yield self
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
