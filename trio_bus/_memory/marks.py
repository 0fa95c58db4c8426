"""The keys of records that are stored once, until their time is over."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from trio_bus._entry_id import EntryId


class Marks:
    """Remembers under which id a record with a key was stored.

    Invariant: ``_ends`` holds exactly one item for each mark. What is over is dropped by the next
    step that looks, so that no more is kept than was stored within the window.
    """

    __slots__ = ("_ends", "_ids")

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], EntryId] = {}
        self._ends: list[tuple[int, tuple[str, str]]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, topic: str, key: str, now_ms: int) -> EntryId | None:
        """Return the id that *key* stands for, if it still does."""
        while self._ends and self._ends[0][0] < now_ms:
            del self._ids[heappop(self._ends)[1]]
        return self._ids.get((topic, key))

    def add(self, topic: str, key: str, entry_id: EntryId, end_ms: int) -> None:
        """Remember a key that `find` did not find, up to and including *end_ms*."""
        self._ids[topic, key] = entry_id
        heappush(self._ends, (end_ms, (topic, key)))

    def remove(self, topic: str, key: str) -> None:
        """Forget a key that is remembered."""
        del self._ids[topic, key]
        self._ends = [end for end in self._ends if end[1] != (topic, key)]
        heapify(self._ends)

    def first_end(self, after_ms: float) -> float | None:
        """Return when the first key is forgotten that is forgotten later than that."""
        return min((at for at, _ in self._ends if at > after_ms), default=None)
