"""Where every entry of a group is, as the server has it: on memory and on real servers alike."""

# pyright: reportPrivateUsage=false
# What is pending for whom, id by id, is told by no public call.

from __future__ import annotations

from collections import Counter

import attrs

from tests.redis_world import command
from trio_bus._backend import Record, StreamBackend
from trio_bus._dead_letter import dead_letter_of
from trio_bus._entry_id import EntryId
from trio_bus._memory import MemoryBackend
from trio_bus._names import DEAD, DUE, FREE, RESERVED_CONSUMERS, SUSPECT
from trio_bus._redis import RedisBackend
from trio_bus._redis.replies import as_int, as_list, as_record, as_text

UNDELIVERED, DONE = "undelivered", "done"
LEFT_ALONE = {UNDELIVERED, DONE, FREE, DUE, SUSPECT, DEAD}
"""Where an entry may be that no consumer holds."""


@attrs.frozen
class Spot:
    """Where an entry is: with a consumer, or one of `LEFT_ALONE`; and how often it was delivered.

    An entry is in one place by construction: it is pending for one consumer, or it is not.
    """

    place: str
    count: int = 0


Ledger = dict[EntryId, Spot]


async def ledger_of(backend: StreamBackend, topic: str, group: str) -> Ledger:
    """Return where each entry of the stream is, in the order of the stream."""
    if isinstance(backend, MemoryBackend):
        found = backend._server.store.find_group(topic, group)
        assert found is not None
        stream, members = found
        pending = {
            key: Spot(members.pending[key].consumer.name, members.pending[key].count)
            for key in members.pending
        }
        return _ledger(list(stream.entries), members.last_delivered, pending)
    assert isinstance(backend, RedisBackend)
    info = await backend.info(topic)
    (last,) = [it.last_delivered for it in info.groups if it.name == group]
    entries = as_list(await command(backend, "XRANGE", topic, "-", "+"))
    rows = as_list(await command(backend, "XPENDING", topic, group, "-", "+", 100_000))
    held = {
        _id(row[0]): Spot(as_text(row[1]), as_int(row[3])) for row in (as_list(it) for it in rows)
    }
    return _ledger([_id(as_list(entry)[0]) for entry in entries], last, held)


async def buried_in(backend: StreamBackend, dead_topic: str) -> list[EntryId]:
    """Return the ids that the entries of a dead-letter topic had before."""
    records: list[Record] = []
    if isinstance(backend, MemoryBackend):
        stream = backend._server.store.find_stream(dead_topic)
        records += [] if stream is None else [stream.entries[key] for key in stream.entries]
    else:
        assert isinstance(backend, RedisBackend)
        rows = as_list(await command(backend, "XRANGE", dead_topic, "-", "+"))
        records += [as_record(as_list(row)[1]) for row in rows]
    letters = [dead_letter_of(record) for record in records]
    return [letter.entry_id for letter in letters if letter is not None]


def held_by(ledger: Ledger, consumer: str) -> dict[EntryId, int]:
    """Return what that consumer holds, with the counts of deliveries."""
    return {key: spot.count for key, spot in ledger.items() if spot.place == consumer}


def places(ledger: Ledger) -> Counter[str]:
    """Count the entries of each place."""
    return Counter(spot.place for spot in ledger.values())


def consumers_holding(ledger: Ledger) -> set[str]:
    """Return the names of the consumers that hold something."""
    return set(places(ledger)) - LEFT_ALONE - RESERVED_CONSUMERS


def _ledger(ids: list[EntryId], last: EntryId, pending: dict[EntryId, Spot]) -> Ledger:
    assert set(pending) <= set(ids), "nothing was deleted"
    assert all(key <= last for key in pending)
    return {key: pending.get(key, Spot(DONE if key <= last else UNDELIVERED)) for key in ids}


def _id(reply: object) -> EntryId:
    assert isinstance(reply, bytes)
    return EntryId.parse(reply)
