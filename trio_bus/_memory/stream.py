"""One stream: its entries, the ids they get, and its groups."""

from __future__ import annotations

from itertools import islice

import attrs

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId

from .errors import StreamError
from .group import Group
from .id_map import IdMap
from .ids import LAST, MAX_ID, MIN_ID, following
from .nodes import NODE_ENTRIES, Nodes


@attrs.frozen
class AutoSequence:
    """Asks for an id with these milliseconds and the next free sequence number: ``7-*``."""

    ms: int


@attrs.frozen(kw_only=True)
class Trim:
    """What to remove: all but *max_length* entries, or those before *min_id*.

    ``approximate`` removes only whole blocks, and then at most *limit* entries (0: no bound; None:
    what is in 100 full blocks).
    """

    max_length: int | None = None
    min_id: EntryId = MIN_ID
    approximate: bool = False
    limit: int | None = None

    def spares(self, entry_id: EntryId, length: int) -> bool:
        """Say whether the oldest entry, *entry_id*, of *length* entries stays."""
        if self.max_length is None:
            return entry_id >= self.min_id
        return length <= self.max_length


class Stream:
    """The entries of one key.

    Invariants: every id in ``entries`` is at most ``last_id``, which never falls; ``_nodes`` counts
    exactly the entries. A stream does not vanish by becoming empty. ``entries_added`` counts what
    was ever added; ``max_deleted`` is the greatest id that XDEL removed, not what was trimmed.
    """

    __slots__ = ("_nodes", "entries", "entries_added", "groups", "last_id", "max_deleted")

    def __init__(self) -> None:
        self.entries: IdMap[Record] = IdMap()
        self.last_id = MIN_ID
        self.entries_added = 0
        self.max_deleted = MIN_ID
        self.groups: dict[str, Group] = {}
        self._nodes = Nodes()

    @property
    def first_id(self) -> EntryId:
        """The oldest id; 0-0 of an empty stream."""
        return self.entries.first() or MIN_ID

    def append(
        self, wanted: EntryId | AutoSequence | None, record: Record, now_ms: int
    ) -> EntryId | None:
        """Add an entry with the *wanted* id (None: the next one at *now_ms*); return its id.

        None: no sequence number is left for these milliseconds.

        Raises:
          StreamError: that id, or any, is not greater than the last one.
        """
        if self.last_id == MAX_ID:
            raise StreamError(
                "ERR The stream has exhausted the last possible ID, unable to add more items"
            )
        entry_id = self._choose(wanted, now_ms)
        if entry_id is None:
            return None
        if entry_id <= self.last_id:
            raise StreamError(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item"
            )
        self.entries[entry_id] = record
        self.last_id = entry_id
        self.entries_added += 1
        self._nodes.add(entry_id)
        return entry_id

    def delete(self, entry_id: EntryId) -> bool:
        """Remove an entry, wherever it is pending; say whether it was there."""
        if not self._drop(entry_id):
            return False
        self.max_deleted = max(self.max_deleted, entry_id)
        return True

    def trim(self, trim: Trim) -> int:
        """Remove the oldest entries; return how many."""
        return self._trim_blocks(trim) if trim.approximate else self._trim_exactly(trim)

    def range(self, start: EntryId, end: EntryId, count: int | None = None) -> list[EntryId]:
        """Return the ids between both bounds, inclusive; at most *count*."""
        return list(islice(self.entries.ids(start, end), count))

    def undelivered(self, group: Group, count: int | None = None) -> list[EntryId]:
        """Return the ids that *group* has not delivered yet; at most *count*."""
        start = following(group.last_delivered)
        return [] if start is None else self.range(start, MAX_ID, count)

    def _drop(self, entry_id: EntryId) -> bool:
        if self.entries.pop(entry_id) is None:
            return False
        self._nodes.remove(entry_id)
        return True

    def _choose(self, wanted: EntryId | AutoSequence | None, now_ms: int) -> EntryId | None:
        if isinstance(wanted, EntryId):
            return wanted
        last = self.last_id
        if wanted is None:
            return EntryId(now_ms, 0) if now_ms > last.ms else following(last)
        if wanted.ms != last.ms:
            return EntryId(wanted.ms, 0)
        return EntryId(last.ms, last.seq + 1) if last.seq < LAST else None

    def _trim_exactly(self, trim: Trim) -> int:
        removed = 0
        while (oldest := self.entries.first()) and not trim.spares(oldest, len(self.entries)):
            self._drop(oldest)
            removed += 1
        return removed

    def _trim_blocks(self, trim: Trim) -> int:
        removed = 0
        limit = 100 * NODE_ENTRIES if trim.limit is None else trim.limit
        while len(self.entries):
            node = self._nodes.first()
            # A block goes if its last entry would go, once all before it are gone.
            left = len(self.entries) - node.live + 1
            over_limit = limit and removed + node.live > limit
            if over_limit or trim.spares(node.last, left):
                break
            for entry_id in self.range(MIN_ID, node.last):
                self._drop(entry_id)
                removed += 1
        return removed
