"""Invariant 17: what is not finished is not removed; and what is, is."""

from __future__ import annotations

from math import inf

from trio_bus._entry_id import EntryId
from trio_bus._names import is_private
from trio_bus._observer import Transition
from trio_bus._retention import Retention
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import DONE, Places, TopicPlaces

from .rule import Ears, Key, Rule, each, key_of
from .scene import Scene


class Retained(Rule):
    """Retention removes only what every group has finished, and what is beyond its bounds.

    What is pending for anybody is not finished, nor is what a group keeps as dead. With
    ``finished=False``, a declared loss, all goes that is beyond the bounds, and nothing else: what
    was pending then is settled by whoever has it, or is told as VANISHED. And in the end nothing
    is left that is one too many, and that all have finished.
    """

    number = 17
    name = "retention"
    seen_by = "what a look removes, settlements; where each entry is when the run is over"
    weakened_by = (
        "groups and topics that were deleted, and private groups that nobody kept; of what was "
        "lost while it was pending nobody need be told after any fault"
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._finished: set[Key] = set()
        self._gone: set[tuple[str, EntryId]] = set()
        self._kept_until: dict[tuple[str, str], float] = {}
        self._begins: dict[tuple[str, str], EntryId] = {}
        self._given: set[Key] = set()
        self._lost: dict[Key, Line] = {}
        """What was removed while it was pending, and nobody was told so far."""

    def hears(self) -> Ears:
        """Listen to what the server does with entries."""
        return {
            **each((What.ACKED, What.BURIED, What.DROPPED), self._hear_settled),
            What.RETAINED: self._hear_removed,
            What.BEGUN: self._hear_begun,
            What.KEPT: self._hear_kept,
            Transition.DRAINING: self._hear_end,
            What.GIVEN: self._hear_given,
            Transition.VANISHED: self._hear_told,
        }

    def _hear_begun(self, line: Line) -> None:
        if line.entry_id is not None:
            self._begins[line.topic, line.group] = line.entry_id
        self._keep(line)

    def _hear_kept(self, line: Line) -> None:
        if self._kept_until.get((line.topic, line.group)) != -inf:
            self._keep(line)

    def _keep(self, line: Line) -> None:
        if line.seconds is not None:
            self._kept_until[line.topic, line.group] = line.time + line.seconds

    def _hear_end(self, line: Line) -> None:
        self._kept_until[line.topic, line.group] = -inf  # whatever is renewed

    def _hear_settled(self, line: Line) -> None:
        config = self.scene.configs.get((line.topic, line.group))
        kept = line.what is What.BURIED and config and config.dead_letter_topic is None
        if line.entry_id is not None and not kept:
            self._finished.add(key_of(line))
        if line.entry_id is not None and line.what is not What.DROPPED:
            self._lost.pop(key_of(line), None)

    def _hear_given(self, line: Line) -> None:
        self._given.add(key_of(line))

    def _hear_told(self, line: Line) -> None:
        self._lost.pop(key_of(line), None)

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
            if topic != line.topic or key in self._finished:
                continue
            if not retention.finished:
                self._lose(key, line)
                continue
            if not (is_private(group) and self._is_nothing_to(key, line.time)):
                self.broken(f"{line.entry_id} is removed, and {group} has not finished it", line)

    def _lose(self, key: Key, line: Line) -> None:
        """Take note that it was removed while somebody had it, or was to have it again."""
        config = self.scene.configs.get(key[:2])
        if key in self._given and config is not None and config.dead_letter_topic is not None:
            self._lost[key] = line  # without one, what is dead may be gone

    def _is_nothing_to(self, key: Key, now: float) -> bool:
        """Say whether a private group begins behind an entry, or others may have removed it."""
        where = key[:2]
        begin, until = self._begins.get(where), self._kept_until.get(where, inf)
        return now > until or (begin is not None and key[2] <= begin)

    def finish(self, places: Places | None) -> None:
        """Look for what should have been removed by now, and for losses that were not told."""
        for (_, group, entry_id), line in self._lost.items():
            if not self.scene.faults:
                self.broken(f"{entry_id} is removed, and {group} was told of no end", line)
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
        if retention.finished and any(spot is None or spot.place != DONE for spot in spots):
            break
        found.append(entry_id)
    return found
