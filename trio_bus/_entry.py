"""One delivered entry."""

from typing import TYPE_CHECKING

import msgspec

from ._entry_id import EntryId
from ._flat import Words, flat, pairs
from ._settlement import Receipt, Record


class _Given(msgspec.Struct, frozen=True, gc=False):
    """What a backend tells of an entry."""

    id: EntryId
    record: Record
    attempt: int = 1
    delivery: int = 0
    """See `Receipt`."""
    suspect: bool = False
    """Whether `GroupMember.take_booked` brought it: it may kill its process, so it runs alone."""
    size: int = 0
    """How many bytes its record has in names and values; 0 where the backend has not looked."""
    words: Words = ()
    """Its record, flat, where a backend has it so. What is given as ``record`` goes before it."""


class Entry(_Given, frozen=True, gc=False):
    """One delivered entry. ``attempt`` counts its deliveries so far, this one included.

    Two are equal if all is that the server knows: ``delivery`` and ``size`` do not count.
    """

    if TYPE_CHECKING:
        record: Record
    else:

        @property
        def record(self) -> Record:
            """Its fields. Pairs are made when they are asked for, which is seldom."""
            return super().record or pairs(self.words)

    @property
    def flat(self) -> Words:
        """The same, flat, for who reads it once."""
        given = super().record
        return flat(given) if given else self.words

    @property
    def receipt(self) -> Receipt:
        """What settles this delivery."""
        return Receipt(self.id, self.attempt, self.delivery, self.suspect)

    def __eq__(self, other: object) -> bool:
        return self._told == other._told if isinstance(other, Entry) else NotImplemented

    def __ne__(self, other: object) -> bool:  # that of Struct compares all
        return not self == other

    def __hash__(self) -> int:
        return hash(self._told)

    @property
    def _told(self) -> tuple[EntryId, Record, int, bool]:
        return self.id, self.record, self.attempt, self.suspect
