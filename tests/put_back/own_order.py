"""Faults of our own in the order of keys."""

from __future__ import annotations

from .fault import Fault, put

_SUBSCRIPTION = "trio_bus/_subscription"

ORDER = (
    Fault(
        "a retry frees its key",
        "While a message waits for its next attempt, later ones of its key are started.",
        (
            put(
                "as if it were done",
                f"{_SUBSCRIPTION}/starter.py",
                "            self._lines.again(entry_id, settling.since + settlement.delay)\n",
                "            self._lines.over(entry_id)\n",
            ),
        ),
    ),
    Fault(
        "who becomes active does not look what is pending",
        "What is new starts before what an earlier consumer had, or gave back.",
        (
            put(
                "it reads at once",
                f"{_SUBSCRIPTION}/drawer.py",
                "            await self._survey()\n            while True:\n",
                "            while True:\n",
            ),
        ),
    ),
    Fault(
        "what somebody else has counts as done",
        "A key goes on while a consumer that leaves, or died, still has its first message.",
        (
            put(
                "where it is held",
                f"{_SUBSCRIPTION}/starter.py",
                "self._lines.again(entry_id, now + wait, held=True)\n",
                "self._lines.over(entry_id)\n",
            ),
        ),
    ),
)
