"""A batch is sent in parts, and is one unit all the same."""

# pyright: reportPrivateUsage=false
# What is owed, and packed, is counted.

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from tests.harness import numbered
from tests.test_pipeline import connected, running
from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost, OutcomeUnknown, ValidationError
from trio_bus._once import Once
from trio_bus._redis.appending import Part, parts
from trio_bus._redis.chunk import append_chunk


def records(count: int, size: int = 0) -> list[Record]:
    """Make records whose first field says which one it is."""
    return [((b"n", number), (b"data", bytes(size))) for number in numbered(count)]


def answers(first: int, count: int) -> bytes:
    """Write ids as a server does."""
    return b"".join(b"+5-%d\r\n" % number for number in range(first, first + count))


def test_parts_are_large_in_number_or_in_bytes() -> None:
    assert [count for _, count, _ in parts("t", records(300))] == [125, 125, 50]
    assert [count for _, count, _ in parts("t", records(5, 30_000))] == [3, 2]
    assert [count for _, count, _ in parts("t", records(3, 100_000))] == [1, 1, 1]
    assert list(parts("t", [])) == []


def test_what_cannot_be_sent_has_its_place_in_a_part() -> None:
    large: Record = ((b"f", b""),) * 3501
    once = [Once("k", 1.0), Once("l", 1.0), None]
    ((_, count, refused),) = parts("t", [large, *records(2)], once)
    assert (count, [at for at, _ in refused]) == (2, [0])
    ((data, count, refused),) = parts("t", [large], once[:1])
    assert (data, count, len(refused)) == (b"", 0, 1)


async def test_a_part_is_sent_before_the_next_one_is_packed() -> None:
    """In one step: no other task needs to run for that."""
    async with connected() as (pipeline, server), trio.open_nursery() as nursery:
        under_way: list[int] = []

        def packed() -> Iterator[Part]:
            for part in parts("t", records(90, 800)):
                under_way.append(len(pipeline._owed))
                yield part

        async def append() -> None:
            found, cause = await append_chunk(pipeline, packed())
            assert found == [EntryId(5, number) for number in range(90)]
            assert cause is None

        nursery.start_soon(append)
        await server.hear(90)
        assert under_way == [0, 1]
        await server.stream.send_all(answers(0, 90))


@pytest.mark.parametrize("told", [0, 125, 130])
@pytest.mark.parametrize("window", [250, 1000])
async def test_a_chunk_that_is_cancelled_leaves_nothing(told: int, window: int) -> None:
    """Some parts were answered, some are waited for, and one may have no room in the window."""
    async with running(window=window) as (pipeline, server, credit):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(append_chunk, pipeline, parts("t", records(300)))
            heard = len(await server.hear(250))
            await server.stream.send_all(answers(0, told))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert not pipeline._outbox
        more = await server.hear(300) if window == 1000 or told >= 125 else []
        heard = max(heard, len(more))
        await server.stream.send_all(answers(told, heard - told))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.call, "ECHO", "x")
            await server.hear(heard + 1)
            await server.stream.send_all(b"+x\r\n")
        assert credit.held == (0, 0)


async def test_in_a_scope_that_is_cancelled_nothing_is_sent() -> None:
    async with running(window=1000) as (pipeline, _, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await append_chunk(pipeline, parts("t", records(300)))
        assert scope.cancelled_caught
        assert not pipeline._owed
        assert not pipeline._outbox


async def test_what_was_not_sent_when_the_connection_is_lost_is_told_apart() -> None:
    """One part is answered, one in half, one not at all; one did not fit into the window."""
    async with running(window=375) as (pipeline, server, _), trio.open_nursery() as nursery:
        kinds: list[type] = []

        async def append() -> None:
            found, cause = await append_chunk(pipeline, parts("t", records(500)))
            assert isinstance(cause, EOFError)
            kinds.extend(map(type, found))

        nursery.start_soon(append)
        await server.hear(375)
        await server.stream.send_all(answers(0, 124))
        await wait_all_tasks_blocked()
        await server.stream.aclose()
    assert kinds == [EntryId] * 124 + [OutcomeUnknown] * 251 + [ConnectionLost] * 125


async def test_a_chunk_of_which_nothing_can_be_sent_is_a_checkpoint() -> None:
    large: Record = ((b"f", b""),) * 3501
    async with running() as (pipeline, _, _):
        with trio.testing.assert_checkpoints():
            found, cause = await append_chunk(pipeline, parts("t", [large], [Once("k", 1.0)]))
        assert [type(it) for it in found] == [ValidationError]
        assert cause is None


async def test_a_chunk_ends_when_it_is_large() -> None:
    """In number, or in bytes."""
    for given, most in ((records(1200), 1000), (records(20, 100_000), 11)):
        packed = parts("t", given)
        async with running(window=2000) as (pipeline, server, _), trio.open_nursery() as nursery:
            nursery.start_soon(append_chunk, pipeline, packed)
            await server.hear(most)
            await server.stream.send_all(answers(0, most))
        assert sum(count for _, count, _ in packed) == len(given) - most
