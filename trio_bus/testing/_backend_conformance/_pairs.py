"""Which id of the subject stands for which id of the model: both give their own."""

from __future__ import annotations

import re
from bisect import bisect_left, insort

from trio_bus._entry_id import EntryId

_NOTHING = EntryId(0)
_ID = re.compile(r"\b[0-9]+-[0-9]+\b")


class Pairs:
    """What is known of ids, topic by topic. Both sides order their ids alike."""

    def __init__(self) -> None:
        self._theirs: dict[tuple[str, EntryId], EntryId] = {}
        self._mine: dict[tuple[str, EntryId], EntryId] = {}
        self._order: dict[str, list[EntryId]] = {}

    def agree(self, topic: str, mine: EntryId, theirs: EntryId) -> bool:
        """Say whether these may be one entry; from now on they are, if nothing was known."""
        if _NOTHING in (mine, theirs):
            return mine == theirs
        known = self._theirs.get((topic, mine))
        if known is not None or (topic, theirs) in self._mine:
            return known == theirs
        if not self._fits(topic, mine, theirs):
            return False
        self._theirs[topic, mine] = theirs
        self._mine[topic, theirs] = mine
        insort(self._order.setdefault(topic, []), mine)
        return True

    def mine(self, topic: str, theirs: EntryId) -> EntryId:
        """Return the id of the model; one that stands for nothing if there is none."""
        return self._mine.get((topic, theirs), EntryId(1, 1))

    def label(self, topic: str, mine: EntryId) -> str:
        """Name an entry of the model as people do: the third one of topic a is ``a#3``."""
        short = topic.rpartition(".")[2]
        if mine == _NOTHING:
            return "the beginning"
        order = self._order.get(topic, [])
        return f"{short}#{bisect_left(order, mine) + 1}" if mine in order else f"{short}#new"

    def name_entries(self, topic: str, text: str) -> str:
        """Write a text of the subject with the names of entries in place of their ids."""

        def name(found: re.Match[str]) -> str:
            mine = self._mine.get((topic, EntryId.parse(found[0])))
            return found[0] if mine is None else self.label(topic, mine)

        return _ID.sub(name, text)

    def _fits(self, topic: str, mine: EntryId, theirs: EntryId) -> bool:
        order = self._order.get(topic, [])
        at = bisect_left(order, mine)
        before = self._theirs[topic, order[at - 1]] if at else _NOTHING
        after = self._theirs[topic, order[at]] if at < len(order) else None
        return before < theirs and (after is None or theirs < after)
