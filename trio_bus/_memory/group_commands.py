"""The commands on groups: creating them, and asking about them."""

from __future__ import annotations

import attrs

from trio_bus._entry_id import EntryId

from .dialect import Dialect
from .errors import StreamError, no_group_for_key
from .group import Consumer, Group
from .ids import MIN_ID, parse, parse_bound, parse_end, parse_start
from .lag import lag
from .store import Store
from .stream import Stream


@attrs.frozen
class PendingRow:
    """One row of XPENDING. ``idle_ms`` counts from the last delivery or claim."""

    id: EntryId
    consumer: str
    idle_ms: int
    count: int


@attrs.frozen
class PendingSummary:
    """XPENDING without a range. The bounds are None when nothing is pending."""

    total: int
    first: EntryId | None
    last: EntryId | None
    consumers: tuple[tuple[str, int], ...]


@attrs.frozen
class GroupRow:
    """One row of XINFO GROUPS, with what the server counts; None where it does not know."""

    name: str
    consumers: int
    pending: int
    last_delivered: EntryId
    entries_read: int | None
    lag: int | None


@attrs.frozen
class ConsumerRow:
    """One row of XINFO CONSUMERS; ``inactive_ms`` is -1 for one that never got an entry."""

    name: str
    pending: int
    idle_ms: int
    inactive_ms: int


def xgroup_create(
    store: Store, key: str, group: str, start: str, *, make_stream: bool = False
) -> None:
    """Create a group that begins after *start* (``$``: after the newest entry).

    Raises:
      StreamError: BUSYGROUP; no such key, and *make_stream* is false; WRONGTYPE.
    """
    stream = store.find_stream(key) if make_stream else store.need_stream(key)
    position = _position(stream, start)
    stream = store.make_stream(key)
    if group in stream.groups:
        raise StreamError("BUSYGROUP Consumer Group name already exists")
    stream.groups[group] = Group(position)


def xgroup_setid(store: Store, key: str, group: str, start: str) -> None:
    """Let a group go on after *start*.

    Raises:
      StreamError: no such key or group; not an id; WRONGTYPE.
    """
    stream, found = store.need_group_for_key(key, group)
    # Unlike CREATE, this takes - and + too.
    found.last_delivered = stream.last_id if start == "$" else parse_bound(start)
    found.entries_read = None


def xgroup_destroy(store: Store, key: str, group: str) -> int:
    """Remove a group; return how many there were: 1 or 0.

    Raises:
      StreamError: no such key; WRONGTYPE.
    """
    stream = store.need_stream(key)
    if stream.groups.pop(group, None) is None:
        return 0
    store.mark_changed(key)
    return 1


def xgroup_createconsumer(store: Store, key: str, group: str, consumer: str, now_ms: int) -> int:
    """Create a consumer; return how many are new: 1 or 0.

    Raises:
      StreamError: no such key or group; WRONGTYPE.
    """
    _, found = store.need_group_for_key(key, group)
    if consumer in found.consumers:
        return 0
    found.consumers[consumer] = Consumer(consumer, now_ms)
    return 1


def xgroup_delconsumer(store: Store, key: str, group: str, consumer: str) -> int:
    """Remove a consumer; return how many pending entries are thrown away with it.

    Raises:
      StreamError: no such key or group; WRONGTYPE.
    """
    _, found = store.need_group_for_key(key, group)
    return found.remove_consumer(consumer)


def xpending_summary(store: Store, key: str, group: str) -> PendingSummary:
    """Sum up what is pending.

    Raises:
      StreamError: NOGROUP; WRONGTYPE.
    """
    _, found = store.need_group(key, group)
    pending = found.pending
    consumers = tuple((consumer.name, len(consumer.pending)) for consumer in found.waiting())
    return PendingSummary(len(pending), pending.first(), pending.last(), consumers)


def xpending(
    store: Store,
    key: str,
    group: str,
    *,
    start: str,
    end: str,
    count: int,
    now_ms: int,
    consumer: str | None = None,
    idle_ms: int = 0,
) -> list[PendingRow]:
    """List what is pending between both bounds, idle for at least *idle_ms*; at most *count*.

    With a *consumer* only its own entries are looked at.

    Raises:
      StreamError: NOGROUP; a bound is not one; WRONGTYPE.
    """
    first, last = parse_start(start), parse_end(end)
    _, found = store.need_group(key, group)
    rows: list[PendingRow] = []
    if consumer is not None and consumer not in found.consumers:
        return rows
    pending = found.pending if consumer is None else found.consumers[consumer].pending
    for entry_id in pending.ids(first, last):
        if len(rows) >= count:
            break
        held = pending[entry_id]
        if now_ms - held.delivered_ms >= idle_ms or not idle_ms:
            rows.append(PendingRow(entry_id, held.consumer.name, held.idle(now_ms), held.count))
    return rows


def xinfo_groups(store: Store, key: str) -> list[GroupRow]:
    """List the groups by name.

    Raises:
      StreamError: no such key; WRONGTYPE.
    """
    stream = _need_key(store, key)
    rules = store.dialect
    return [_group_row(stream, name, group, rules) for name, group in sorted(stream.groups.items())]


def xinfo_consumers(store: Store, key: str, group: str, now_ms: int) -> list[ConsumerRow]:
    """List the consumers of a group by name.

    Raises:
      StreamError: no such key or group; WRONGTYPE.
    """
    stream = _need_key(store, key)
    if group not in stream.groups:
        raise no_group_for_key(key, group)
    consumers = stream.groups[group].consumers
    return [_consumer_row(consumers[name], now_ms) for name in sorted(consumers)]


def _group_row(stream: Stream, name: str, group: Group, rules: Dialect) -> GroupRow:
    return GroupRow(
        name,
        len(group.consumers),
        len(group.pending),
        group.last_delivered,
        group.entries_read,
        lag(stream, group, rules),
    )


def _consumer_row(consumer: Consumer, now_ms: int) -> ConsumerRow:
    inactive = -1 if consumer.active_ms < 0 else max(0, now_ms - consumer.active_ms)
    idle = max(0, now_ms - consumer.seen_ms)
    return ConsumerRow(consumer.name, len(consumer.pending), idle, inactive)


def _position(stream: Stream | None, start: str) -> EntryId:
    if start != "$":
        return parse(start)
    return stream.last_id if stream else MIN_ID


def _need_key(store: Store, key: str) -> Stream:
    stream = store.find_stream(key)
    if stream is None:
        raise StreamError("ERR no such key")
    return stream
