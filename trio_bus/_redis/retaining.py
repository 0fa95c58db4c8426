"""What the script of a look has to know of a retention."""

from __future__ import annotations

import math

from trio_bus._backend import Membership
from trio_bus._names import own_key

from .resp import Argument


def retention_arguments(membership: Membership) -> tuple[Argument, ...]:
    """Return the bounds, and how long a topic is left alone; nothing without a retention."""
    retention = membership.retention
    if retention is None:
        return ()
    age, length = retention.max_age, retention.max_length
    return (
        "" if age is None else math.ceil(age * 1000),
        "" if length is None else length,
        int(retention.finished),
        math.ceil(membership.retain_every * 1000),
    )


def retained_keys(membership: Membership) -> tuple[str, ...]:
    """Return the key that stands while a topic is left alone; nothing without a retention."""
    arguments = retention_arguments(membership)
    if not arguments:
        return ()
    return (own_key(membership.topic, "retained", ":".join(str(it) for it in arguments[:3])),)
