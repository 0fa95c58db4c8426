"""Where dead entries lie, as backends know it, and what became of sending one back."""

from __future__ import annotations

from enum import Enum, unique

import attrs

from ._entry_id import EntryId

_NOWHERE = EntryId(0, 0)


@unique
class Redriven(Enum):
    """What became of sending one dead entry back into its group."""

    DONE = "done"
    """The group has it again, and no attempt counts."""
    LOST = "lost"
    """It is not dead any more: somebody sent it back, or deleted it, before."""
    GONE = "gone"
    """What the group gave up is not in its topic any more. A dead letter of it stays."""
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
    id: EntryId = _NOWHERE
    """Its id in *lies_in*."""
