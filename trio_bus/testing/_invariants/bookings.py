"""Invariant 12: who leaves keeps no suspect waiting."""

from __future__ import annotations

from trio_bus.testing._line import Line, What

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget_group, key_of
from .scene import Scene


class Bookings(Rule):
    """Who leaves gives up what it has booked.

    So that a suspect starts elsewhere at once, and not after a lease.
    """

    number = 12
    name = "bookings"
    seen_by = "what the server books for whom, and when subscriptions are left"
    weakened_by = "anything that went wrong, but deaths"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._booked: dict[Key, Line] = {}

    def hears(self) -> Ears:
        """Listen to bookings, to what ends them, and to ends of subscriptions."""
        over = (What.UNBOOKED, What.GIVEN, What.BURIED, What.DROPPED)
        return {
            What.BOOKED: self._hear_booked,
            **each(over, self._hear_over),
            **each(BEGINS_ANEW, self._hear_destroyed),
            What.LEFT: self._hear_left,
        }

    def _hear_booked(self, line: Line) -> None:
        self._booked[key_of(line)] = line

    def _hear_over(self, line: Line) -> None:
        self._booked.pop(key_of(line), None)

    def _hear_destroyed(self, line: Line) -> None:
        forget_group(line, self._booked)

    def _hear_left(self, line: Line) -> None:
        if not self.scene.only_deaths:
            return
        for booked in self._booked.values():
            until = booked.time + self.scene.consumer(booked.consumer).lease
            if booked.consumer == line.consumer and line.time < until:
                words = f"{line.consumer} is gone, and {booked.entry_id} waits for it"
                self.broken(f"{words} until {until:.3f} s", line)
