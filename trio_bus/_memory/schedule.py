"""The schedule of one topic: records that wait until they are due."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import attrs

from trio_bus._backend import Record

from .sorted_set import SortedSet

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@attrs.frozen
class Waiting:
    """A record in the schedule."""

    uid: str
    number: int
    record: Record

    @property
    def member(self) -> str:
        """What stands in the sorted set: what is due together is in the order of the numbers."""
        return f"{self.number:016}{self.uid}"


class Schedule:
    """Records by their due time, and what may be scheduled only once.

    Invariant: the members of ``_order`` are those of the values of ``_waiting``.
    """

    __slots__ = ("_by_member", "_markers", "_number", "_order", "_waiting")

    def __init__(self) -> None:
        self._order = SortedSet()
        self._waiting: dict[str, Waiting] = {}
        self._by_member: dict[str, Waiting] = {}
        self._number = 0
        # For each marker the uid that was scheduled, and until when it is remembered.
        self._markers: dict[str, tuple[str, int]] = {}

    def __contains__(self, uid: str) -> bool:
        return uid in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, uid: str, record: Record, due_ms: int) -> None:
        """Let a record wait whose uid does not."""
        self._number += 1
        waiting = Waiting(uid, self._number, record)
        self._waiting[uid] = self._by_member[waiting.member] = waiting
        self._order.add(waiting.member, due_ms)

    def remove(self, uid: str) -> bool:
        """Let a record wait no more; say whether it did."""
        waiting = self._waiting.pop(uid, None)
        if waiting is None:
            return False
        del self._by_member[waiting.member]
        self._order.remove(waiting.member)
        return True

    def due(self, now_ms: int, count: int) -> list[Waiting]:
        """Return the first *count* that are due."""
        return [self._by_member[member] for member in self._order.up_to(now_ms, count)]

    def next_due(self, after_ms: float = -math.inf) -> float | None:
        """Return when the first one is due that is due later than that."""
        return self._order.first_after(after_ms)

    def marked(self, uid: str, now_ms: int) -> str | None:
        """Return the uid that was scheduled first with this marker, if that is remembered."""
        self._markers = {it: known for it, known in self._markers.items() if known[1] > now_ms}
        known = self._markers.get(_marker(uid))
        return None if known is None else known[0]

    def mark(self, uid: str, until_ms: int) -> None:
        """Remember that this uid was scheduled."""
        self._markers[_marker(uid)] = (uid, until_ms)

    def first_end(self, after_ms: float) -> float | None:
        """Return when the first marker is forgotten that is forgotten later than that."""
        return min((at for _, at in self._markers.values() if at > after_ms), default=None)

    def unmark(self, uid: str) -> None:
        """Forget that this uid was scheduled: it may be scheduled again."""
        if self._markers.get(_marker(uid), ("", 0))[0] == uid:
            del self._markers[_marker(uid)]


def _marker(uid: str) -> str:
    return uid.rpartition("-")[2]


def instant_ms(at: datetime) -> int:
    """Return an instant as the servers count it, rounded up."""
    return max(0, -((_EPOCH - at) // _MILLISECOND))
