"""What a member of a group sees that looks around."""

from __future__ import annotations

import attrs

from ._entry_id import EntryId
from ._errors import RemoteError


@attrs.frozen(kw_only=True)
class Look:
    """What a member sees that looks around; see `GroupMember.look`."""

    claimable: bool
    """Whether `GroupMember.take_over` would find anything."""
    due_in: float | None = None
    """Seconds until an entry of this group, or a scheduled message of this topic, is due; None if
    nothing waits. 0: look again at once, there was more than one look does."""
    quiet_for: float = 0.0
    """Seconds until there can be something that neither ``due_in`` tells nor `GroupMember.woken`
    will; at least. 0: nobody knows, look at each tick."""
    refusal: RemoteError | None = None
    """Why a scheduled message that is due was not appended; each look tries again."""
    gone: tuple[EntryId, ...] = ()
    """Abandoned entries that had been deleted from the stream; they are not pending any more."""
    trimmed: int = 0
    """How many entries the retention has removed now."""
