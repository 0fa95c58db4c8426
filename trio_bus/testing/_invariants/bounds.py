"""Invariant 6: how much a consumer takes."""

from __future__ import annotations

from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .rule import Ears, Rule, Subject, each
from .scene import BEGINNINGS


class Bounds(Rule):
    """Running handlers <= max_in_flight; held entries <= that and max_pending_acks.

    What the server has for a consumer is bound by the same, as long as every answer arrived.
    """

    number = 6
    name = "bounds"
    seen_by = "starts and ends of handlers, what consumers are told; who holds how many entries"
    weakened_by = "after any fault the server may hold more for a consumer than it knows"

    def hears(self) -> Ears:
        """Listen to all that takes a place."""
        more: tuple[Subject, ...] = (What.STARTED, What.JOINED, *BEGINNINGS)
        return each(more, self._hear_more)

    def _hear_more(self, line: Line) -> None:
        consumer = self.scene.consumer(line.consumer)
        if consumer.config is None:
            return
        running, limit = len(consumer.running), consumer.config.max_in_flight
        if running > limit:
            self.broken(f"{running} handlers run, and max_in_flight is {limit}", line)
        held, most = len(consumer.held), limit + consumer.config.pending_ack_limit
        if held > most:
            self.broken(f"{held} entries are held, and {most} are allowed", line)

    def check(self, places: Places) -> None:
        """Count what the server has for each consumer."""
        if self.scene.faults:
            return
        for (topic, name), members in self.scene.groups.items():
            group = places.group(topic, name)
            if group is None:
                continue
            for consumer in members.values():
                if consumer.config is None:
                    continue
                most = consumer.config.max_in_flight + consumer.config.pending_ack_limit
                held = group.held_by(consumer.name)
                if held > most:
                    words = f"{held} entries are pending for {consumer.name}: {most} are allowed"
                    self.broken(words)
