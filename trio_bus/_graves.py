"""Where dead entries lie, as backends know it, and what became of sending one back."""

from __future__ import annotations

from enum import Enum, unique

import attrs

from ._entry_id import EntryId


@unique
class Redriven(Enum):
    """What became of sending one dead entry back into its group."""

    DONE = "done"
    """The group has it again, and no attempt counts."""
    COPIED = "copied"
    """The entry is not in its topic any more: a copy was appended there, which has a new id. Only
    this group handles it; subscriptions of other groups ack it unseen."""
    LOST = "lost"
    """It is not dead any more: somebody sent it back, or deleted it, before."""
    GONE = "gone"
    """What the group itself kept is not in its topic any more; or this is no dead letter of it."""
    UNFINISHED = "unfinished"
    """The group has not finished that entry, so it is not given it twice. The dead letter stays."""
    GROUP_MISSING = "group missing"
    """The group does not exist any more. The dead letter stays."""


@attrs.frozen
class Grave:
    """One dead entry: what it was in its topic and group, and where it lies now."""

    topic: str
    group: str
    entry_id: EntryId
    """Its id in *topic*."""
    lies_in: str | None = None
    """The dead-letter topic; None where the group itself keeps it."""
    id: EntryId | None = None
    """Its id in *lies_in*; without one, nothing."""
