"""Faults of our own in what is taken in at all, and in what is handled together."""

from __future__ import annotations

from .fault import Fault, put

_SUBSCRIPTION = "trio_bus/_subscription"

FLOW = (
    Fault(
        "a pause lets in",
        "A subscription that is paused goes on.",
        (
            put(
                "its read goes on",
                f"{_SUBSCRIPTION}/valve.py",
                "            if not is_spared():\n",
                "            if is_spared():\n",
            ),
            put(
                "what has arrived starts",
                f"{_SUBSCRIPTION}/subscription.py",
                "            self._core.hand_back_unstarted()\n",
                "",
            ),
        ),
    ),
    Fault(
        "bytes have no bound",
        "More is read while as many bytes are held as may be.",
        (
            put(
                "they are not looked at",
                f"{_SUBSCRIPTION}/valve.py",
                "self._under_way > 0 or self.bytes >= self._most_bytes",
                "self._under_way > 0",
            ),
        ),
    ),
    Fault(
        "an outage counts",
        "What fails because everything fails is counted, or tried again and again.",
        (
            put(
                "one entry is enough",
                f"{_SUBSCRIPTION}/outage.py",
                "if len(self._failed) < self._threshold:",
                "if len(self._failed) + 1 < self._threshold:",
            ),
            put(
                "as any failure does",
                f"{_SUBSCRIPTION}/outage.py",
                "        if self.lasts.value:\n            self._look_back",
                "        if not self.lasts:\n            self._look_back",
            ),
        ),
    ),
)
