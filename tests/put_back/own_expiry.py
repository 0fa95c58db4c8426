"""Faults of our own in the expiry of messages, and in losses that are declared."""

from __future__ import annotations

from .fault import Fault, put

_INSPECTION = "trio_bus/_subscription/inspection.py"

EXPIRY = (
    Fault(
        "an expired message starts",
        "Its time was looked at when it arrived, and was over when it started.",
        (
            put(
                "to be received",
                "trio_bus/_subscription/buffer.py",
                "if await self._is_ours(holding) and not self._core.inspection.expire(holding):",
                "if await self._is_ours(holding):",
            ),
            put(
                "with others, in a batch",
                "trio_bus/_subscription/batches.py",
                "[it for it in gathering.holdings if not inspection.expire(it)]",
                "[it for it in gathering.holdings if inspection]",
            ),
            put(
                "of a dead letter, and of all others",
                _INSPECTION,
                " or self._now() < expires_at or lies_dead(holding.entry.record)",
                " or self._now() < expires_at or holding.entry.record",
            ),
        ),
    ),
    Fault(
        "a message expires early",
        "It is given up before its time is over.",
        (
            put(
                "by a second",
                _INSPECTION,
                "self._now() < expires_at or",
                "self._now() < expires_at.replace(microsecond=0) or",
            ),
        ),
    ),
    Fault(
        "an expired message is dead for another reason",
        "Whoever lists dead letters takes it for one that was rejected.",
        (
            put(
                "as rejected",
                _INSPECTION,
                "death(DeathCause.EXPIRED,",
                "death(DeathCause.REJECTED,",
            ),
        ),
    ),
    Fault(
        "a declared loss takes too much",
        "A retention with finished=False removes what is within its bounds.",
        (
            put(
                "in memory",
                "trio_bus/_memory/retaining.py",
                "    if retention.finished:\n",
                "    if not retention.finished and end > MIN_ID:\n"
                "        end = MAX_ID\n"
                "    if retention.finished:\n",
            ),
        ),
    ),
)
