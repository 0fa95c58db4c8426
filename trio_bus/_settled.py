"""What became of one settlement, or of one lease."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Settled(Enum):
    """What became of one settlement, or of the lease of one delivery."""

    DONE = "done"
    LOST = "lost"
    """It was no longer ours: nothing changed."""
    GONE = "gone"
    """The entry itself was deleted or trimmed; it is not pending any more."""
    ABSENT = "absent"
    """It is neither pending for anybody nor in the stream. While our lease held, it was deleted;
    later it may have been finished by another owner, and trimmed."""
    FINISHED = "finished"
    """Of a commit: the entry is in the stream, and pending for nobody. Either an earlier try has
    committed it, or another owner finished it."""


# There is one of each; the hash of Enum is slow, and each message asks. Checkers know that of Enum.
setattr(Settled, "__hash__", object.__hash__)  # noqa: B010 - see above
