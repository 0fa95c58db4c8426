"""The commands that hand entries out, move them to another consumer, and end the wait for them."""

from __future__ import annotations

from itertools import islice

import attrs

from trio_bus._entry_id import EntryId

from .dialect import Dialect
from .errors import StreamError, meaningless, no_group_to_read
from .group import Consumer, Group, Pending
from .ids import MAX_ID, MIN_ID, following, parse, parse_start
from .lag import count_read
from .store import Store
from .stream import Stream
from .stream_commands import Row


@attrs.frozen(kw_only=True)
class Claim:
    """The options of XCLAIM. Those that are None are not given."""

    idle: int | None = None
    time: int | None = None
    retry_count: int | None = None
    last_id: str = "0"
    force: bool = False
    just_id: bool = False


@attrs.frozen
class _Claiming:
    """One XCLAIM or XAUTOCLAIM at work."""

    stream: Stream
    group: Group
    consumer: Consumer
    min_idle: int
    now_ms: int
    options: Claim
    dialect: Dialect

    def take(self, entry_id: EntryId) -> Row | None:
        """Claim one entry, if it is pending and idle enough."""
        held = self.group.pending.get(entry_id)
        body = self.stream.entries.get(entry_id)
        if body is None and (held is None or self.dialect.drops_deleted):
            self.group.acknowledge(entry_id)
            return None
        if held is None and not self.options.force:
            return None
        if held is not None and self.min_idle > 0 and self._idle(held) < self.min_idle:
            return None
        self.group.consumers.setdefault(self.consumer.name, self.consumer)
        delivered_ms = _delivery_time(self.options, self.now_ms)
        self.group.assign(entry_id, self.consumer, delivered_ms, _count(held, self.options))
        self.consumer.active_ms = self.now_ms
        return (entry_id, body)

    def _idle(self, held: Pending) -> int:
        return self.now_ms - held.delivered_ms


@attrs.frozen
class AutoClaimed:
    """What XAUTOCLAIM answers; a cursor of 0-0 says that the end was reached."""

    cursor: EntryId
    rows: list[Row]
    deleted: list[EntryId]


def xreadgroup(
    store: Store,
    group: str,
    consumer: str,
    streams: list[tuple[str, str]],
    now_ms: int,
    *,
    count: int = 0,
    noack: bool = False,
) -> list[tuple[str, list[Row]]] | None:
    """Read each stream (a key, and ``>`` or an id) without waiting; None when there is nothing.

    A *count* of 0 or less is no bound.

    Raises:
      StreamError: NOGROUP for any of them, and nothing was delivered; WRONGTYPE; not an id.
    """
    bound = count if count > 0 else None
    places = [_place(store, key, group, start) for key, start in streams]
    answer: list[tuple[str, list[Row]]] = []
    for (key, _), (stream, found, after) in zip(streams, places, strict=True):
        reader = store.claimer(found, consumer, now_ms)
        if after is not None:
            found.consumers.setdefault(consumer, reader)
            answer.append((key, _history(stream, reader, after, bound, now_ms)))
        elif entry_ids := stream.undelivered(found, bound):
            count_read(stream, found, entry_ids, store.dialect)
            rows = _deliver(stream, found, reader, entry_ids, now_ms, noack=noack)
            answer.append((key, rows))
    return answer or None


def xack(store: Store, key: str, group: str, entry_ids: list[str]) -> int:
    """End the wait for entries; return how many were pending.

    Raises:
      StreamError: a text is not an id, and nothing was acknowledged; WRONGTYPE.
    """
    found = store.find_group(key, group)
    if found is None:
        return 0
    return sum([found[1].acknowledge(entry_id) for entry_id in [parse(it) for it in entry_ids]])


