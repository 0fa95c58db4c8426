"""Invariant 14: nothing is left behind."""

from __future__ import annotations

from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .rule import Ears, Rule
from .scene import Scene


class Leaks(Rule):
    """Cancelled wherever it was, nothing leaks a task, a connection or an entry.

    No handler runs once its subscription is left; what a census of tasks and connections finds is
    said in the journal. Whoever is gone holds nothing on the server, and is no consumer any more.
    """

    number = 14
    name = "leaks"
    seen_by = "ends of handlers and subscriptions, what a census finds; who holds what"
    weakened_by = "what could not be given back because of a fault is left to its lease"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._left: dict[tuple[str, str], set[str]] = {}

    def hears(self) -> Ears:
        """Listen to ends, and to the census."""
        return {What.LEAKED: self._hear_leak, What.LEFT: self._hear_left}

    def _hear_leak(self, line: Line) -> None:
        self.broken(f"{line.actor} left {line.detail} behind", line)

    def _hear_left(self, line: Line) -> None:
        running = self.scene.consumer(line.consumer).running
        if running:
            keys = ", ".join(str(key) for key in running)
            self.broken(f"handlers of {line.consumer} still run: {keys}", line)
        if not self.scene.faults:
            self._left.setdefault((line.topic, line.group), set()).add(line.consumer)

    def check(self, places: Places) -> None:
        """Look for what those hold who are gone."""
        for where, names in self._left.items():
            group = places.group(*where)
            if group is None:
                continue
            left = sorted(names & group.holders)
            if left:
                held = group.held_by(left[0])
                self.broken(f"{left[0]} is gone, and still a consumer with {held} entries")

    def finish(self, places: Places | None) -> None:
        """Look once more."""
        if places is not None:
            self.check(places)
