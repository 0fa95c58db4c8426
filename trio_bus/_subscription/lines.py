"""Which entries wait for which, where each key has an order."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId


class Lines:
    """A line of entries for each key, in id order: only its head may start. Nothing here waits.

    Invariant: each entry stands in one line. It is the head that runs, the head that may start from
    some time on (in ``_since``, or in ``_ready`` when that has come), or it waits behind the head.
    What has no key stands alone. What somebody else has (``_elsewhere``) is the head, though others
    may be older: he may be at work with it. The heaps also hold what is in neither any more.
    """

    def __init__(self) -> None:
        self._lines: dict[str | EntryId, list[EntryId]] = {}
        self._keys: dict[EntryId, str | EntryId] = {}
        self._running: set[EntryId] = set()
        self._since: dict[EntryId, float] = {}
        self._ready: dict[EntryId, float] = {}
        self._by_time: list[tuple[float, EntryId]] = []
        self._by_id: list[EntryId] = []
        self._held: set[EntryId] = set()
        self._elsewhere: set[EntryId] = set()

    def __contains__(self, entry_id: EntryId) -> bool:
        return entry_id in self._keys

    @property
    def parked(self) -> int:
        """How many entries do not run."""
        return len(self._keys) - len(self._running)

    def add(self, entry_id: EntryId, key: str | None, *, held: bool = False) -> None:
        """Put an entry into the line of its key, unless it is known.

        *held*: somebody else has it, who may be at work with it.
        """
        if entry_id in self._keys:
            return
        mark = self._keys[entry_id] = entry_id if key is None else key
        line = self._lines.setdefault(mark, [])
        before = line[0] if line else None
        if self._is_at_work(before):
            insort(line, entry_id, lo=1)
        elif held:
            self._elsewhere.add(entry_id)
            line.insert(0, entry_id)
        else:
            insort(line, entry_id)
        if line[0] != before:
            if before is not None:
                self._withdraw(before)
            self._offer(entry_id, -math.inf)

    def run(self, entry_id: EntryId) -> None:
        """Note that it runs: nothing of its key starts."""
        line = self._lines[self._keys[entry_id]]
        self._withdraw(line[0])
        line.remove(entry_id)
        line.insert(0, entry_id)
        self._held.discard(entry_id)
        self._elsewhere.discard(entry_id)
        self._running.add(entry_id)

    def ready(self, now: float) -> int:
        """Say how many may start now."""
        self._look(now)
        return len(self._ready)

    def next_time(self) -> float:
        """Say when the next one may start that has to wait; infinity if there is none."""
        self._clean()
        return self._by_time[0][0] if self._by_time else math.inf

    def take(self, now: float, most: int) -> list[EntryId]:
        """Return those that may start now, by their ids, at most *most*: they run."""
        self._look(now)
        taken: list[EntryId] = []
        while self._ready and len(taken) < most:
            entry_id = heappop(self._by_id)
            if entry_id in self._ready:
                self.run(entry_id)
                taken.append(entry_id)
        return taken

    def take_oldest(self, now: float, tried: Mapping[EntryId, float]) -> list[EntryId]:
        """Return one that may start now, in a list: it runs.

        Of all it is the one that was *tried* not at all or before the others; of these, the one
        that may start for longest.
        """
        self._look(now)

        def age(entry_id: EntryId) -> tuple[float, float, EntryId]:
            return tried.get(entry_id, -math.inf), self._ready[entry_id], entry_id

        oldest = sorted(self._ready, key=age)[:1]
        for entry_id in oldest:
            self.run(entry_id)
        return oldest

    def again(self, entry_id: EntryId, since: float, *, held: bool = False) -> None:
        """Let it start again from then on, before all others of its key.

        *held*: somebody else has it, who may finish it before.
        """
        if entry_id not in self._keys:
            return
        self._running.discard(entry_id)
        if held:
            self._elsewhere.add(entry_id)
        line = self._lines[self._keys[entry_id]]
        line.sort()
        self._put_first(line)
        if line[0] in self._running:
            return
        if held:
            self._held.add(entry_id)
        self._offer(line[0], since if line[0] == entry_id else -math.inf)

    def retire(self, entry_id: EntryId, since: float) -> None:
        """Let it start again from then on, if it still counts as running."""
        if entry_id in self._running:
            self.again(entry_id, since)

    def over(self, entry_id: EntryId) -> None:
        """Take it out; the next of its key may start."""
        mark = self._keys.pop(entry_id, None)
        if mark is None:
            return
        self._running.discard(entry_id)
        self._withdraw(entry_id)
        self._held.discard(entry_id)
        self._elsewhere.discard(entry_id)
        line = self._lines[mark]
        line.remove(entry_id)
        if not line:
            del self._lines[mark]
        elif not self._is_offered(line[0]):
            self._offer(line[0], -math.inf)

    def hurry(self, now: float) -> None:
        """Let all start that somebody else has: he may have finished."""
        held, self._held = self._held, set()
        for entry_id in held:
            self.again(entry_id, now)

    def _put_first(self, line: list[EntryId]) -> None:
        """Let what runs be the head, or what somebody else has."""
        for entry_id in [it for it in line if self._is_at_work(it)][:1]:
            line.remove(entry_id)
            line.insert(0, entry_id)

    def _is_at_work(self, entry_id: EntryId | None) -> bool:
        return entry_id in self._running or entry_id in self._elsewhere

    def _is_offered(self, head: EntryId) -> bool:
        return head in self._running or head in self._since or head in self._ready

    def _offer(self, entry_id: EntryId, since: float) -> None:
        self._ready.pop(entry_id, None)
        self._since[entry_id] = since
        heappush(self._by_time, (since, entry_id))

    def _withdraw(self, entry_id: EntryId) -> None:
        self._since.pop(entry_id, None)
        self._ready.pop(entry_id, None)

    def _look(self, now: float) -> None:
        """Make those ready whose time has come."""
        self._clean()
        while self._by_time and self._by_time[0][0] <= now:
            entry_id = heappop(self._by_time)[1]
            self._ready[entry_id] = self._since.pop(entry_id)
            heappush(self._by_id, entry_id)
            self._clean()

    def _clean(self) -> None:
        while self._by_time and self._since.get(self._by_time[0][1]) != self._by_time[0][0]:
            heappop(self._by_time)
