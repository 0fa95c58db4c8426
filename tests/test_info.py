"""What a bus tells of a topic, on every backend."""

from __future__ import annotations

import attrs
import pytest

from tests.harness import World, config, publish
from tests.servers import command
from trio_bus import (
    DeathCause,
    EntryId,
    GroupInfo,
    MemoryBackend,
    Message,
    TopicInfo,
    WrongType,
    open_subscription,
)
from trio_bus.abc import Bury, Death, Membership, Release, Retry

pytestmark = pytest.mark.every_server

US = Membership(topic="orders", group="billing", consumer="us", lease=60.0, max_attempt=3)


async def test_nothing_is_told_of_what_does_not_exist(any_world: World) -> None:
    """It is empty, and asking makes nothing of it."""
    bus = any_world.bus()
    for _ in range(2):
        assert await bus.info("orders") == TopicInfo("orders", 0, (), None, 0)
    await bus.schedule(Message("orders", b"later"), delay=1000)
    assert await bus.info("orders") == TopicInfo("orders", 0, (), None, 1)
    assert await bus.info("other") == TopicInfo("other", 0, (), None, 0)


async def test_each_number_is_what_it_says(any_world: World) -> None:
    """One entry, or two, in each state that an entry of a group can be in."""
    backend, bus = any_world.backend, any_world.bus()
    await backend.create_group("orders", "billing", EntryId(0))
    await backend.create_group("orders", "audit", None)
    ids = await publish(bus, 8)
    await bus.schedule(Message("orders", b"later"), delay=1000)
    await bus.schedule(Message("orders", b"much later"), delay=2000)
    death = Death(DeathCause.REJECTED, "", "never")
    async with backend.join(US) as us, backend.join(attrs.evolve(US, consumer="idle")) as idle:
        dead, free, due, *more = await us.read(6, 1.0)
        assert len(more) == 3
        await us.settle(
            [
                Bury(dead.receipt, death),
                Release(free.receipt),
                Retry(due.receipt, 1000.0),
            ]
        )
        await idle.read(1, 1.0)
        info = await bus.info("orders")
        assert (info.topic, info.length, info.oldest, info.scheduled) == ("orders", 8, ids[0], 2)
        audit, billing = info.groups
        assert shown(audit) == ("audit", 0, 0, 0, 0, ids[0])
        assert audit.consumers == ()
        assert shown(billing) == ("billing", 4, 1, 1, 1, ids[1])
        assert billing.last_delivered == ids[6]
        told = [(it.name, it.pending) for it in billing.consumers]
        assert told == [("idle", 1), ("us", 3)]
        assert all(0 <= it.idle < 60 for it in billing.consumers)
        known = not any_world.url.startswith("unix:") or billing.lag is not None
        assert (billing.lag, audit.lag) == ((1, 8) if known else (None, None))


def shown(group: GroupInfo) -> tuple[str, int, int, int, int, EntryId | None]:
    """Return what a group holds, and since when."""
    held = (group.pending, group.released, group.delayed, group.dead)
    return (group.name, *held, group.oldest)


async def test_the_oldest_is_what_a_group_has_not_finished(any_world: World) -> None:
    """Whoever holds it; then what waits; then nothing."""
    backend, bus = any_world.backend, any_world.bus()
    await backend.create_group("orders", "billing", EntryId(0))

    async def oldest() -> EntryId | None:
        return (await any_world.group()).oldest

    assert await oldest() is None
    ids = await publish(bus, 3)
    assert await oldest() == ids[0], "not yet delivered"
    async with backend.join(US) as us:
        first, second = await us.read(2, 1.0)
        assert await oldest() == ids[0]
        await us.settle([Release(second.receipt)])
        assert await oldest() == ids[0]
        await us.settle([Retry(first.receipt, 1000.0)])
        assert await oldest() == ids[0], "it waits for its next attempt"
    async with open_subscription(bus, config()) as deliveries:
        for _ in range(2):
            await (await deliveries.receive()).ack()
    assert await oldest() == ids[0], "the others are done"
    assert (await bus.info("orders")).oldest == ids[0]


async def test_ids_are_compared_as_numbers(any_world: World) -> None:
    """Also where text would sort otherwise, and where a double loses digits."""
    if isinstance(any_world.backend, MemoryBackend):
        pytest.skip("ids are its own there")
    url = any_world.url
    for entry_id in "9-1", "10-9", "10-10", "18446744073709551614-1", "18446744073709551615-1":
        assert command(url, f"XADD orders {entry_id} f v", reply_line=2) == entry_id
    await any_world.backend.create_group("orders", "billing", EntryId(0))
    one, two = attrs.evolve(US, consumer="one"), attrs.evolve(US, consumer="two")
    async with any_world.backend.join(one) as first, any_world.backend.join(two) as second:
        await first.read(1, 1.0)
        await second.read(1, 1.0)
        assert (await any_world.group()).oldest == EntryId(9, 1)
        command(url, "XACK orders billing 9-1")
        assert (await any_world.group()).oldest == EntryId(10, 9)
        command(url, "XACK orders billing 10-9")
        assert (await any_world.group()).oldest == EntryId(10, 10)
        await first.read(1, 1.0)
        await second.read(1, 1.0)
        await first.read(1, 1.0)
        command(url, "XACK orders billing 10-10")
        assert (await any_world.group()).oldest == EntryId(2**64 - 2, 1)


async def test_what_was_trimmed_unread_is_not_to_be_read(any_world: World) -> None:
    """Servers go on counting it: ``lag`` said 1 of a stream that is empty."""
    backend = any_world.backend
    await backend.create_group("orders", "billing", EntryId(0))
    async with backend.join(US) as us:
        await publish(any_world.bus(), 2)
        assert len(await us.read(1, 1.0)) == 1
    if isinstance(backend, MemoryBackend):
        backend.trim("orders", 0)
    else:
        assert command(any_world.url, "XTRIM orders MAXLEN = 0") == ":2"
    assert (await any_world.group()).lag in {0, None}


async def test_a_key_that_is_no_stream_is_named(any_world: World) -> None:
    """By the topic that was asked for."""
    if isinstance(any_world.backend, MemoryBackend):
        pytest.skip("there are only streams")
    assert command(any_world.url, "SET orders 7") == "+OK"
    with pytest.raises(WrongType, match="orders"):
        await any_world.bus().info("orders")
    with pytest.raises(WrongType, match=r"^WRONGTYPE .*: topic 'orders'$"):
        async with open_subscription(any_world.bus(), config()):
            pytest.fail("it was opened")
