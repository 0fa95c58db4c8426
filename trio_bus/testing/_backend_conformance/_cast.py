"""Who plays: few topics, groups and consumers, so that they meet each other."""

from __future__ import annotations

import attrs

from trio_bus._backend import Membership
from trio_bus._retention import Retention

TOPICS = ("a", "b", "dead")
"""What is buried in ``a`` may go to ``dead``."""
GROUPS = (("a", "g"), ("a", "h"), ("b", "g"), ("dead", "g"))


@attrs.frozen(repr=False)
class Who:
    """One consumer of one group of one topic."""

    topic: str
    group: str
    consumer: str

    @property
    def place(self) -> tuple[str, str]:
        """Topic and group."""
        return self.topic, self.group

    def __str__(self) -> str:
        return f"{self.topic}.{self.group}.{self.consumer}"

    __repr__ = __str__


PLAYERS = tuple(
    Who(topic, group, consumer)
    for topic, group in GROUPS
    for consumer in {"ag": "xyz", "ah": "xy", "bg": "xy"}.get(topic + group, "x")
)


ALONE = Who("a", "~fan-p", "p")
"""One who has a group of its own."""
EXPIRY = 10
"""Units for which that group outlives the last sign of its life."""


@attrs.frozen
class Shape:
    """What one program has in common: names that nobody else uses, and the rules of takeover.

    ``unit`` is in seconds: all that waits, waits for some of them.
    """

    prefix: str
    unit: float
    max_attempt: int = 4
    dead_letters: bool = False
    tend_units: float = 0.0
    retention: Retention | None = None
    retain_units: float = 0.0

    @property
    def lease(self) -> float:
        """Seconds."""
        return 4 * self.unit

    @property
    def expiry(self) -> float:
        """Seconds."""
        return EXPIRY * self.unit

    def name(self, topic: str) -> str:
        """Return what a topic is called on the backend; all share a hash tag."""
        return f"{{{self.prefix}}}.{topic}"

    def membership(self, who: Who) -> Membership:
        """Return the rules by which one of the players takes over."""
        buried = self.dead_letters and who.topic == "a"
        return Membership(
            topic=self.name(who.topic),
            group=who.group,
            consumer=who.consumer,
            lease=self.lease,
            max_attempt=self.max_attempt,
            dead_letter_topic=self.name("dead") if buried else None,
            tend_every=self.tend_units * self.unit,
            expiry=self.expiry if who.place == ALONE.place else None,
            retention=self.retention,
            retain_every=self.retain_units * self.unit,
        )
