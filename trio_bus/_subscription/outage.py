"""Whether everything fails: then it is no entry's fault."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from trio_bus._trio_util import AsyncValue

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId
    from trio_bus._holding import Holding

ROUNDS = 4
"""How often as many failures as begin an outage have to be those of fewer entries, to end it."""
APART = 0.001
"""Seconds between the times at which what was handed back is due: the first one comes first."""


class Outage:
    """Counts the distinct entries that fail in a row; when there are too many, an outage begins.

    A batch that fails as a whole counts as one: one of its entries may be to blame for that.

    While it lasts what fails is handed back, uncounted, and waits behind all that was handed back
    before. A success of what started since then ends it. So do failures of too few distinct
    entries: where only those are left they may be poison, and would be tried for ever. What started
    before its end and fails later failed in it.
    """

    def __init__(self, threshold: int | None) -> None:
        self._threshold = threshold
        self.is_watched: bool = threshold is not None
        self._failed: set[EntryId] = set()
        self._latest: deque[EntryId] = deque(maxlen=ROUNDS * (threshold or 1))
        self.lasts: AsyncValue[bool] = AsyncValue(False)  # noqa: FBT003 - a value, no option
        self.wait: float = 0.0
        """Seconds until the next probe, and at least as long for what is handed back."""
        self.tried: dict[EntryId, float] = {}
        """Where an order is kept, what was tried since it began, and when."""
        self.began: Callable[[int], None] = lambda _: None  # as `Prober` says
        self.ended: Callable[[], None] = lambda: None  # as `Prober` says
        self._began = math.inf
        self._ended = -math.inf
        self._due = -math.inf

    def has(self, holding: Holding) -> bool:
        """Count a failure that would be retried; say whether an outage is to blame for it."""
        if self._threshold is None:
            return False
        failed = holding.leader or holding.entry.id
        if self.lasts.value:
            self._look_back(failed, self._threshold)
            return True
        if (holding.started or 0.0) < self._ended:
            return True
        self._failed.add(failed)
        if len(self._failed) < self._threshold:
            return False
        self._began = trio.current_time()
        self._latest.clear()
        self.lasts.value = True
        self.began(len(self._failed))
        return True

    def succeeded(self, holding: Holding) -> None:
        """Hear of a success."""
        if not self.lasts.value:
            self._failed.clear()
        elif holding.started is not None and holding.started > self._began:
            self._end()

    def _look_back(self, failed: EntryId, threshold: int) -> None:
        """End it where for long no more than a few entries failed."""
        self._latest.append(failed)
        if len(self._latest) == self._latest.maxlen and len(set(self._latest)) < threshold:
            self._end()

    def _end(self) -> None:
        self._failed.clear()
        self._ended = trio.current_time()
        self.tried.clear()
        self.lasts.value = False
        self.ended()

    def delay(self) -> float:
        """Say how long something waits that is handed back now: until the others had their turn."""
        now = trio.current_time()
        self._due = max(now + self.wait, self._due + APART)
        return self._due - now
