"""How far a subscription with a group of its own has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trio_bus._backend import Ack, Bury, Commit
from trio_bus._entry_id import EntryId
from trio_bus._settled import Settled

if TYPE_CHECKING:
    from trio_bus._settling import Settling

_LAST = 2**64 - 1


class Progress:
    """What was received and is not finished, so that a lost group can go on where it was.

    Nobody else works in a group of our own: what we know of it is all there is to know. Of one
    that is shared (*begin* is None) nothing is kept.
    """

    def __init__(self, begin: EntryId | None) -> None:
        self._newest = begin
        self._unfinished: set[EntryId] = set()

    @property
    def is_kept(self) -> bool:
        """Whether anything is kept."""
        return self._newest is not None

    def received(self, entry_id: EntryId) -> None:
        """It was delivered, perhaps not for the first time."""
        if self._newest is not None:
            self._newest = max(self._newest, entry_id)
            self._unfinished.add(entry_id)

    def missed(self, entry_ids: Iterable[EntryId]) -> None:
        """These were delivered, and given back before we knew of them."""
        if self._newest is not None:
            self._unfinished.update(entry_ids)

    def began_anew(self, begin: EntryId) -> None:
        """The group was lost, and a new one begins there: all that is behind is delivered anew.

        What the stream has no more, never comes.
        """
        self._newest = begin
        self._unfinished.clear()

    def settled(self, settling: Settling) -> None:
        """The server has answered a settlement, or will not be asked any more."""
        if _ends(settling):
            self.finished(settling.holding.entry.id)

    def finished(self, entry_id: EntryId) -> None:
        """It need not be delivered again."""
        self._unfinished.discard(entry_id)

    @property
    def position(self) -> EntryId | None:
        """The last id up to which everything is finished; None of a group that is shared."""
        if self._newest is None or not self._unfinished:
            return self._newest
        first = min(self._unfinished)
        before = EntryId(first.ms, first.seq - 1) if first.seq else EntryId(first.ms - 1, _LAST)
        return min(self._newest, before)


def _ends(settling: Settling) -> bool:
    """Say whether nothing is left to do with the entry.

    An ack says so even where the group was gone before it came; a commit does not, since its
    outputs were not published then.
    """
    if settling.outcome is Settled.LOST:
        return isinstance(settling.settlement, Ack)
    if settling.outcome is Settled.DONE:
        return isinstance(settling.settlement, Ack | Bury | Commit)
    return settling.outcome is Settled.GONE
