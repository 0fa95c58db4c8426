"""When messages expire, by the clock of a run."""

# pyright: reportPrivateUsage=false
# Whether something is a dead letter is told by no public call.

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_bus._dead_letter import lies_dead
from trio_bus._wall import wall

if TYPE_CHECKING:
    from trio_bus._delivery import Delivery
    from trio_bus._message import Message


def expiry_of(message: Message, now: float) -> float | None:
    """Say when a message expires, if the clock of the run shows *now*; None: never."""
    if message.expires_at is None:
        return None
    return now + (message.expires_at - wall.now()).total_seconds()


def expiry_of_delivery(delivery: Delivery, now: float) -> float | None:
    """Say the same of a delivery; whoever handles dead letters gets them all the same."""
    is_letter = lies_dead(delivery._holding.entry.record)  # noqa: SLF001 - see above
    return None if is_letter else expiry_of(delivery.message, now)
