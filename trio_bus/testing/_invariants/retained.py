"""Invariant 17: what is not finished is not removed; and what is, is."""

from __future__ import annotations

from math import inf

from trio_bus._entry_id import EntryId
from trio_bus._names import is_private
from trio_bus._retention import Retention
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import DONE, Places, TopicPlaces

from .rule import Ears, Key, Rule, each, key_of
from .scene import Scene


class Retained(Rule):
    """Retention removes only what every group has finished, and what is beyond its bounds.

    Unless it has ``finished=False``: that is a declared loss. What is pending for anybody is not
    finished, nor is what a group keeps as dead. And in the end nothing is left that all have
    finished and that is one too many.
    """

    number = 17
    name = "retention"
    seen_by = "what a look removes, settlements; where each entry is when the run is over"
    weakened_by = "groups and topics that were deleted, and private groups that nobody kept"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._finished: set[Key] = set()
        self._gone: set[tuple[str, EntryId]] = set()
        self._kept_until: dict[tuple[str, str], float] = {}

    def hears(self) -> Ears:
        """Listen to what the server does with entries."""
        return {
            **each((What.ACKED, What.BURIED, What.DROPPED), self._hear_settled),
            What.RETAINED: self._hear_removed,
            **each((What.BEGUN, What.KEPT), self._hear_kept),
        }

    def _hear_kept(self, line: Line) -> None:
        if line.seconds is not None:
            self._kept_until[line.topic, line.group] = line.time + line.seconds

    def _hear_settled(self, line: Line) -> None:
        config = self.scene.configs.get((line.topic, line.group))
        kept = line.what is What.BURIED and config and config.dead_letter_topic is None
        if line.entry_id is not None and not kept:
            self._finished.add(key_of(line))

    def _hear_removed(self, line: Line) -> None:
        config = self.scene.configs.get((line.topic, line.group))
        retention = None if config is None else config.retention
        if retention is None:
            self.broken(f"{line.group} removes entries, and has no retention", line)
        known = (line.topic, line.entry_id) if line.entry_id is not None else None
        if known is None or known in self._gone or line.topic in self.scene.uprooted:
            return  # another one removed it in the same moment
        self._gone.add(known)
        if not _is_beyond(line, retention):
            self.broken(f"{line.entry_id} is removed, and is within {retention}", line)
        for topic, group in sorted(self.scene.witnessed - self.scene.destroyed):
            key = (topic, group, known[1])
            if is_private(group) and line.time > self._kept_until.get((topic, group), inf):
                continue  # others may have removed it
            if retention.finished and topic == line.topic and key not in self._finished:
                self.broken(f"{line.entry_id} is removed, and {group} has not finished it", line)

    def finish(self, places: Places | None) -> None:
        """Look for what should have been removed by now."""
        for (topic, group), config in self.scene.configs.items():
            there = None if places is None else places.topics.get(topic)
            if there is None or config.retention is None or topic in self.scene.uprooted:
                continue
            for entry_id in _too_many(there, config.retention):
                self.broken(f"all have finished {entry_id}, and {group} has not removed it")


def _is_beyond(line: Line, retention: Retention) -> bool:
    too_old = retention.max_age is not None and (line.seconds or 0) > retention.max_age
    kept = retention.max_length
    return too_old or (kept is not None and (line.count or 0) >= kept)


def _too_many(there: TopicPlaces, retention: Retention) -> list[EntryId]:
    """Return what is beyond the bound of length, and finished as all before it is."""
    if retention.max_length is None or there.records is None:
        return []
    known = sorted(there.records)
    found: list[EntryId] = []
    for entry_id in known[: max(0, len(known) - retention.max_length)]:
        spots = [(group.spots or {}).get(entry_id) for group in there.groups.values()]
        if any(spot is None or spot.place != DONE for spot in spots):
            break
        found.append(entry_id)
    return found
