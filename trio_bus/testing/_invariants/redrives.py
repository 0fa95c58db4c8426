"""Promises about what is dead: it lies where it can be found, until it is sent back."""

from __future__ import annotations

from collections import Counter

from trio_bus._dead_letter import ONLY, encode_text, history_of
from trio_bus._entry_id import EntryId
from trio_bus._names import DEAD, is_private
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import GroupPlaces, Places, TopicPlaces

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget_group, key_of
from .scene import Scene


class Redrives(Rule):
    """What is dead is sent back into the group that gave it up, once, and lies where it was before.

    So it is in the dead-letter topic, or kept by its group, up to the step in which it is pending
    again. Its history is kept: there is one account for each time that it was given up. A copy of
    one that had outlived its entry is started by that group alone.
    """

    number = 4
    name = "redrives"
    seen_by = "what the server buries and sends back; records of all streams, and where entries are"
    weakened_by = "entries, groups and topics that were deleted, and private groups that went"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._dead: dict[Key, Line] = {}
        self._deaths: Counter[Key] = Counter()
        self._started: dict[tuple[str, EntryId], set[str]] = {}

    def hears(self) -> Ears:
        """Listen to deaths, to what is sent back, and to starts."""
        return {
            What.BURIED: self._hear_buried,
            **each((What.REDRIVEN, What.COPIED), self._hear_redriven),
            What.STARTED: self._hear_started,
            **each(BEGINS_ANEW, self._hear_destroyed),
        }

    def _hear_buried(self, line: Line) -> None:
        self._dead[key_of(line)] = line
        self._deaths[key_of(line)] += 1

    def _hear_redriven(self, line: Line) -> None:
        known = key_of(line)[:2] in self.scene.witnessed - self.scene.destroyed
        if self._dead.pop(key_of(line), None) is None and known:
            self.broken(f"{line.entry_id} is sent back, and was not dead", line)

    def _hear_started(self, line: Line) -> None:
        topic, group, entry_id = key_of(line)
        self._started.setdefault((topic, entry_id), set()).add(group)

    def _hear_destroyed(self, line: Line) -> None:
        forget_group(line, self._dead)

    @property
    def groups(self) -> list[tuple[str, str]]:
        """The groups, each with its topic, of which something is dead."""
        return sorted({key[:2] for key in self._dead})

    def finish(self, places: Places | None) -> None:
        """Look once more."""
        if places is not None:
            self.quiet(places)

    def _look_for_all(self, places: Places) -> None:
        if not places.exact or not self._dead:
            return
        letters = {
            (letter.topic, letter.group, letter.entry_id)
            for there in places.topics.values()
            for letter, _ in there.letters()
        }
        for key, line in self._dead.items():
            topic, group, entry_id = key
            kept = places.group(topic, group)
            found = key in letters or _is_kept(kept, entry_id)
            went = kept is None and is_private(group)  # and took along what it kept
            if not (found or went or (topic, entry_id) in self.scene.deleted):
                self.broken(f"{entry_id} is dead, and lies nowhere", line)

    def quiet(self, places: Places) -> None:
        """Look whether all that is dead can be found, and who has started copies."""
        self._look_for_all(places)
        for topic, there in places.topics.items():
            for letter, record in there.letters():
                key = (letter.topic, letter.group, letter.entry_id)
                self._check_history(key, len(history_of(record)))
            if topic in self.scene.copied:
                self._check_copies(topic, there)

    def _check_history(self, key: Key, accounts: int) -> None:
        known = key[:2] in self.scene.witnessed and key[:2] not in self.scene.destroyed
        if known and accounts < self._deaths[key]:
            words = f"{key[2]} was given up {self._deaths[key]} times"
            self.broken(f"{words}, and its dead letter tells of {accounts}")

    def _check_copies(self, topic: str, there: TopicPlaces) -> None:
        for entry_id, record in (there.records or {}).items():
            name, group = record[-1]
            groups = self._started.get((topic, entry_id), set[str]())
            others = [it for it in groups if name == ONLY and encode_text(it) != group]
            if others:
                self.broken(f"{entry_id} is a copy for {group!r}, and {others[0]!r} started it")


def _is_kept(group: GroupPlaces | None, entry_id: EntryId) -> bool:
    spot = None if group is None or group.spots is None else group.spots.get(entry_id)
    return spot is not None and spot.place == DEAD
