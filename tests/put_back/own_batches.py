"""Faults of our own in batches."""

from __future__ import annotations

from .fault import Fault, put

_BATCH = "trio_bus/_batch.py"
_BATCHES = "trio_bus/_subscription/batches.py"

BATCHES = (
    Fault(
        "a batch mixes its outcomes up",
        "What becomes of one delivery is what was decided for another one.",
        (
            put(
                "a verb settles the first",
                _BATCH,
                "await delivery.retry(reason, delay)",
                "await self.deliveries[0].retry(reason, delay)",
            ),
            put(
                "a failure is that of the first",
                _BATCH,
                "failure if holding in concerned else None",
                "failure if holding is holdings[0] else None",
            ),
            put(
                "one that was settled fails the others",
                _BATCH,
                "        failure, onward = sort(rest)\n",
                "        failure, onward = sort(rest)\n"
                "        if any(not it.open for it in holdings) and rest is None:\n"
                '            failure = HandlerTimeout("one of it was settled")\n',
            ),
        ),
    ),
    Fault(
        "a batch has the wrong size",
        "It is larger than it may be, or smaller than it should be.",
        (
            put(
                "one more",
                _BATCHES,
                "while len(gathering.holdings) < self._max_size:",
                "while len(gathering.holdings) <= self._max_size:",
            ),
        ),
    ),
    Fault(
        "a batch waits as it likes",
        "It waits for longer than max_wait, or not at all.",
        (
            put(
                "with each that comes",
                _BATCHES,
                "            if not gathering.holdings:\n",
                "            if more:\n",
            ),
            put(
                "not at all",
                _BATCHES,
                "until = trio.current_time() + self._max_wait if more",
                "until = trio.current_time() if more",
            ),
        ),
    ),
)
