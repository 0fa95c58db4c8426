"""What a handler does when a message comes to it."""

from __future__ import annotations

from enum import Enum, unique

import attrs


@unique
class Handling(Enum):
    """One thing that a handler can do with a delivery."""

    SUCCEED = "succeed"
    FAIL = "fail"
    """Raise."""
    FAIL_TWICE = "fail twice"
    """Raise an `ExceptionGroup` of two."""
    RETRY = "retry"
    RETRY_LATER = "retry later"
    """Retry with a delay of its own."""
    REJECT = "reject"
    RELEASE = "release"
    RELEASE_LATER = "release later"
    """Release with a delay."""
    SETTLE_TWICE = "settle twice"
    """Ack, and try to retry it then."""
    RENEW = "renew"
    """Renew in the middle, and succeed."""
    HANG = "hang"
    """Take longer than several leases."""
    LATE = "late"
    """Take longer than a lease, whatever is cancelled meanwhile, and succeed."""
    STUBBORN = "stubborn"
    """When cancelled, go on for a while before it gives in."""
    SWALLOW = "swallow"
    """When cancelled, return as if it had succeeded."""
    MESSY = "messy"
    """When cancelled, raise an error in a ``finally``."""
    KILL = "kill"
    """Kill its process."""
    DRAIN = "drain"
    """Drain its own subscription, and succeed."""
    ACLOSE = "aclose"
    """Close its own subscription, and succeed."""
    FORGET = "forget"
    """Return without settling: in MANUAL mode the delivery stays open."""
    RETRY_AT_ONCE = "retry at once"
    """Retry with a delay of zero."""
    COMMIT = "commit"
    """Publish in a transaction, which takes as long as it takes."""
    COMMIT_LATE = "commit late"
    """Do so for longer than a lease, whatever is cancelled meanwhile."""
    COMMIT_NOT = "commit not"
    """Publish in a transaction, and raise before it ends."""


COMMITTING = frozenset({Handling.COMMIT, Handling.COMMIT_LATE, Handling.COMMIT_NOT})
"""What has a transaction."""
RESISTING = frozenset({Handling.LATE, Handling.STUBBORN, Handling.COMMIT_LATE})
"""What goes on for a while when it is cancelled."""


@attrs.frozen
class Step:
    """What one start of a message brings: a `Handling`, and how long it takes."""

    handling: Handling
    seconds: float = 0.0

    @property
    def yields(self) -> bool:
        """Whether it ends at once when it is cancelled."""
        return self.handling not in RESISTING

    def __str__(self) -> str:
        return f"{self.handling.value} after {self.seconds:g} s"
