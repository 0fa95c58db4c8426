"""Where a subscription is in its life."""

from __future__ import annotations

from enum import Enum, unique


@unique
class SubscriptionState(Enum):
    """Where a subscription is in its life."""

    RUNNING = "running"
    DRAINING = "draining"
    CLOSED = "closed"
