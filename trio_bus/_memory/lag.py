"""How far a group is behind, as servers reckon it: each generation of them by rules of its own.

They count, and do not look: what was deleted or trimmed makes the count wrong or unknown. (What
`MemoryBackend.info` tells is counted anew each time, and right.)
"""

from __future__ import annotations

from trio_bus._entry_id import EntryId

from .dialect import Dialect
from .group import Group
from .ids import MIN_ID
from .stream import Stream


def lag(stream: Stream, group: Group, rules: Dialect) -> int | None:
    """Return how many entries the group has not read yet; None if the server does not know."""
    added = stream.entries_added
    if not added or (rules.lag_minds_trimming and not len(stream.entries)):
        return 0
    at, first = group.last_delivered, stream.first_id
    if rules.lag_minds_trimming and at < first and stream.max_deleted < first:
        return len(stream.entries)
    read = group.entries_read
    if read is None or _has_tombstones(stream, at, rules):
        read = _estimate(stream, at, rules)
    return None if read is None else added - read


def count_read(stream: Stream, group: Group, entry_ids: list[EntryId], rules: Dialect) -> None:
    """Note that the group reads these entries, which come after all that it has read."""
    at = group.last_delivered
    for entry_id in entry_ids:
        looked_from = at if rules.lag_minds_tombstones else entry_id
        trimmed = rules.recounts_trimmed and at < stream.first_id
        if group.entries_read is None or trimmed or _has_tombstones(stream, looked_from, rules):
            group.entries_read = _estimate(stream, entry_id, rules)
        else:
            group.entries_read += 1
        at = entry_id


def _has_tombstones(stream: Stream, start: EntryId, rules: Dialect) -> bool:
    """Say whether an entry from *start* on was deleted, as far as the server knows."""
    if not len(stream.entries) or stream.max_deleted == MIN_ID:
        return False
    if not rules.lag_minds_tombstones and stream.first_id > stream.max_deleted:
        return False
    return start <= stream.max_deleted


def _estimate(stream: Stream, at: EntryId, rules: Dialect) -> int | None:
    """Return how many entries there ever were up to that id; None if the server cannot know."""
    added, length, first = stream.entries_added, len(stream.entries), stream.first_id
    if not length and at <= stream.last_id:
        return added
    if rules.lag_minds_tombstones and MIN_ID != at < stream.max_deleted:
        return None
    if at >= stream.last_id:
        return added if at == stream.last_id else None
    if stream.max_deleted == MIN_ID or stream.max_deleted < first:
        if at < first:
            return added - length
        if at == first:
            return added - length + 1
    return None
