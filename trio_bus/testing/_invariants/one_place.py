"""Invariant 1: nothing that was confirmed is lost."""

from __future__ import annotations

from collections.abc import Mapping

from trio_bus._entry_id import EntryId
from trio_bus._observer import Transition
from trio_bus._subscription.group import first_id
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import DONE, GroupPlaces, Places

from .rule import Ears, Rule, each, key_of
from .scene import Scene


class OnePlace(Rule):
    """Each confirmed publish is, in each group, undelivered, pending, done or dead.

    An entry is in one place by construction. So what is checked is that it is still in the stream,
    that no two messages were confirmed as one, and that what counts as done was settled by
    somebody: entries that a consumer held are done for the server when that consumer is deleted.
    """

    number = 1
    name = "one place"
    seen_by = "confirmed publishes, settlements; where each entry is"
    weakened_by = "entries, groups and topics that were deleted; what a retention removes"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._confirmed: dict[str, dict[EntryId, Line]] = {}
        self._settled: dict[tuple[str, str], set[EntryId]] = {}

    def hears(self) -> Ears:
        """Listen to confirmations and settlements."""
        settled = (What.ACKED, What.BURIED, What.DROPPED, Transition.ACKED, Transition.VANISHED)
        lost = (Transition.DEAD_LETTERED, Transition.UNCONFIRMED, Transition.LEASE_LOST)
        return {
            What.PUBLISHED: self._hear_confirmed,
            What.REDRIVEN: self._hear_redriven,
            **each((*settled, *lost), self._hear_settled),
        }

    def _hear_confirmed(self, line: Line) -> None:
        if line.entry_id is None:
            return
        first = self._confirmed.setdefault(line.topic, {}).setdefault(line.entry_id, line)
        if first.label != line.label and line.topic not in self.scene.uprooted:
            words = f"{line.label!r} was confirmed as {line.entry_id}"
            self.broken(f"{words}, and so was {first.label!r}", line)

    def _hear_settled(self, line: Line) -> None:
        if line.entry_id is not None:
            self._settled.setdefault((line.topic, line.group), set()).add(line.entry_id)

    def _hear_redriven(self, line: Line) -> None:
        self._settled.get((line.topic, line.group), set[EntryId]()).discard(key_of(line)[2])

    def check(self, places: Places) -> None:
        """Look for entries that are in no stream; and for settled ones where all is witnessed."""
        self._look(places, witnessed=True)

    def quiet(self, places: Places) -> None:
        """Look for them in every group: what was settled has been told now."""
        self._look(places, witnessed=False)

    def finish(self, places: Places | None) -> None:
        """Look once more."""
        if places is not None:
            self._look(places, witnessed=False)

    def _look(self, places: Places, *, witnessed: bool) -> None:
        for topic, confirmed in self._confirmed.items():
            there = places.topics.get(topic)
            if there is None or topic in self.scene.uprooted:
                continue
            deleted = self.scene.removed
            if there.records is None:
                missing = sum((topic, key) not in deleted for key in confirmed) - there.length
                if missing > self.scene.trimmed[topic]:
                    self.broken(f"{missing} confirmed entries are not in the stream {topic!r}")
                continue
            for key, line in confirmed.items():
                if key not in there.records and (topic, key) not in deleted:
                    self.broken(f"{key} ({line.label!r}) was confirmed, and is not in the stream")
            for name, group in there.groups.items():
                if not witnessed or (topic, name) in self.scene.witnessed:
                    self._look_at_group(topic, name, group, confirmed)

    def _look_at_group(
        self, topic: str, name: str, group: GroupPlaces, confirmed: Mapping[EntryId, Line]
    ) -> None:
        config = self.scene.configs.get((topic, name))
        begins_later = config is None or first_id(config) != EntryId(0, 0)
        if begins_later or (topic, name) in self.scene.destroyed or group.spots is None:
            return
        settled = self._settled.get((topic, name), set())
        for key, line in confirmed.items():
            spot = group.spots.get(key)
            if spot is not None and spot.place == DONE and key not in settled:
                self.broken(f"{key} ({line.label!r}) counts as done in {name!r}: nobody settled it")