def xclaim(
    store: Store,
    key: str,
    group: str,
    consumer: str,
    *,
    entry_ids: list[str],
    now_ms: int,
    min_idle: int = 0,
    claim: Claim = Claim(),
) -> list[Row]:
    """Make *consumer* the owner of pending entries that were idle for at least *min_idle* ms.

    Raises:
      StreamError: NOGROUP; WRONGTYPE; not an id.
    """
    stream, found = store.need_group(key, group)
    wanted = [parse(text) for text in entry_ids]
    found.last_delivered = max(found.last_delivered, parse(claim.last_id))
    claimer = store.claimer(found, consumer, now_ms)
    claiming = _Claiming(stream, found, claimer, min_idle, now_ms, claim, store.dialect)
    rows = [claiming.take(entry_id) for entry_id in wanted]
    return [row for row in rows if row is not None]


def xautoclaim(
    store: Store,
    key: str,
    group: str,
    consumer: str,
    *,
    start: str,
    now_ms: int,
    min_idle: int = 0,
    count: int = 100,
    just_id: bool = False,
) -> AutoClaimed:
    """Claim what is pending from *start* on; look at 10 times *count* entries at most.

    Raises:
      StreamError: NOGROUP; WRONGTYPE; not a bound; a count below 1.
    """
    first = parse_start(start)
    if count < 1:
        raise StreamError("ERR COUNT must be > 0")
    stream, found = store.need_group(key, group)
    claimer = store.claimer(found, consumer, now_ms)
    claim = Claim(just_id=just_id)
    claiming = _Claiming(stream, found, claimer, min_idle, now_ms, claim, store.dialect)
    # One more than may be looked at: the last one is the cursor.
    entry_ids = list(islice(found.pending.ids(first, MAX_ID), 10 * count + 1))
    rows: list[Row] = []
    deleted: list[EntryId] = []
    for looked_at, entry_id in enumerate(entry_ids):
        if looked_at == 10 * count or len(rows) + len(deleted) == count:
            return AutoClaimed(entry_id, rows, deleted)
        if store.dialect.drops_deleted and entry_id not in stream.entries:
            found.acknowledge(entry_id)
            deleted.append(entry_id)
            continue
        row = claiming.take(entry_id)
        if row is not None:
            rows.append(row)
    return AutoClaimed(MIN_ID, rows, deleted)


def _place(store: Store, key: str, group: str, start: str) -> tuple[Stream, Group, EntryId | None]:
    found = store.find_group(key, group)
    if found is None:
        raise no_group_to_read(key, group)
    if start in store.dialect.meaningless:
        raise meaningless(start)
    after = MAX_ID if start == ">" else parse(start)
    # Servers keep > as the last id there is, so that this id, written out, is > too.
    return (*found, None if after == MAX_ID else after)


def _deliver(
    stream: Stream,
    group: Group,
    consumer: Consumer,
    entry_ids: list[EntryId],
    now_ms: int,
    *,
    noack: bool,
) -> list[Row]:
    group.last_delivered = entry_ids[-1]
    group.consumers.setdefault(consumer.name, consumer)
    if not noack:
        for entry_id in entry_ids:
            group.deliver(entry_id, consumer, now_ms)
    return [(entry_id, stream.entries[entry_id]) for entry_id in entry_ids]


def _history(
    stream: Stream, consumer: Consumer, after: EntryId, count: int | None, now_ms: int
) -> list[Row]:
    start = following(after)
    assert start is not None, "nothing comes after the last id, and that is no place in history"
    rows: list[Row] = []
    for entry_id in islice(consumer.pending.ids(start, MAX_ID), count):
        body = stream.entries.get(entry_id)
        if body is not None:
            held = consumer.pending[entry_id]
            held.delivered_ms = now_ms
            held.count += 1
        rows.append((entry_id, body))
    return rows


def _delivery_time(claim: Claim, now_ms: int) -> int:
    wanted = now_ms
    if claim.time is not None:
        wanted = claim.time
    elif claim.idle is not None:
        wanted = now_ms - claim.idle
    return wanted if 0 <= wanted <= now_ms else now_ms


def _count(held: Pending | None, claim: Claim) -> int:
    if claim.retry_count is not None and claim.retry_count >= 0:
        return claim.retry_count
    before = held.count if held is not None else 1
    return before if claim.just_id else before + 1
