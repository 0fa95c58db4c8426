"""Mistakes that are easily made in the life of a subscription, and must be noticed."""

from __future__ import annotations

from .fault import Change, Fault, Putting, put

_SUBSCRIPTION = "trio_bus/_subscription"
_REDIS = "trio_bus/_redis"
_MEMORY = "trio_bus/_memory"
_SCRIPTS = "trio_bus/_redis/scripts"

LIFE = (
    Fault(
        "an ack comes before its handler",
        "An entry is acked before its handler has ended.",
        (
            put(
                "when it starts",
                f"{_SUBSCRIPTION}/dispatcher.py",
                "            holding.run_in(cell.nursery, cell.scope)\n",
                """            holding.run_in(cell.nursery, cell.scope)
            if self._acks:
                from trio_bus._backend import Ack

                self._core.submit(holding, Ack(holding.receipt))
""",
            ),
        ),
    ),
    Fault(
        "a permit is off by one",
        "One entry more is held than the permits say, or a permit is never given back.",
        (
            Putting(
                "one settlement too many waits",
                (
                    Change(
                        f"{_SUBSCRIPTION}/permits.py",
                        "self._pending + count <= self._max_pending",
                        "self._pending + count <= self._max_pending + 1",
                    ),
                    Change(
                        f"{_SUBSCRIPTION}/permits.py",
                        "min(count, self._max_pending - self._pending)",
                        "min(count, self._max_pending + 1 - self._pending)",
                    ),
                ),
            ),
            put(
                "a read keeps one that it did not need",
                f"{_SUBSCRIPTION}/consumer.py",
                "permits.give_back(taken - len(entries))",
                "permits.give_back(max(0, taken - len(entries) - 1))",
            ),
        ),
    ),
    Fault(
        "a wake-up is lost",
        "A wake-up is lost, and what is there waits for the next tick.",
        (
            put(
                "an alarm keeps the first time, not the earliest",
                "trio_bus/_wake.py",
                "if self._at is None or at < self._at:",
                "if self._at is None:",
            ),
            put(
                "a hand-back in memory wakes nobody",
                f"{_MEMORY}/member.py",
                "self._server.alarms.ring(us.topic, settlement.delay, us.group)",
                "del us",
            ),
            put(
                "a hand-back on a server wakes nobody",
                f"{_SCRIPTS}/hand_back.lua",
                "  wake(channel, math.max(0, soonest - now), group)\n",
                "  soonest = now\n",
            ),
        ),
    ),
    Fault(
        "a shield is missing",
        "What was sent is not received, because a shield is missing.",
        (
            put(
                "around what gives a cancelled claim back",
                f"{_REDIS}/member.py",
                "with trio.CancelScope(deadline=end, shield=True):",
                "with trio.CancelScope(deadline=end):",
            ),
        ),
        select="take_over",
    ),
    Fault(
        "results of a batch are swapped",
        "The results of a batch go to the wrong settlements.",
        (
            put(
                "in the flusher",
                f"{_SUBSCRIPTION}/flusher.py",
                "zip(batch, outcomes, strict=True)",
                "zip(batch, reversed(outcomes), strict=True)",
            ),
            put(
                "on the way from a server",
                f"{_REDIS}/group.py",
                "zip(part.places, _codes(",
                "zip(reversed(part.places), _codes(",
            ),
        ),
    ),
    Fault(
        "a cursor is stale",
        "A search does not begin anew, and never finds what came behind it.",
        (
            put(
                "among entries without a due time",
                f"{_SCRIPTS}/_tend.lua",
                "is_end and '-' or '(' .. rows[#rows][1]",
                "#rows == 0 and start or '(' .. rows[#rows][1]",
            ),
        ),
    ),
    Fault(
        "a renewal does not ask who owns it",
        "A renewal takes an entry back from its new owner.",
        (
            put(
                "on a server",
                f"{_SCRIPTS}/renew.lua",
                "is_owned(stream, group, me, id, attempt)",
                "id",
            ),
            put(
                "in memory",
                f"{_MEMORY}/custody.py",
                "            if not self._owns(place.group, receipt):\n                over",
                "            if receipt.id not in place.group.pending:\n                over",
            ),
        ),
    ),
    Fault(
        "a drain starts handlers",
        "A drain starts what was received and has not begun.",
        (
            put(
                "all that has arrived",
                f"{_SUBSCRIPTION}/core.py",
                "if not holding.given_out:",
                "if not holding:",
            ),
        ),
    ),
    Fault(
        "a release counts",
        "What is released counts as an attempt.",
        (
            put(
                "on a server",
                f"{_REDIS}/group.py",
                "return *_pair(receipt), receipt.attempt - 1, delay_ms",
                "return *_pair(receipt), receipt.attempt, delay_ms",
            ),
            put(
                "in memory",
                f"{_MEMORY}/custody.py",
                "count = receipt.attempt if counted else receipt.attempt - 1",
                "count = receipt.attempt",
            ),
        ),
    ),
    Fault(
        "a release is forgotten",
        "What nobody received is not given back when iteration ends.",
        (
            Putting(
                "neither by the buffer nor by the end",
                (
                    Change(
                        f"{_SUBSCRIPTION}/buffer.py",
                        "                return\n            if holding.open:\n",
                        "                return\n            if holding.lost:\n",
                    ),
                    Change(
                        f"{_SUBSCRIPTION}/core.py", "if not holding.given_out:", "if holding.lost:"
                    ),
                ),
            ),
        ),
    ),
    Fault(
        "a lost lease goes unnoticed",
        "A handler goes on although its lease was lost.",
        (
            put(
                "its scope is not cancelled",
                "trio_bus/_holding.py",
                "self.wake()\n        if self._scope is not None:",
                "self.wake()\n        if not self.lost:",
            ),
        ),
    ),
)
"""Nobody has made them yet."""
