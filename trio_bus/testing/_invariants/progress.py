"""Invariant 15: in the end everything is finished."""

from __future__ import annotations

from trio_bus.testing._places import FINISHED, GroupPlaces, Places

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
            rest = _unfinished(group)
            if rest:
                self.broken(f"{topic}/{name} has not finished everything: {', '.join(rest)}")


def _unfinished(group: GroupPlaces) -> list[str]:
    """Say what is where: each entry if it can be seen, or else how many."""
    if group.spots is None:
        return [f"{n} in {place}" for place, n in sorted(group.counts.items()) if _counts(place, n)]
    spots = sorted(group.spots.items())
    return [f"{key} in {spot.place}" for key, spot in spots if _counts(spot.place, 1)]


def _counts(place: str, number: int) -> bool:
    return number > 0 and place not in FINISHED
