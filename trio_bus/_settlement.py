"""How a delivery ends: what proves that it is ours, and the words that settle it.

All of them are structs of msgspec: each message needs two, and they are made in a fifth of the time
of others that cannot be changed. They hold nothing that leads back to them: the garbage collector
need not look at them.
"""

import math
from enum import Enum, unique

import msgspec

from ._entry_id import EntryId
from ._once import Append

Record = tuple[tuple[bytes, bytes], ...]
"""The fields of an entry: names and values, in order, duplicates kept."""


Buried = tuple[EntryId, Record]
"""The id of a dead entry where it lies, and its record with the context behind it."""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Proof of one delivery: it fences every later word about the entry.

    An operation with a receipt has an effect only while the entry is pending for the consumer
    that got it, with exactly this count of deliveries. Two are equal if id and attempt are.
    """

    id: EntryId
    attempt: int
    delivery: int = 0
    """A number that the backend may give to a delivery, to tell those of one entry apart."""
    suspect: bool = False
    """Released, it is a suspect again; see `Entry`."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Receipt):
            return NotImplemented
        return (self.id, self.attempt) == (other.id, other.attempt)

    def __ne__(self, other: object) -> bool:  # that of Struct compares all
        return not self == other

    def __hash__(self) -> int:
        return hash((self.id, self.attempt))


@unique
class DeathCause(Enum):
    """Why an entry went to the dead-letter topic."""

    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    UNDECODABLE = "undecodable"
    OVERSIZED = "oversized"
    EXPIRED = "expired"


class Death(msgspec.Struct, frozen=True, gc=False):
    """Why one entry is buried: the part of its context that the backend cannot know."""

    cause: DeathCause
    error_type: str
    error_text: str


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The entry is done in this group. Two are equal if their receipts are."""

    receipt: Receipt
    held_until: float = -math.inf
    """By trio's clock: until then nobody else can have it, as far as we know. A backend need not
    ask before whose it is; it is done in any case then, whoever has it."""

    def __eq__(self, other: object) -> bool:
        return self.receipt == other.receipt if isinstance(other, Ack) else NotImplemented

    def __ne__(self, other: object) -> bool:  # that of Struct compares all
        return not self == other

    def __hash__(self) -> int:
        return hash(self.receipt)


class Retry(msgspec.Struct, frozen=True, gc=False):
    """Start it again in this group, not before *delay* seconds from now; the attempt counts."""

    receipt: Receipt
    delay: float = 0.0


class Release(msgspec.Struct, frozen=True, gc=False):
    """Give it back as if it had not been delivered; claimable after *delay* seconds."""

    receipt: Receipt
    delay: float = 0.0


class Bury(msgspec.Struct, frozen=True, gc=False):
    """Move it, with its context, to the dead-letter topic of the membership (or to ``~dead``)."""

    receipt: Receipt
    death: Death


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Append these and finish the entry, in one atomic step, or do nothing at all.

    They go to the streams of their topics in this order; all of them share a slot with that of the
    entry. One that is stored `Once`, and is remembered, is not appended again.
    """

    receipt: Receipt
    outputs: tuple[Append, ...] = ()
    """At most 1,000, of 1 to 3,500 fields each."""


Settlement = Ack | Retry | Release | Bury | Commit
