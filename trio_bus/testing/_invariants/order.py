"""Invariant 8: each key has an order."""

from __future__ import annotations

from trio_bus._entry_id import EntryId
from trio_bus._modes import OrderingMode
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Key, Rule, each, key_of
from .scene import Scene
from .turns import ENDED

_SLACK = 0.002
"""Seconds: servers count whole milliseconds."""
_UNSURE = frozenset({What.CLOCK_STEPPED, What.DELETED, What.TRIMMED})
Place = tuple[str, str, str]
"""Topic, group and key."""


class Order(Rule):
    """Where a group keeps the order, starts of one key are in publish order and never overlap.

    A start that comes again (of a retry, or after its consumer was lost) comes before the first
    start of all later ones of its key. A handler whose lease is over may still be ending elsewhere.
    What was dead and is sent back had freed its key: others may have started since.
    """

    number = 8
    name = "order"
    seen_by = "starts and ends of handlers, with keys; deliveries and renewals of the server"
    weakened_by = "groups and topics that were deleted; for overlaps, moved clocks, lost entries"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._latest: dict[Place, EntryId] = {}
        self._running: dict[Place, dict[tuple[str, EntryId], Line]] = {}
        self._leases: dict[Key, tuple[str, float]] = {}
        self._sent_back: set[Key] = set()

    def hears(self) -> Ears:
        """Listen to handlers, and to leases."""
        return {
            What.STARTED: self._hear_started,
            **each(ENDED, self._hear_ended),
            **each((What.GIVEN, What.RENEWED), self._hear_lease),
            **each((What.RETRIED, What.RELEASED, What.BURIED, What.ACKED), self._hear_over),
            Transition.LEASE_LOST: self._hear_over,
            What.REDRIVEN: lambda line: self._sent_back.add(key_of(line)),
        }

    def _hear_started(self, line: Line) -> None:
        config = self.scene.configs.get((line.topic, line.group))
        if not line.key or line.entry_id is None or config is None:
            return
        where = (line.topic, line.group)
        if config.ordering_mode is not OrderingMode.KEY or where in self.scene.destroyed:
            return
        place = (line.topic, line.group, line.key)
        latest = self._latest.get(place, line.entry_id)
        if line.entry_id < latest and key_of(line) not in self._sent_back:
            self.broken(f"{line.entry_id} starts after {latest}, which has the same key", line)
        self._latest[place] = max(latest, line.entry_id)
        running = self._running.setdefault(place, {})
        for other in list(running.values()):
            self._compare(other, line)
        running[line.consumer, line.entry_id] = line
        if (line.topic, line.group) not in self.scene.witnessed:
            self._leases.pop(key_of(line), None)  # what it was told of an earlier delivery

    def _compare(self, other: Line, line: Line) -> None:
        """Check a start against one whose handler has not ended."""
        consumer = self.scene.consumer(other.consumer)
        if consumer.dead or other.entry_id == line.entry_id or self.scene.faults & _UNSURE:
            return
        if other.consumer == line.consumer or self._is_held(other, line.time):
            words = f"{line.entry_id} starts while {other.consumer} runs {other.entry_id}"
            self.broken(f"{words}, which has the same key", line)

    def _is_held(self, other: Line, now: float) -> bool:
        if (other.topic, other.group) not in self.scene.witnessed:
            return not self.scene.faults and key_of(other) not in self._leases
        name, until = self._leases.get(key_of(other), ("", 0.0))
        return name == other.consumer and now < until - _SLACK

    def _hear_ended(self, line: Line) -> None:
        if line.entry_id is not None:
            for running in self._running.values():
                running.pop((line.consumer, line.entry_id), None)

    def _hear_lease(self, line: Line) -> None:
        lease = self.scene.consumer(line.consumer).lease
        self._leases[key_of(line)] = (line.consumer, line.time + lease)

    def _hear_over(self, line: Line) -> None:
        if line.entry_id is not None:
            self._leases[key_of(line)] = ("", 0.0)
