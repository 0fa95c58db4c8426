"""A stream that has given out its last id takes nothing more: nothing is lost by that, or spins."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest

from tests.harness import World, open_world, publish
from tests.servers import command
from trio_bus import EntryId, MemoryBackend
from trio_bus._backend import Ack, Bury, Death, DeathCause
from trio_bus._settled import Settled
from trio_bus.abc import Membership

pytestmark = pytest.mark.every_server

LAST = 2**64 - 1
US = Membership(topic="orders", group="billing", consumer="us", lease=60.0, max_attempt=3)
USED_UP = "exhausted the last possible ID"


@pytest.fixture
async def world(backend_url: str) -> AsyncIterator[World]:
    """Give streams on the backend of this run."""
    async with open_world(backend_url) as world:
        yield world


def use_up(world: World, topic: str = "orders") -> None:
    """Add an entry with the greatest id there is."""
    if isinstance(world.backend, MemoryBackend):
        world.backend.use_up(topic)
    else:
        command(world.url, f"XADD {topic} {LAST}-{LAST} n 1")


async def delete(world: World) -> None:
    if isinstance(world.backend, MemoryBackend):
        world.backend.delete_topic("orders")
    else:
        command(world.url, "DEL orders")
    await world.backend.create_group("orders", "billing", EntryId(0))


async def test_what_is_due_waits_until_the_stream_takes_it(world: World) -> None:
    """It is refused at each look, says why, and is no reason to look again at once."""
    backend = world.backend
    await backend.create_group("orders", "billing", EntryId(0))
    use_up(world)
    (refused,) = await backend.append("orders", [((b"n", b"2"),)])
    assert USED_UP in str(refused)
    await backend.schedule("orders", ((b"n", b"3"),), "uid", 0.0)
    async with backend.join(US) as us:
        for _ in range(3):
            look = await us.look()
            assert USED_UP in str(look.refusal)
            assert look.due_in is None
        assert (await backend.info("orders")).scheduled == 1
        (entry,) = await us.read(5, 0.0)
        assert entry.id == EntryId(LAST, LAST)
        await delete(world)
        assert (await us.look()).refusal is None
        (entry,) = await us.read(5, 0.0)
        assert entry.record == ((b"n", b"3"),)
        assert (await backend.info("orders")).scheduled == 0


async def test_what_the_dead_letter_topic_does_not_take_stays_where_it_is(world: World) -> None:
    """The refusal is told, and the entry is still ours."""
    backend, dead = world.backend, "{orders}.dead"
    await backend.create_group("orders", "billing", EntryId(0))
    use_up(world, dead)
    await publish(world.bus(), 1)
    async with backend.join(attrs.evolve(US, dead_letter_topic=dead)) as us:
        (entry,) = await us.read(1, 1.0)
        (refused,) = await us.settle([Bury(entry.receipt, Death(DeathCause.REJECTED, "", "no"))])
        assert USED_UP in str(refused)
        assert await us.settle([Ack(entry.receipt)]) == [Settled.DONE]
    assert (await backend.info(dead)).length == 1


async def test_whoever_got_the_last_entry_there_is_can_be_asked_about(world: World) -> None:
    """Behind it nothing can be, and no interval of ids begins there."""
    backend, last = world.backend, EntryId(LAST, LAST)
    await backend.create_group("orders", "billing", EntryId(0))
    use_up(world)
    async with backend.join(US) as us:
        (entry,) = await us.read(1, 1.0)
        (group,) = (await backend.info("orders")).groups
        assert (entry.id, group.last_delivered, group.oldest) == (last, last, last)
        assert await us.settle([Ack(entry.receipt)]) == [Settled.DONE]
    assert (await backend.info("orders")).groups[0].oldest is None
