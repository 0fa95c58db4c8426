"""Appending, groups and settling on real servers."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio

from tests.redis_world import (
    DEAD_TOPIC,
    DEATH,
    GROUP,
    OLDEST,
    THEM,
    TOPIC,
    US,
    command,
    ids,
    publish,
    raw_pending,
    receipts,
)
from trio_bus._backend import (
    Ack,
    Bury,
    DeathCause,
    Receipt,
    Record,
    Release,
    Retry,
    Settlement,
)
from trio_bus._dead_letter import dead_letter_of
from trio_bus._entry_id import EntryId
from trio_bus._errors import (
    GroupMissing,
    RemoteError,
    WrongType,
)
from trio_bus._names import own_key
from trio_bus._redis import RedisBackend
from trio_bus._redis.owed import Owed
from trio_bus._redis.pipeline import Pipeline
from trio_bus._redis.replies import read_entries
from trio_bus._settled import Settled

pytestmark = pytest.mark.every_server


@pytest.mark.guards("a batch loses its order")
async def test_append_keeps_order_fields_and_bytes(backend: RedisBackend) -> None:
    """Order is that of the list, over chunks too; names may repeat and hold any byte."""
    odd: Record = ((b"a", b"\x00\r\n"), (b"a", b""), (b"", b"\xff"))
    records: list[Record] = [odd]
    records += [((b"n", str(n).encode()),) for n in range(2500)]
    added = await backend.append(TOPIC, records)
    assert added == sorted(entry_id for entry_id in added if isinstance(entry_id, EntryId))
    async with backend.join(US) as us:
        entries = await us.read(3000, 1)
    assert [entry.record for entry in entries] == records
    assert ids(entries) == added


async def test_append_answers_for_each_record(backend: RedisBackend) -> None:
    """A refused record does not take the others with it."""
    first, second, third = await backend.append(TOPIC, [((b"n", b"1"),), (), ((b"n", b"3"),)])
    assert isinstance(first, EntryId)
    assert isinstance(second, RemoteError)
    assert isinstance(third, EntryId)
    assert await backend.append(TOPIC, []) == []


@pytest.mark.parametrize("count", [1, 2])
async def test_an_interrupt_does_not_come_between_queueing_and_waiting(
    backend: RedisBackend, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait that is noted must be the one that begins."""
    protected: list[bool] = []
    queue = Pipeline._queue

    def look(pipeline: Pipeline, owed: Owed) -> Owed:
        protected.append(trio.lowlevel.currently_ki_protected())
        return queue(pipeline, owed)

    monkeypatch.setattr(Pipeline, "_queue", look)
    await backend.append(TOPIC, [((b"n", b"1"),)] * count)
    assert protected == [True]


async def test_append_to_a_key_of_another_type(backend: RedisBackend) -> None:
    """Each record has an error of its own."""
    await command(backend, "SET", "text", "x")
    one, other = await backend.append("text", [((b"n", b"1"),)] * 2)
    assert type(one) is type(other) is WrongType
    assert one is not other


async def test_large_records_go_through(backend: RedisBackend) -> None:
    """Chunks are bounded by bytes; a record larger than the window goes alone."""
    body = bytes(range(256)) * (3 * 4096)
    records: list[Record] = [((b"p", body),)] * 5
    added = await backend.append(TOPIC, records)
    assert all(isinstance(entry_id, EntryId) for entry_id in added)
    async with backend.join(US) as us:
        assert [entry.record for entry in await us.read(5, 1)] == records


async def test_create_group_is_idempotent_and_clears_due_times(backend: RedisBackend) -> None:
    """An earlier life of the group leaves nothing: ids repeat after a DEL."""
    due = own_key(TOPIC, "due", GROUP)
    await command(backend, "ZADD", due, 1, "1-1")
    assert not await backend.create_group(TOPIC, GROUP, OLDEST)
    assert await command(backend, "EXISTS", due) == 1
    await command(backend, "DEL", TOPIC)
    assert await backend.create_group(TOPIC, GROUP, OLDEST)
    assert await command(backend, "EXISTS", due) == 0


async def test_a_group_begins_where_it_is_told(backend: RedisBackend) -> None:
    """After the newest, or after any id."""
    first, second, third = await publish(backend, 3)
    await backend.create_group(TOPIC, "newest", None)
    await backend.create_group(TOPIC, "middle", first)
    async with backend.join(attrs.evolve(US, group="middle")) as us:
        assert ids(await us.read(10, 1)) == [second, third]
    async with backend.join(attrs.evolve(US, group="newest")) as us:
        assert await us.read(10, 0.01) == []


