"""How a delivery ends: what proves that it is ours, and the words that settle it."""

from __future__ import annotations

import math
from enum import Enum, unique
from typing import TYPE_CHECKING

import attrs

from ._entry_id import EntryId
from ._quick import quick

if TYPE_CHECKING:
    from ._once import Append

Record = tuple[tuple[bytes, bytes], ...]
"""The fields of an entry: names and values, in order, duplicates kept."""


Buried = tuple[EntryId, Record]
"""The id of a dead entry where it lies, and its record with the context behind it."""


@attrs.frozen(weakref_slot=False)
class Receipt:
    """Proof of one delivery: it fences every later word about the entry.

    An operation with a receipt has an effect only while the entry is pending for the consumer
    that got it, with exactly this count of deliveries.
    """

    id: EntryId
    attempt: int
    delivery: int = attrs.field(default=0, eq=False)
    """A number that the backend may give to a delivery, to tell those of one entry apart."""
    suspect: bool = attrs.field(default=False, eq=False)
    """Released, it is a suspect again; see `Entry`."""


quick_receipt = quick(Receipt)


@unique
class DeathCause(Enum):
    """Why an entry went to the dead-letter topic."""

    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    UNDECODABLE = "undecodable"
    OVERSIZED = "oversized"
    EXPIRED = "expired"


@attrs.frozen
class Death:
    """Why one entry is buried: the part of its context that the backend cannot know."""

    cause: DeathCause
    error_type: str
    error_text: str


@attrs.frozen(weakref_slot=False)
class Ack:
    """The entry is done in this group."""

    receipt: Receipt
    held_until: float = attrs.field(default=-math.inf, eq=False)
    """By trio's clock: until then nobody else can have it, as far as we know. A backend need not
    ask before whose it is; it is done in any case then, whoever has it."""


quick_ack = quick(Ack)


@attrs.frozen
class Retry:
    """Start it again in this group, not before *delay* seconds from now; the attempt counts."""

    receipt: Receipt
    delay: float = 0.0


@attrs.frozen
class Release:
    """Give it back as if it had not been delivered; claimable after *delay* seconds."""

    receipt: Receipt
    delay: float = 0.0


@attrs.frozen
class Bury:
    """Move it, with its context, to the dead-letter topic of the membership (or to ``~dead``)."""

    receipt: Receipt
    death: Death


@attrs.frozen
class Commit:
    """Append these and finish the entry, in one atomic step, or do nothing at all.

    They go to the streams of their topics in this order; all of them share a slot with that of the
    entry. One that is stored `Once`, and is remembered, is not appended again.
    """

    receipt: Receipt
    outputs: tuple[Append, ...] = ()
    """At most 1,000, of 1 to 3,500 fields each."""


Settlement = Ack | Retry | Release | Bury | Commit
