"""A map whose keys are entry ids, kept in their order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

from trio_bus._entry_id import EntryId

V = TypeVar("V")


class IdMap(Generic[V]):
    """Values by entry id, in id order.

    Invariant: ``_ids[_head:]`` holds the keys of ``_values``, sorted. What lies before ``_head``
    was removed: streams lose their oldest entries first, and a list gives those up slowly.
    """

    __slots__ = ("_head", "_ids", "_values")

    def __init__(self) -> None:
        self._ids: list[EntryId] = []
        self._head = 0
        self._values: dict[EntryId, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, entry_id: EntryId) -> bool:
        return entry_id in self._values

    def __iter__(self) -> Iterator[EntryId]:
        return islice(self._ids, self._head, None)

    def __getitem__(self, entry_id: EntryId) -> V:
        return self._values[entry_id]

    def __setitem__(self, entry_id: EntryId, value: V) -> None:
        if entry_id not in self._values:
            self._insert(entry_id)
        self._values[entry_id] = value

    def get(self, entry_id: EntryId) -> V | None:
        """Return the value of *entry_id*, or None."""
        return self._values.get(entry_id)

    def pop(self, entry_id: EntryId) -> V | None:
        """Remove *entry_id* and return its value; None if it is not there."""
        value = self._values.pop(entry_id, None)
        if value is not None:
            self._remove(entry_id)
        return value

    def first(self) -> EntryId | None:
        """Return the smallest id, or None."""
        return self._ids[self._head] if self._values else None

    def last(self) -> EntryId | None:
        """Return the greatest id, or None."""
        return self._ids[-1] if self._values else None

    def first_of_last(self, count: int) -> EntryId:
        """Return the smallest of the *count* greatest ids; *count* is at least 1, at most all."""
        return self._ids[-count]

    def ids(self, start: EntryId, end: EntryId) -> Iterator[EntryId]:
        """Walk over the ids between both bounds, inclusive. Do not change the map meanwhile."""
        ids = self._ids
        for index in range(bisect_left(ids, start, self._head), len(ids)):
            if ids[index] > end:
                return
            yield ids[index]

    def count_after(self, entry_id: EntryId) -> int:
        """Count the ids greater than *entry_id*."""
        return len(self._ids) - bisect_right(self._ids, entry_id, self._head)

    def _insert(self, entry_id: EntryId) -> None:
        if not self._values or entry_id > self._ids[-1]:
            self._ids.append(entry_id)
        else:
            self._ids.insert(bisect_left(self._ids, entry_id, self._head), entry_id)

    def _remove(self, entry_id: EntryId) -> None:
        index = bisect_left(self._ids, entry_id, self._head)
        if index > self._head:
            del self._ids[index]
            return
        self._head += 1
        if self._head * 2 > len(self._ids):
            del self._ids[: self._head]
            self._head = 0
