"""More commands in two forms: what a stream tells of itself, and what we do with sorted sets."""

from __future__ import annotations

from property_tests.stream_operations import (
    Operation,
    pairs_of,
    shown_id,
    shown_row,
    words,
)
from property_tests.stream_servers import Reply
from trio_bus._entry_id import EntryId
from trio_bus._memory.errors import StreamError
from trio_bus._memory.store import Store
from trio_bus._memory.stream import Stream
from trio_bus._memory.stream_commands import Row

# What a server tells of its memory, and of options that we do not use.
_NOT_MODELLED = (
    *(b"radix-tree-keys", b"radix-tree-nodes", b"idmp-duration", b"idmp-maxsize", b"pids-tracked"),
    *(b"iids-tracked", b"iids-added", b"iids-duplicates"),
)


def xinfo_stream(key: str) -> Operation:
    """Ask for all that the pure stream knows, the figures too from which it reckons a lag."""

    def run(store: Store, _: int) -> Reply:
        stream = store.find_stream(key)
        if stream is None:
            raise StreamError("ERR no such key")
        first, last = stream.entries.first(), stream.entries.last()
        counts: tuple[Reply, ...] = ()
        if store.dialect.counts_read:
            counts = (
                *(b"max-deleted-entry-id", shown_id(stream.max_deleted)),
                *(b"entries-added", stream.entries_added),
                *(b"recorded-first-entry-id", shown_id(stream.first_id)),
            )
        return [
            *(b"length", len(stream.entries), b"last-generated-id", shown_id(stream.last_id)),
            *(*counts, b"groups", len(stream.groups)),
            *(b"first-entry", shown_row(first and _row(stream, first))),
            *(b"last-entry", shown_row(last and _row(stream, last))),
        ]

    return Operation(words("XINFO", "STREAM", key), run, _without_the_rest)


def zadd(key: str, member: str, score: int) -> Operation:
    def run(store: Store, _: int) -> Reply:
        found = store.sorted_set(key)
        new = member not in found
        found.add(member, score)
        return int(new)

    return Operation(words("ZADD", key, score, member), run)


def zrem(key: str, member: str) -> Operation:
    return Operation(
        words("ZREM", key, member), lambda store, _: int(store.sorted_set(key).remove(member))
    )


def zcard(key: str) -> Operation:
    return Operation(words("ZCARD", key), lambda store, _: len(store.sorted_set(key)))


def up_to(key: str, score: int, count: int) -> Operation:
    """Ask as our scripts do for what is due."""

    def run(store: Store, _: int) -> Reply:
        return [member.encode() for member in store.sorted_set(key).up_to(score, count)]

    return Operation(words("ZRANGEBYSCORE", key, "-inf", score, "LIMIT", 0, count), run)


def first_after(key: str, score: int) -> Operation:
    """Ask as our scripts do for when the next is due."""

    def run(store: Store, _: int) -> Reply:
        found = store.sorted_set(key).first_after(score)
        return [] if found is None else [b"%d" % found]

    question = words("ZRANGEBYSCORE", key, f"({score}", "+inf", "WITHSCORES", "LIMIT", 0, 1)
    return Operation(question, run, _scores)


def _scores(reply: Reply) -> Reply:
    """Leave out the members of a server's answer; the pure stream answers none."""
    assert isinstance(reply, list)
    return reply[-1:]


def _without_the_rest(reply: Reply) -> Reply:
    assert isinstance(reply, list)
    pairs = pairs_of(reply)
    return [
        part for name, value in pairs.items() if name not in _NOT_MODELLED for part in (name, value)
    ]


def _row(stream: Stream, entry_id: EntryId) -> Row:
    return entry_id, stream.entries[entry_id]
