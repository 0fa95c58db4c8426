"""Invariant 9: the server has for us what we hold."""

from __future__ import annotations

from trio_bus._entry_id import EntryId
from trio_bus.testing._places import GroupPlaces, Places

from .rule import Rule
from .scene import Consumer


class InFlight(Rule):
    """At quiet moments the entries that are pending for a consumer are those that it holds.

    What it was told is lost, or was not confirmed, may still be pending for it.
    """

    number = 9
    name = "in flight"
    seen_by = "what consumers are told; who holds what at a quiet moment"
    weakened_by = "until it is over, a fault may keep an answer away; deleted groups and entries"

    def quiet(self, places: Places) -> None:
        """Compare."""
        if not self.scene.calm:
            return
        for where, members in self.scene.groups.items():
            group = places.group(*where)
            if group is None or where in self.scene.destroyed:
                continue
            for consumer in members.values():
                if consumer.works:
                    self._compare(consumer, group)

    def _compare(self, consumer: Consumer, group: GroupPlaces) -> None:
        held = set(consumer.held.values())
        if group.spots is None:
            pending, least = group.held_by(consumer.name), len(held)
            if not least <= pending <= least + len(consumer.given_up):
                self.broken(f"{consumer.name} holds {least} entries, the server says {pending}")
            return
        there = {key for key, spot in group.spots.items() if spot.place == consumer.name}
        removed = self.scene.removed
        gone = {key for key in held - there if (consumer.topic, key) not in removed}
        if gone:
            self.broken(f"{consumer.name} holds {_ids(gone)}, which is not pending for it")
        unknown = there - held - consumer.given_up
        if unknown:
            self.broken(f"{_ids(unknown)} is pending for {consumer.name}, which does not hold it")


def _ids(keys: set[EntryId]) -> str:
    return ", ".join(str(key) for key in sorted(keys))
