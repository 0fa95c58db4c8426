"""Removing what is beyond the bounds of a retention, and finished by every group."""

from __future__ import annotations

import math

from trio_bus._backend import Membership
from trio_bus._entry_id import EntryId
from trio_bus._names import DEAD
from trio_bus._retention import Retention

from .group import Group
from .ids import MAX_ID, MIN_ID, following
from .store import Store
from .stream import Stream, Trim


def retain(store: Store, us: Membership, now_ms: int) -> int:
    """Remove what goes, unless somebody did a moment ago; return how many entries that were.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    retention = us.retention
    if retention is None or _was_just_done(store, us, retention, now_ms):
        return 0
    stream, _ = store.need_group(us.topic, us.group)
    return stream.trim(Trim(min_id=end_of(stream, retention, now_ms)))


def _was_just_done(store: Store, us: Membership, retention: Retention, now_ms: int) -> bool:
    which = (us.topic, retention)
    last_ms = store.retained.get(which)
    if us.retain_every > 0 and last_ms is not None and last_ms <= now_ms <= last_ms + every_ms(us):
        return True
    store.retained[which] = now_ms
    return False


def next_time(store: Store, us: Membership) -> list[int]:
    """Return when something may be removed again, if there is a retention."""
    last_ms = None if us.retention is None else store.retained.get((us.topic, us.retention))
    return [] if last_ms is None else [last_ms + every_ms(us)]


def every_ms(us: Membership) -> int:
    """Return how long a topic is left alone, as servers count."""
    return math.ceil(us.retain_every * 1000)


def end_of(stream: Stream, retention: Retention, now_ms: int) -> EntryId:
    """Return the id before which everything goes."""
    end = max(_end_of_age(retention, now_ms), _end_of_length(retention, stream))
    if retention.finished:
        end = min([end, *(_first_unfinished(stream, it) for it in stream.groups.values())])
    return end


def _end_of_age(retention: Retention, now_ms: int) -> EntryId:
    if retention.max_age is None:
        return MIN_ID
    return EntryId(max(0, now_ms - math.ceil(retention.max_age * 1000)), 0)


def _end_of_length(retention: Retention, stream: Stream) -> EntryId:
    kept = retention.max_length
    if kept is None or len(stream.entries) <= kept:
        return MIN_ID
    return stream.entries.first_of_last(kept) if kept else MAX_ID


def _first_unfinished(stream: Stream, group: Group) -> EntryId:
    """Return an id before which this group has finished everything.

    A dead entry that was deleted is finished: nobody can list it or send it back.
    """
    undelivered = following(group.last_delivered) or MAX_ID
    pending = group.pending
    kept = (
        it
        for it in pending.ids(MIN_ID, MAX_ID)
        if pending[it].consumer.name != DEAD or it in stream.entries
    )
    return min(undelivered, next(kept, MAX_ID))
