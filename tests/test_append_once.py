"""Appending records that have a key: memory, and every server, in the same tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from tests.redis_world import command, options
from trio_bus._backend import Record, StreamBackend
from trio_bus._connect import open_backend
from trio_bus._entry_id import EntryId
from trio_bus._errors import RemoteError, ValidationError, WrongType
from trio_bus._memory import MemoryBackend
from trio_bus._memory.marks import Marks
from trio_bus._once import Once
from trio_bus._redis import RedisBackend
from trio_bus._redis.once import mark_of

pytestmark = pytest.mark.every_server

RECORD: Record = ((b"n", b"1"), (b"n", b""))


def once(key: str, window: float = 60.0) -> Once:
    """Return how to store it."""
    return Once(key, window)


@pytest.fixture
async def streams(backend_url: str) -> AsyncGenerator[StreamBackend]:
    """Give each backend, empty."""
    async with open_backend(backend_url, options()) as backend:
        yield backend


async def append(
    backend: StreamBackend, *keys: str | None, topic: str = "t", window: float = 60.0
) -> list[EntryId]:
    """Append a record for each key; none may be refused."""
    how = [None if key is None else once(key, window) for key in keys]
    added = await backend.append(topic, [RECORD] * len(keys), how)
    ids = [entry_id for entry_id in added if isinstance(entry_id, EntryId)]
    assert len(ids) == len(keys), added
    return ids


async def length(backend: StreamBackend, topic: str = "t") -> int:
    """Count the entries."""
    return (await backend.info(topic)).length


async def test_a_record_with_a_key_is_stored_once(streams: StreamBackend) -> None:
    """The first id is the answer, each time; keys and topics do not mix."""
    (first,) = await append(streams, "a")
    assert await append(streams, "a", "a") == [first, first]
    (other,) = await append(streams, "b")
    await append(streams, "a", topic="{t}.other")
    assert other > first
    assert (await length(streams), await length(streams, "{t}.other")) == (2, 1)


async def test_order_is_that_of_the_list_with_and_without_keys(streams: StreamBackend) -> None:
    """Also where the first key is met for the first time, and within many chunks."""
    keys = [str(number) if number % 3 else None for number in range(2500)]
    ids = await append(streams, *keys)
    assert ids == sorted(set(ids))
    again = await append(streams, *keys)
    assert [a == b for a, b in zip(ids, again, strict=True)] == [key is not None for key in keys]
    plain = [entry_id for entry_id, key in zip(again, keys, strict=True) if key is None]
    assert plain == sorted(plain)
    assert await length(streams) == 2500 + len(plain)


async def test_the_window_ends_and_is_not_prolonged(streams: StreamBackend) -> None:
    """It runs from when the record was stored."""
    (first,) = await append(streams, "a", window=0.3)
    with trio.fail_after(20):
        while (await append(streams, "a", window=0.3)) == [first]:
            await trio.sleep(0.02)
    assert await length(streams) == 2


async def test_the_window_on_the_clock_of_the_memory_backend(autojump_clock: MockClock) -> None:
    """To the millisecond, like a key that expires; what is over is not kept."""
    backend = MemoryBackend(wall_start=datetime(2024, 5, 1, tzinfo=UTC))
    (first,) = await append(backend, "a", window=2.0)
    await trio.sleep(2.0)
    assert await append(backend, "a", window=2.0) == [first]
    await trio.sleep(0.001)
    (second,) = await append(backend, "a", window=2.0)
    assert second > first


def test_marks_do_not_grow_without_bound() -> None:
    """What is over goes with the next look, whichever key that is for."""
    marks = Marks()
    for number in range(1000):
        assert marks.find("t", str(number), number) is None
        marks.add("t", str(number), EntryId(number), number + 10)
    assert len(marks) == 11
    assert marks.find("t", "new", 10**6) is None
    assert len(marks) == 0


async def test_a_key_of_any_length_is_told_apart(streams: StreamBackend) -> None:
    """Nothing is cut off, and what looks like our short form of a long one is another key."""
    long = "k" * 300_000
    (first,) = await append(streams, long)
    mark = mark_of("t", long)
    assert len(mark) < 200
    looks_alike = mark.rpartition(":")[2]
    others = await append(streams, long + "x", long[:-1], looks_alike, "ключ\n\0{x} '")
    assert len({first, *others}) == 5
    assert await append(streams, long) == [first]


async def test_many_fields_are_refused_only_with_a_key(streams: StreamBackend) -> None:
    """The others of the list are stored, each at its place."""
    big: Record = ((b"f", b""),) * 3501
    records = [RECORD, big, big, big[:3500], big]
    how = [None, None, once("a"), once("b"), once("c")]
    one, two, refused, four, last = await streams.append("t", records, how)
    for error in refused, last:
        assert isinstance(error, ValidationError)
        assert "3,501 fields" in str(error)
    assert refused is not last
    stored = [entry_id for entry_id in (one, two, four) if isinstance(entry_id, EntryId)]
    assert len(stored) == 3
    assert stored == sorted(stored)
    assert await length(streams) == 3


async def test_a_refused_record_leaves_no_mark(streams: StreamBackend) -> None:
    """Each has its own error, and the next attempt is the first."""
    refused, stored = await streams.append("t", [(), RECORD], [once("a"), once("b")])
    assert isinstance(refused, RemoteError)
    assert isinstance(stored, EntryId)
    await append(streams, "a")
    assert await length(streams) == 2


async def test_a_trimmed_record_is_still_known(streams: StreamBackend) -> None:
    """Its id is the answer: it was stored."""
    (first,) = await append(streams, "a")
    if isinstance(streams, MemoryBackend):
        streams.delete_entry("t", first)
    elif isinstance(streams, RedisBackend):
        await command(streams, "XDEL", "t", str(first))
    assert await append(streams, "a") == [first]
    assert await length(streams) == 0


async def test_a_key_that_holds_something_else(backend: RedisBackend) -> None:
    """The stream, or what should be our mark: its own error, and nothing is stored."""
    await command(backend, "SET", "text", "x")
    (wrong,) = await backend.append("text", [RECORD], [once("a")])
    assert isinstance(wrong, WrongType)
    assert await command(backend, "EXISTS", mark_of("text", "a")) == 0
    await command(backend, "LPUSH", mark_of("t", "a"), "x")
    (wrong,) = await backend.append("t", [RECORD], [once("a")])
    assert isinstance(wrong, WrongType)
    assert await length(backend) == 0


async def test_a_full_server_stores_neither_the_record_nor_its_mark(backend: RedisBackend) -> None:
    """And what it has is still answered."""
    (first,) = await append(backend, "a")
    await command(backend, "CONFIG", "SET", "maxmemory", 1)
    try:
        hit, refused, plain = await backend.append("t", [RECORD] * 3, [once("a"), once("b"), None])
    finally:
        await command(backend, "CONFIG", "SET", "maxmemory", 0)
    assert hit == first
    for error in refused, plain:
        assert isinstance(error, RemoteError)
        assert error.code == "OOM"
    assert await length(backend) == 1
    await append(backend, "b")
    assert await length(backend) == 2


async def test_without_the_right_to_mark_nothing_is_stored(backend: RedisBackend) -> None:
    """A record that cannot be stored once is not stored at all."""
    await command(backend, "ACL", "SETUSER", "default", "-set")
    try:
        (refused,) = await backend.append("t", [RECORD], [once("a")])
    finally:
        await command(backend, "ACL", "SETUSER", "default", "+set")
    assert isinstance(refused, RemoteError)
    assert await length(backend) == 0


async def test_marks_end_by_themselves_and_share_the_slot(backend: RedisBackend) -> None:
    """Milliseconds are rounded up; asking again does not prolong."""
    await append(backend, "a", topic="{orders}.x", window=59.9999)
    mark = mark_of("{orders}.x", "a")
    assert mark.startswith("trio_bus:{orders}:")
    left = await command(backend, "PTTL", mark)
    assert isinstance(left, int)
    assert 50_000 < left <= 60_000
    await append(backend, "a", topic="{orders}.x", window=1000)
    again = await command(backend, "PTTL", mark)
    assert isinstance(again, int)
    assert again <= left


async def test_a_server_that_forgets_its_scripts_keeps_the_order(backend: RedisBackend) -> None:
    """Before, and while the list is under way."""
    ids = await append(backend, "a", None, "b")
    await command(backend, "SCRIPT", "FLUSH")
    keys = [str(number) if number % 2 else None for number in range(3000)]
    async with trio.open_nursery() as nursery:

        async def forget() -> None:
            while True:
                await command(backend, "SCRIPT", "FLUSH")

        nursery.start_soon(forget)
        ids += await append(backend, *keys)
        nursery.cancel_scope.cancel()
    assert ids == sorted(set(ids))
    assert await length(backend) == 3003