async def test_missing_groups_and_wrong_types_are_told_apart(backend: RedisBackend) -> None:
    """GroupMissing heals by creating the group; WrongType does not."""
    receipt = Receipt(EntryId(1), 1)
    async with backend.join(attrs.evolve(US, group="nobody")) as us:
        for operation in (us.read(1, 1), us.take_over(1), us.look(), us.renew([receipt])):
            with pytest.raises(GroupMissing):
                await operation
        assert await us.settle([Ack(receipt), Release(receipt), Bury(receipt, DEATH)]) == (
            [Settled.LOST] * 3
        )
        assert await us.forget()
    await command(backend, "SET", "text", "x")
    async with backend.join(attrs.evolve(US, topic="text")) as us:
        for call in (us.read(1, 1), us.take_over(1), us.look(), us.forget()):
            with pytest.raises(WrongType):
                await call
        (refused,) = await us.settle([Ack(receipt)])
        assert isinstance(refused, WrongType)
    with pytest.raises(WrongType):
        await backend.create_group("text", GROUP, None)


async def test_info_folds_reserved_consumers(backend: RedisBackend) -> None:
    """What waits between deliveries is counted apart from what members hold."""
    await publish(backend, 6)
    membership = attrs.evolve(US, dead_letter_topic=None)
    async with backend.join(membership) as us:
        one, two, three, _, five = receipts(await us.read(5, 1))
        await us.settle([Release(one), Retry(two, 60), Release(three, 60), Bury(five, DEATH)])
    (group,) = (await backend.info(TOPIC)).groups
    assert (group.pending, group.released, group.delayed, group.dead) == (1, 1, 2, 1)
    assert [(it.name, it.pending) for it in group.consumers] == [("us", 1)]
    assert group.last_delivered == five.id
    assert group.lag in {1, None}
    assert (await backend.info(TOPIC)).length == 6


async def test_info_of_what_does_not_exist_is_empty(backend: RedisBackend) -> None:
    """A topic begins with its first message."""
    info = await backend.info("nothing")
    assert (info.length, info.groups) == (0, ())


async def test_settling_is_fenced_by_owner_and_attempt(backend: RedisBackend) -> None:
    """Whoever lost an entry changes nothing about it, whichever verb it uses."""
    await publish(backend, 4)
    async with backend.join(US) as us, backend.join(THEM) as them:
        entries = await us.read(4, 1)
        lost, absent = (Receipt(entries[0].id, 2), Receipt(EntryId(1), 1))
        for stale, answer in ((lost, Settled.LOST), (absent, Settled.ABSENT)):
            for settlement in (Ack(stale), Retry(stale), Release(stale), Bury(stale, DEATH)):
                assert await us.settle([settlement]) == [answer]
                assert await them.settle([settlement]) == [answer]
        ours = entries[0].receipt
        results = await them.settle([Ack(ours), Retry(ours), Release(ours), Bury(ours, DEATH)])
        assert results == [Settled.LOST] * 4
        assert await raw_pending(backend) == {entry.id: ("us", 1) for entry in entries}


@pytest.mark.guards("results of a batch are swapped")
async def test_a_batch_is_settled_each_for_itself(backend: RedisBackend) -> None:
    """Results stand in the order of the settlements, whatever their kinds."""
    await publish(backend, 5)
    async with backend.join(US) as us:
        one, two, three, four, five = receipts(await us.read(5, 1))
        await command(backend, "XDEL", TOPIC, str(five.id))
        results = await us.settle(
            [Bury(one, DEATH), Ack(two), Retry(five), Ack(two), Retry(three), Release(four)]
        )
    done, lost, gone = Settled.DONE, Settled.LOST, Settled.GONE
    assert results == [done, done, gone, lost, done, done]
    assert await raw_pending(backend) == {three.id: ("~due", 1), four.id: ("~free", 0)}


async def test_thousands_are_settled_in_one_call(backend: RedisBackend) -> None:
    """Large batches are cut into script calls that a server takes."""
    added = await publish(backend, 2500)
    async with backend.join(US) as us:
        entries = await us.read(3000, 1)
        assert await us.renew(receipts(entries)) == {}
        stale = await us.renew([Receipt(it, 2) for it in added])
        assert stale == dict.fromkeys(added, Settled.LOST)
        results = await us.settle([Ack(receipt) for receipt in receipts(entries)])
    assert results == [Settled.DONE] * 2500
    assert await raw_pending(backend) == {}


