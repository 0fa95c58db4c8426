"""One command in two forms: for the wire of a server, and for the pure stream."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from property_tests.stream_servers import Reply
from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._memory import delivery_commands as delivery
from trio_bus._memory import group_commands as groups
from trio_bus._memory import stream_commands as streams
from trio_bus._memory.errors import StreamError
from trio_bus._memory.store import Store
from trio_bus._memory.stream import Trim

HOUR = 3_600_000
"""In milliseconds. Idle times are compared in hours, because two servers have two clocks."""


def _as_it_is(reply: Reply) -> Reply:
    return reply


@attrs.frozen
class Operation:
    """A command; ``view`` leaves out of a reply what may differ, and is applied to both."""

    arguments: tuple[bytes, ...]
    run: Callable[[Store, int], Reply]
    view: Callable[[Reply], Reply] = _as_it_is
    takes_time_from_reply: bool = False

    def on_fake(self, store: Store, now_ms: int) -> Reply:
        """Run it on the pure stream; an error becomes its text."""
        try:
            return self.view(self.run(store, now_ms))
        except StreamError as error:
            return str(error)

    def on_server(self, reply: Reply) -> Reply:
        """Return the part of a server's reply that is compared."""
        return reply if isinstance(reply, str) else self.view(reply)


def words(*parts: str | bytes | int | None) -> tuple[bytes, ...]:
    """Write arguments; None is left out."""
    texts = [
        part if isinstance(part, bytes) else str(part).encode()
        for part in parts
        if part is not None
    ]
    return tuple(texts)


def shown_id(entry_id: EntryId | None) -> Reply:
    return None if entry_id is None else str(entry_id).encode()


def shown_row(row: streams.Row | None) -> Reply:
    if row is None:
        return None
    entry_id, record = row
    if record is None:
        return [shown_id(entry_id), None]
    return [shown_id(entry_id), [part for field in record for part in field]]


