"""Invariant 15: what a dead one held is taken over when its lease ends."""

from __future__ import annotations

import attrs

from trio_bus._modes import OrderingMode
from trio_bus._subscription.turn import CHECKS_PER_LEASE
from trio_bus.testing._line import Line, What

from .hand_over import GRACE
from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget, key_of
from .scene import Consumer, Scene


@attrs.frozen
class _Lease:
    """Who holds an entry, and until when by the last that the server heard of it."""

    consumer: str
    until: float


class Inheritance(Rule):
    """What a dead consumer held is taken over when its lease ends, and not later.

    Within ``reclaim_interval`` after that somebody has it who was free all the time, however
    seldom those look that have nothing to do.
    """

    number = 15
    name = "inheritance"
    seen_by = "deliveries and renewals of the server, deaths, and what consumers hold"
    weakened_by = "anything that went wrong, but deaths; suspects run alone, and keys have an order"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._leases: dict[Key, _Lease] = {}
        self._look_at = 0.0

    def hears(self) -> Ears:
        """Listen to what begins and ends leases, and to the time."""
        over = (What.ACKED, What.RETRIED, What.RELEASED, What.BURIED, What.DROPPED, What.SET_APART)
        lost = (What.DELETED, What.TRIMMED, What.RETAINED, *BEGINS_ANEW)
        return {
            **each((What.GIVEN, What.RENEWED), self._hear_lease),
            **each(over, self._hear_over),
            **each(lost, self._hear_lost),
            **each((What.COMMAND, What.OVER, What.QUIET), self._hear_time),
        }

    def _hear_lease(self, line: Line) -> None:
        self._hear_time(line)
        until = line.time + self.scene.consumer(line.consumer).lease
        self._leases[key_of(line)] = _Lease(line.consumer, until)

    def _hear_over(self, line: Line) -> None:
        self._hear_time(line)
        self._leases.pop(key_of(line), None)

    def _hear_lost(self, line: Line) -> None:
        forget(line, self._leases)

    def _hear_time(self, line: Line) -> None:
        """Look, a few times in a second, whether somebody waits too long."""
        if not self._leases or line.time < self._look_at:
            return
        self._look_at = line.time + GRACE
        if self.scene.punctual and self.scene.only_deaths:
            for key, lease in self._leases.items():
                if lease.until < line.time and self.scene.consumer(lease.consumer).dead:
                    self._look(key, lease, line)

    def _look(self, key: Key, lease: _Lease, line: Line) -> None:
        config = self.scene.configs[key[:2]]
        if key[:2] in self.scene.suspicious or config.ordering_mode is OrderingMode.KEY:
            return
        for consumer in self.scene.groups.get(key[:2], {}).values():
            if line.time > consumer.could_take(lease.until) + _bound(consumer):
                words = f"the lease of {lease.consumer} on {key[2]} was over at {lease.until:.3f} s"
                self.broken(f"{words}, and {consumer.name} could have taken it", line)


def _bound(consumer: Consumer) -> float:
    """Return how long it may take: a tick, or to see that a suspect was taken by another."""
    config = consumer.config
    assert config is not None, "who could take something has joined"
    return GRACE + config.reclaim_interval + config.claim_idle_timeout / CHECKS_PER_LEASE
