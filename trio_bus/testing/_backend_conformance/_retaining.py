"""What is finished by every group, or by all but one: random steps finish too little."""

from __future__ import annotations

from trio_bus._backend import Ack
from trio_bus._retention import Retention

from ._batches import Batches
from ._cast import GROUPS, Who
from ._consuming import Consuming
from ._publishing import Publishing
from ._settling import Settling

KINDS = ("none", "length", "age", "both", "loss")
"""The retentions that a program may have."""


def retention_of(kind: str, unit: float) -> Retention | None:
    """Return one of them; what waits, waits for some units."""
    return {
        "none": None,
        "length": Retention(max_length=2),
        "age": Retention(max_age=3 * unit),
        "both": Retention(max_length=0, max_age=9 * unit),
        "loss": Retention(max_length=2, finished=False),
    }[kind]


class Retaining:
    """Lets groups finish what there is, and looks."""

    def __init__(
        self, publishing: Publishing, consuming: Consuming, settling: Settling, batches: Batches
    ) -> None:
        self._publishing = publishing
        self._consuming = consuming
        self._settling = settling
        self._batches = batches

    def finish(self, who: Who, number: int, left: int, *, away: bool) -> None:
        """Append so many, let the groups of the topic finish them, and look.

        Args:
          who: Who looks.
          number: How many are appended.
          left: Which of those that this one holds, from the oldest, is not settled.
          away: Whether the other groups get nothing.
        """
        self._publishing.append(who.topic, (None,) * number, 0.0, None)
        for topic, group in GROUPS:
            ours = group == who.group
            if topic == who.topic and (ours or not away):
                self._finish(who if ours else Who(topic, group, "x"), left if ours else -1)
        self._consuming.look(who)

    def _finish(self, who: Who, left: int) -> None:
        """Read all there is, and ack all that is held but one."""
        self._consuming.read(who, 9, None)
        held = self._batches.ours(who)
        words = [Ack(receipt) for place, receipt in enumerate(held) if place != left]
        self._settling.say(who, words)
