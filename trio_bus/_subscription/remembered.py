"""What the handlers of one subscription released before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId

MOST = 10_000
"""Released entries that are remembered; most of them end in another consumer."""


class Remembered:
    """The entries that were released here and have not ended here since.

    Released again by this consumer an entry waits, or a handler that always releases would run
    hot, and nothing behind its entry would be reached.
    """

    def __init__(self) -> None:
        self._ids: set[EntryId] = set()

    @property
    def any(self) -> bool:
        """Whether there are some."""
        return bool(self._ids)

    def __contains__(self, entry_id: EntryId) -> bool:
        return entry_id in self._ids

    def add(self, entry_id: EntryId) -> None:
        """Remember it; when there are too many, begin anew."""
        if len(self._ids) >= MOST:
            self._ids.clear()
        self._ids.add(entry_id)

    def discard(self, entry_id: EntryId) -> None:
        """Forget it."""
        self._ids.discard(entry_id)
