"""How long an entry waits that a handler gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId

MAX_REMEMBERED = 10_000
"""Released entries that are remembered; most of them end in another consumer."""


@attrs.define(eq=False)
class Releases:
    """What our handlers released, and has not ended here since."""

    _interval: float
    _released: set[EntryId] = attrs.field(factory=set["EntryId"])

    def delay(self, entry_id: EntryId) -> float:
        """Say how long an entry waits that a handler releases: not at all, the first time.

        Released again by this consumer it waits for a tick, or a handler that always releases
        would run hot, and nothing behind its entry would be reached.
        """
        if entry_id in self._released:
            return self._interval
        if len(self._released) >= MAX_REMEMBERED:
            self._released.clear()
        self._released.add(entry_id)
        return 0.0

    def forget(self, entry_id: EntryId) -> None:
        """It ended here in another way."""
        self._released.discard(entry_id)