def _bury(receipt: Receipt) -> Bury:
    return Bury(receipt, DEATH)


@pytest.mark.parametrize("make", [Release, Retry, _bury])
async def test_deleted_entries_are_gone(
    backend: RedisBackend, make: Callable[[Receipt], Settlement]
) -> None:
    """What was trimmed away cannot be given back; it is not pending any more."""
    (entry_id,) = await publish(backend, 1)
    async with backend.join(US) as us:
        receipt = Receipt(entry_id, 1)
        await us.read(1, 1)
        await command(backend, "XDEL", TOPIC, str(entry_id))
        assert await us.settle([make(receipt)]) == [Settled.GONE]
        assert await us.renew([receipt]) == {entry_id: Settled.ABSENT}
    assert await raw_pending(backend) == {}


@pytest.mark.guards("undecodable bytes are lost")
async def test_a_buried_entry_keeps_its_bytes_and_gets_its_context(backend: RedisBackend) -> None:
    """The dead-letter topic has the fields as they came, and behind them why."""
    record: Record = ((b"a", b"\x00\xff"), (b"a", b""))
    (entry_id,) = await backend.append(TOPIC, [record])
    assert isinstance(entry_id, EntryId)
    async with backend.join(US) as us:
        await us.read(1, 1)
        assert await us.settle([Bury(Receipt(entry_id, 1), DEATH)]) == [Settled.DONE]
    rows = await command(backend, "XRANGE", DEAD_TOPIC, "-", "+")
    (dead,) = read_entries([[b"", rows]])
    dead_id, buried = dead.id, dead.record
    assert buried[:2] == record
    context = dead_letter_of(buried)
    assert context is not None
    assert (context.topic, context.group, context.entry_id) == (TOPIC, GROUP, entry_id)
    assert (context.attempts, context.cause) == (1, DeathCause.REJECTED)
    assert (context.error_type, context.error_text) == (
        "builtins.ValueError",
        "no such customer \\udc80",
    )
    assert context.first_received == entry_id.time
    assert context.last_received == dead_id.time
    assert await raw_pending(backend) == {}


async def test_a_renewal_of_several_names_the_one_that_is_gone(backend: RedisBackend) -> None:
    stored = await publish(backend, 3)
    async with backend.join(US) as us:
        entries = await us.read(3, 1)
        await command(backend, "XDEL", TOPIC, str(stored[1]))
        assert await us.renew(receipts(entries)) == {stored[1]: Settled.GONE}


async def test_an_entry_with_thousands_of_fields_is_kept_in_the_group(
    backend: RedisBackend,
) -> None:
    """A script cannot pass that many on; the entry is not lost for it."""
    record: Record = tuple((b"n", str(number).encode()) for number in range(3501))
    await backend.append(TOPIC, [record, record[:3500]])
    async with backend.join(US) as us:
        many, few = receipts(await us.read(2, 1))
        assert await us.settle([Bury(many, DEATH), Bury(few, DEATH)]) == [Settled.DONE] * 2
    assert await raw_pending(backend) == {many.id: ("~dead", 1)}
    assert await command(backend, "XLEN", DEAD_TOPIC) == 1


async def test_a_full_server_refuses_the_burial_and_loses_nothing(backend: RedisBackend) -> None:
    """The entry is acked only after the dead-letter topic has it; acks go on."""
    await publish(backend, 2)
    async with backend.join(US) as us:
        one, two = receipts(await us.read(2, 1))
        await us.settle([Ack(Receipt(EntryId(1), 1)), Bury(Receipt(EntryId(1), 1), DEATH)])
        await command(backend, "CONFIG", "SET", "maxmemory", 1)
        try:
            refused, acked = await us.settle([Bury(one, DEATH), Ack(two)])
            assert isinstance(refused, RemoteError)
            assert refused.code == "OOM"
            assert acked is Settled.DONE
            assert await raw_pending(backend) == {one.id: ("us", 1)}
            assert await us.settle([Retry(one, 60)]) == [Settled.DONE]
        finally:
            await command(backend, "CONFIG", "SET", "maxmemory", 0)
