"""Whose turn it is where an order is kept."""

from __future__ import annotations

from collections import defaultdict
from math import inf

import attrs

from trio_bus._entry_id import EntryId
from trio_bus.testing._line import Line, What

ENDED = frozenset({What.SUCCEEDED, What.FAILED, What.CANCELLED})
"""How handlers end."""
FEW = 100
"""Entries that may be parked, and wait for their keys."""


@attrs.define
class _Group:
    keys: dict[EntryId, str] = attrs.field(factory=dict[EntryId, str])
    unfinished: set[EntryId] = attrs.field(factory=set[EntryId])
    running: dict[EntryId, str] = attrs.field(factory=dict[EntryId, str])
    """The actor whose handler works on it."""
    freed: dict[str | None, float] = attrs.field(factory=dict[str | None, float])
    """When anything happened last to an entry of that key; under None, to any."""

    def note(self, entry_id: EntryId, time: float) -> None:
        self.freed[self.keys.get(entry_id)] = self.freed[None] = time

    def before(self, entry_id: EntryId, at_work: set[EntryId]) -> set[EntryId]:
        """Return what has to end before it may start."""
        name = self.keys.get(entry_id)
        if name == "":
            return at_work & {entry_id}
        earlier = {*at_work, *(it for it in self.unfinished if it < entry_id)}
        return {it for it in earlier if name is None or self.keys.get(it, name) == name}


class Turns:
    """What the lines so far say of the entries that wait for others with the same key.

    The key of an entry is known when a handler has seen it; before that it may be any.
    """

    def __init__(self) -> None:
        self._groups: defaultdict[tuple[str, str], _Group] = defaultdict(_Group)

    def begin(self, line: Line) -> None:
        """Take note of a handler that starts."""
        if line.entry_id is not None:
            group = self._groups[line.topic, line.group]
            group.keys[line.entry_id] = line.key
            group.unfinished.add(line.entry_id)
            group.running[line.entry_id] = line.actor
            group.note(line.entry_id, line.time)

    def end(self, line: Line) -> None:
        """Take note of a handler that has ended, or of an entry that is held no longer."""
        if line.entry_id is not None:
            group = self._groups[line.topic, line.group]
            if line.what in ENDED:
                group.running.pop(line.entry_id, None)
            group.note(line.entry_id, line.time)

    def finish(self, line: Line) -> None:
        """Take note of an entry that is done, or dead."""
        if line.entry_id is not None:
            group = self._groups[line.topic, line.group]
            group.unfinished.discard(line.entry_id)
            group.note(line.entry_id, line.time)

    def come_back(self, line: Line) -> None:
        """Take note of an entry that was sent back from the dead."""
        if line.entry_id is not None:
            self._groups[line.topic, line.group].unfinished.add(line.entry_id)

    def die(self, actor: str) -> None:
        """Take note of the end of all handlers of an actor."""
        for group in self._groups.values():
            group.running = {it: who for it, who in group.running.items() if who != actor}

    def of(
        self, topic: str, group: str, entry_id: EntryId, held: set[EntryId], max_parked: int
    ) -> float:
        """Return since when nothing is before an entry.

        That is what has its key, or may have it, and is *held* by a consumer or came before; and,
        where few may be parked, anything else.
        """
        known = self._groups[topic, group]
        at_work = {*known.running, *held}
        others = (at_work | known.unfinished) - {entry_id}
        may_be_full = max_parked < FEW and bool(others)  # what is parked is seen by nobody
        if known.before(entry_id, at_work) or may_be_full:
            return inf
        return known.freed.get(None if max_parked < FEW else known.keys.get(entry_id), -inf)
