"""Invariant 15: in the end everything is finished."""

from __future__ import annotations

from trio_bus.testing._places import FINISHED, Places

from .rule import Rule


class Progress(Rule):
    """After the last fault everything is finished, within lease and backoff.

    Whoever runs the world waits as long as that may take, and says then that it is over.
    """

    number = 15
    name = "progress"
    seen_by = "where entries are when the run is over"
    weakened_by = "nothing: the faults are over"

    def finish(self, places: Places | None) -> None:
        """Look for what is not finished."""
        for topic, name in self.scene.configs if places is not None else ():
            group = None if places is None else places.group(topic, name)
            if group is None:
                continue
            counts = group.counts
            rest = {place: n for place, n in counts.items() if n and place not in FINISHED}
            if rest:
                words = ", ".join(f"{n} in {place}" for place, n in sorted(rest.items()))
                self.broken(f"{topic}/{name} has not finished everything: {words}")
