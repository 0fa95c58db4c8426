"""Invariant 5: a retry stays in its group."""

from __future__ import annotations

from collections import Counter

from trio_bus._entry_id import EntryId
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule
from .scene import Scene


class OwnGroups(Rule):
    """A retry in one group is invisible to every other: it makes no new entry.

    One message has one entry for each time that it was published, and for each copy of a dead
    letter that had outlived its entry; whoever retries by publishing makes another one, which every
    group starts.
    """

    number = 5
    name = "own groups"
    seen_by = "publishes, and starts of handlers with the label of their message"
    weakened_by = "nothing; every message of a run needs a label of its own"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._published: Counter[tuple[str, str]] = Counter()
        self._entries: dict[tuple[str, str], set[EntryId]] = {}
        self._copies: Counter[tuple[str, EntryId | None]] = Counter()

    def hears(self) -> Ears:
        """Listen to publishes and starts."""
        return {
            What.PUBLISHING: self._hear_publishing,
            What.SCHEDULING: self._hear_publishing,
            What.COPIED: self._hear_copied,
            What.PUBLISHED: self._hear_entry,
            What.STARTED: self._hear_entry,
        }

    def _hear_publishing(self, line: Line) -> None:
        self._published[line.topic, line.label] += 1

    def _hear_copied(self, line: Line) -> None:
        self._copies[line.topic, line.entry_id] += 1

    def _hear_entry(self, line: Line) -> None:
        message = (line.topic, line.label)
        if line.entry_id is None or message not in self._published:
            return
        entries = self._entries.setdefault(message, set())
        entries.add(line.entry_id)
        copies = sum(self._copies[line.topic, it] for it in entries)
        times = self._published[message] + copies
        if len(entries) > times:
            words = f"{line.label!r} has {len(entries)} entries, and was published {times} times"
            self.broken(words, line)