def hours(milliseconds: Reply) -> Reply:
    """Round an idle time; -1 says never."""
    assert isinstance(milliseconds, int)
    return -1 if milliseconds == -1 else min(2, (milliseconds + HOUR // 2) // HOUR)


@attrs.frozen(kw_only=True)
class TrimOptions:
    """The options of XADD and XTRIM as both sides take them."""

    maxlen: int | None = None
    minid: str | None = None
    approximate: bool = False
    limit: int | None = None

    def words(self) -> tuple[bytes, ...]:
        sign = "~" if self.approximate else "="
        written = words() if self.maxlen is None else words("MAXLEN", sign, self.maxlen)
        if self.minid is not None:
            written += words("MINID", sign, self.minid)
        return written if self.limit is None else (*written, *words("LIMIT", self.limit))

    def make(self) -> Trim:
        return streams.make_trim(
            maxlen=self.maxlen, minid=self.minid, approximate=self.approximate, limit=self.limit
        )


def xadd(
    key: str, entry_id: str, record: Record, trim: TrimOptions | None = None, *, create: bool = True
) -> Operation:
    def run(store: Store, now_ms: int) -> Reply:
        made = trim.make() if trim else None
        return shown_id(
            streams.xadd(store, key, entry_id, record, now_ms, trim=made, create=create)
        )

    flags = words(None if create else "NOMKSTREAM") + (trim.words() if trim else ())
    body = tuple(part for field in record for part in field)
    arguments = words("XADD", key) + flags + words(entry_id) + body
    return Operation(arguments, run, takes_time_from_reply=entry_id == "*")


def xtrim(key: str, trim: TrimOptions) -> Operation:
    return Operation(
        words("XTRIM", key) + trim.words(), lambda store, _: streams.xtrim(store, key, trim.make())
    )


def xdel(key: str, ids: list[str]) -> Operation:
    return Operation(words("XDEL", key, *ids), lambda store, _: streams.xdel(store, key, ids))


def xlen(key: str) -> Operation:
    return Operation(words("XLEN", key), lambda store, _: streams.xlen(store, key))


def delete(key: str) -> Operation:
    return Operation(words("DEL", key), lambda store, _: streams.delete(store, key))


def xrange(key: str, start: str, end: str, count: int | None) -> Operation:
    def run(store: Store, _: int) -> Reply:
        rows = streams.xrange(store, key, start, end, count)
        return None if rows is None else [shown_row(row) for row in rows]

    option = () if count is None else words("COUNT", count)
    return Operation(words("XRANGE", key, start, end) + option, run)


def xgroup_create(key: str, group: str, start: str, *, make_stream: bool) -> Operation:
    def run(store: Store, _: int) -> Reply:
        groups.xgroup_create(store, key, group, start, make_stream=make_stream)
        return b"OK"

    option = "MKSTREAM" if make_stream else None
    return Operation(words("XGROUP", "CREATE", key, group, start, option), run)


def xgroup_setid(key: str, group: str, start: str) -> Operation:
    def run(store: Store, _: int) -> Reply:
        groups.xgroup_setid(store, key, group, start)
        return b"OK"

    return Operation(words("XGROUP", "SETID", key, group, start), run)


def xgroup_destroy(key: str, group: str) -> Operation:
    return Operation(
        words("XGROUP", "DESTROY", key, group),
        lambda store, _: groups.xgroup_destroy(store, key, group),
    )


def xgroup_createconsumer(key: str, group: str, consumer: str) -> Operation:
    return Operation(
        words("XGROUP", "CREATECONSUMER", key, group, consumer),
        lambda store, now_ms: groups.xgroup_createconsumer(store, key, group, consumer, now_ms),
    )


def xgroup_delconsumer(key: str, group: str, consumer: str) -> Operation:
    return Operation(
        words("XGROUP", "DELCONSUMER", key, group, consumer),
        lambda store, _: groups.xgroup_delconsumer(store, key, group, consumer),
    )


def xreadgroup(
    group: str,
    consumer: str,
    places: list[tuple[str, str]],
    count: int | None,
    *,
    noack: bool,
    block: bool = False,
) -> Operation:
    """Read; with *block* a millisecond passes before the server says that there is nothing."""

    def run(store: Store, now_ms: int) -> Reply:
        answer = delivery.xreadgroup(
            store, group, consumer, places, now_ms, count=count or 0, noack=noack
        )
        if answer is None:
            return None
        return [[key.encode(), [shown_row(row) for row in rows]] for key, rows in answer]

    options = () if count is None else words("COUNT", count)
    options += words("BLOCK", 1) if block else ()
    options += words("NOACK" if noack else None, "STREAMS")
    keys_and_ids = [key for key, _ in places] + [start for _, start in places]
    head = words("XREADGROUP", "GROUP", group, consumer)
    return Operation(head + options + words(*keys_and_ids), run)


def xack(key: str, group: str, ids: list[str]) -> Operation:
    return Operation(
        words("XACK", key, group, *ids), lambda store, _: delivery.xack(store, key, group, ids)
    )


def xpending_summary(key: str, group: str) -> Operation:
    def run(store: Store, _: int) -> Reply:
        found = groups.xpending_summary(store, key, group)
        consumers: Reply = [[name.encode(), b"%d" % n] for name, n in found.consumers] or None
        return [found.total, shown_id(found.first), shown_id(found.last), consumers]

    return Operation(words("XPENDING", key, group), run)


@attrs.frozen(kw_only=True)
class PendingQuery:
    """The options of the extended XPENDING."""

    start: str
    end: str
    count: int
    consumer: str | None
    idle_ms: int


def xpending(key: str, group: str, query: PendingQuery) -> Operation:
    def run(store: Store, now_ms: int) -> Reply:
        rows = groups.xpending(
            store,
            key,
            group,
            start=query.start,
            end=query.end,
            count=query.count,
            now_ms=now_ms,
            consumer=query.consumer,
            idle_ms=query.idle_ms,
        )
        return [[shown_id(it.id), it.consumer.encode(), it.idle_ms, it.count] for it in rows]

    idle = words("IDLE", query.idle_ms) if query.idle_ms else ()
    tail = words(query.start, query.end, query.count, query.consumer)
    return Operation(words("XPENDING", key, group) + idle + tail, run, _view_pending)


def xclaim(
    key: str, group: str, consumer: str, ids: list[str], *, min_idle: int, claim: delivery.Claim
) -> Operation:
    def run(store: Store, now_ms: int) -> Reply:
        rows = delivery.xclaim(
            store,
            key,
            group,
            consumer,
            entry_ids=ids,
            now_ms=now_ms,
            min_idle=min_idle,
            claim=claim,
        )
        return [_claimed(store, row, just_id=claim.just_id) for row in rows]

    head = words("XCLAIM", key, group, consumer, min_idle, *ids)
    return Operation(head + _claim_words(claim), run)


def xautoclaim(
    key: str, group: str, consumer: str, *, min_idle: int, start: str, count: int, just_id: bool
) -> Operation:
    def run(store: Store, now_ms: int) -> Reply:
        found = delivery.xautoclaim(
            store,
            key,
            group,
            consumer,
            start=start,
            now_ms=now_ms,
            min_idle=min_idle,
            count=count,
            just_id=just_id,
        )
        rows: list[Reply] = [_claimed(store, row, just_id=just_id) for row in found.rows]
        answer: list[Reply] = [shown_id(found.cursor), rows]
        if store.dialect.drops_deleted:
            answer.append([shown_id(entry_id) for entry_id in found.deleted])
        return answer

    head = words("XAUTOCLAIM", key, group, consumer, min_idle, start, "COUNT", count)
    return Operation(head + words("JUSTID" if just_id else None), run)


def xinfo_groups(key: str) -> Operation:
    def run(store: Store, _: int) -> Reply:
        counts = store.dialect.counts_read
        return [
            [
                *(b"name", it.name.encode(), b"consumers", it.consumers, b"pending", it.pending),
                *(b"last-delivered-id", shown_id(it.last_delivered)),
                *((b"entries-read", it.entries_read, b"lag", it.lag) if counts else ()),
            ]
            for it in groups.xinfo_groups(store, key)
        ]

    return Operation(words("XINFO", "GROUPS", key), run)


def xinfo_consumers(key: str, group: str) -> Operation:
    def run(store: Store, now_ms: int) -> Reply:
        return [
            [
                *(b"name", it.name.encode(), b"pending", it.pending, b"idle", it.idle_ms),
                *(() if not store.dialect.eager_consumers else (b"inactive", it.inactive_ms)),
            ]
            for it in groups.xinfo_consumers(store, key, group, now_ms)
        ]

    return Operation(words("XINFO", "CONSUMERS", key, group), run, _view_consumers)


def _claim_words(claim: delivery.Claim) -> tuple[bytes, ...]:
    written = words()
    for name, value in (
        ("IDLE", claim.idle),
        ("TIME", claim.time),
        ("RETRYCOUNT", claim.retry_count),
    ):
        written += words() if value is None else words(name, value)
    if claim.last_id != "0":
        written += words("LASTID", claim.last_id)
    return written + words("FORCE" if claim.force else None, "JUSTID" if claim.just_id else None)


def _claimed(store: Store, row: streams.Row, *, just_id: bool) -> Reply:
    if just_id:
        return shown_id(row[0])
    # Servers that keep deleted entries pending answer nil for one, without its id.
    return None if row[1] is None and not store.dialect.drops_deleted else shown_row(row)


def _view_pending(reply: Reply) -> Reply:
    assert isinstance(reply, list)
    return [_with_hours(row) for row in reply]


def _with_hours(row: Reply) -> Reply:
    assert isinstance(row, list)
    return [*row[:2], hours(row[2]), *row[3:]]


def _view_consumers(reply: Reply) -> Reply:
    assert isinstance(reply, list)
    return [_idle_in_hours(pairs_of(row)) for row in reply]


def _idle_in_hours(pairs: dict[bytes, Reply]) -> Reply:
    for name in (b"idle", b"inactive"):
        if name in pairs:
            pairs[name] = hours(pairs[name])
    return [part for pair in pairs.items() for part in pair]


def pairs_of(row: Reply) -> dict[bytes, Reply]:
    assert isinstance(row, list)
    names = [name for name in row[::2] if isinstance(name, bytes)]
    return dict(zip(names, row[1::2], strict=True))
