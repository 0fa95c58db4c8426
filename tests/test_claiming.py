"""Claiming, by whole subscriptions: who finds what nobody holds, who takes it, and how much."""

from __future__ import annotations

import re
from collections import Counter

import attrs
import pytest
import trio

from tests.harness import World, config, numbered, open_world, publish, until
from tests.redis_world import command as ask
from tests.servers import command
from tests.test_processes import Lines, consumer
from tests.test_wake import SLOW
from trio_bus import Delivery, Transition, open_subscription
from trio_bus._backend import Entry, Membership, Release, Retry
from trio_bus._entry_id import EntryId
from trio_bus._redis import RedisBackend
from trio_bus._redis.replies import as_text

pytestmark = pytest.mark.every_server

GHOST = Membership(topic="orders", group="billing", consumer="ghost", lease=60.0, max_attempt=9)


async def left_by_a_ghost(world: World, publish_too: int = 0, count: int = 3) -> list[Entry]:
    """Publish, and let a consumer that does nothing more have the first of it."""
    await world.backend.create_group("orders", "billing", EntryId(0))
    await publish(world.bus(), count + publish_too)
    async with world.backend.join(GHOST) as ghost:
        entries = await ghost.read(count, 5)
        assert len(entries) == count
        return entries


async def test_who_has_no_free_permit_finds_for_those_who_have(backend_url: str) -> None:
    """Its ticks find what was abandoned; the other one is woken, and does not tick meanwhile."""
    busy_settings = attrs.evolve(config(), claim_idle_timeout=1.0, max_in_flight=1)
    free_settings = attrs.evolve(SLOW, claim_idle_timeout=1.0)
    seen = Counter[bytes]()

    async def stay(delivery: Delivery) -> None:
        await trio.sleep_forever()

    async def note(delivery: Delivery) -> None:
        seen[delivery.message.payload] += delivery.state.attempt

    async with open_world(backend_url) as world:
        await left_by_a_ghost(world, publish_too=1)
        async with open_subscription(
            world.bus(), attrs.evolve(busy_settings, drain_timeout=0), stay
        ) as busy:
            await until(lambda: busy.statistics().in_flight == 1)
            async with open_subscription(world.bus(), free_settings, note) as free:
                await until(lambda: free.statistics().handled == 3)
                assert busy.statistics().lost_leases == 0
    assert seen == dict.fromkeys(numbered(3), 2), "the delivery that was abandoned counts"


async def test_never_more_is_claimed_than_there_are_permits(backend_url: str) -> None:
    """Wherever it waits; the server counts, and what is claimed starts at once."""
    settings = attrs.evolve(config(), claim_idle_timeout=2.0, max_in_flight=3)
    running, most = 0, 0
    go_on = trio.Event()
    seen: list[bytes] = []

    async def work(delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        seen.append(delivery.message.payload)
        running -= 1

    async with open_world(backend_url) as world:
        entries = await left_by_a_ghost(world, count=30)
        async with world.backend.join(GHOST) as ghost:
            await ghost.settle([Release(it.receipt) for it in entries[:10]])
            await ghost.settle([Retry(it.receipt) for it in entries[10:20]])
        async with open_subscription(world.bus(), settings, work) as subscription:
            await until(lambda: running == 3)
            ticks = 0
            with trio.fail_after(20):
                while ticks < 10:
                    group = await world.group()
                    held = {it.name: it.pending for it in group.consumers}
                    assert held[subscription.name] == running == 3
                    ticks += group.released + group.delayed == 27  # all are there to be taken
                    await trio.sleep(settings.reclaim_interval)
            go_on.set()
            await until(lambda: subscription.statistics().handled == 30)
            assert most == 3
        group = await world.group()
        assert (group.pending, group.released, group.delayed) == (0, 0, 0)
    assert sorted(seen, key=int) == numbered(30), "each of them once"


async def test_entries_that_were_deleted_while_they_waited_vanish_once(backend_url: str) -> None:
    """Released, due or abandoned: the observer hears of each, and nothing is pending."""
    async with open_world(backend_url) as world:
        entries = await left_by_a_ghost(world, count=4)
        async with world.backend.join(GHOST) as ghost:
            await ghost.settle([Release(entries[0].receipt), Retry(entries[1].receipt)])
        for entry in entries[:3]:
            world.delete_entry(entry.id)
        settings = attrs.evolve(config(), claim_idle_timeout=0.2)
        async with open_subscription(world.bus(), settings) as deliveries:
            async with await deliveries.receive() as delivery:
                assert delivery.entry_id == entries[3].id
            recorder = world.recorder
            await until(lambda: len(recorder.ids(Transition.VANISHED)) == 3)
            await trio.sleep(0.1)  # some ticks
            ids = recorder.ids(Transition.VANISHED)
            assert sorted(str(it) for it in ids) == sorted(str(it.id) for it in entries[:3])
        assert (await world.group()).pending == 0


@pytest.mark.long
async def test_the_consumer_of_a_killed_process_goes_and_an_idle_one_stays(
    server_url: str,
) -> None:
    """After two leases; whose read waits for longer than that is alive, and is never removed."""
    settings = attrs.evolve(config(), claim_idle_timeout=2.0, block_timeout=60.0)

    async def names() -> set[str]:
        return {it.name for it in (await world.group()).consumers}

    async def nothing(_: Delivery) -> None:
        pytest.fail("nothing is published for it")

    async with open_world(server_url) as world, consumer(server_url, "handle") as victim:
        await world.backend.create_group("orders", "billing", None)
        await publish(world.bus(), 10)
        await Lines(victim).until(10)
        while (await world.group()).pending:
            await trio.sleep(0.01)  # it has said all, and settled all
        (dead,) = await names()
        victim.kill()
        await victim.wait()
        async with (
            open_subscription(world.bus(), settings, nothing) as one,
            open_subscription(world.bus(), settings, nothing) as two,
        ):
            living = {one.name, two.name}
            with trio.fail_after(30):
                while not living <= await names():
                    await trio.sleep(0.01)
                while dead in (there := await names()):
                    assert living <= there
                    await trio.sleep(0.01)
        assert await names() == set()


async def calls(world: World, name: str) -> int:
    """Count the calls of a command since the server began to count."""
    assert isinstance(world.backend, RedisBackend)
    stats = as_text(await ask(world.backend, "INFO", "commandstats"))
    found = re.findall(rf"cmdstat_{name}[^:]*:calls=(\d+)", stats)
    return sum(int(count) for count in found)


@pytest.mark.bulk
async def test_what_one_does_for_all_does_not_grow_with_the_members(server_url: str) -> None:
    """Thirty members list the consumers as often as one does; each looks as often as it did."""
    settings = attrs.evolve(
        config(), claim_idle_timeout=0.2, reclaim_interval=0.2, block_timeout=60.0
    )

    async def nothing(_: Delivery) -> None:
        pytest.fail("nothing is published for it")

    async with open_world(server_url) as world, trio.open_nursery() as nursery:

        async def member(task_status: trio.TaskStatus[None]) -> None:
            async with open_subscription(world.bus(), settings, nothing):
                task_status.started()
                await trio.sleep_forever()

        for _ in range(30):
            await nursery.start(member)
        await trio.sleep(0.5)  # they have heard of each other
        began = trio.current_time()
        assert command(server_url, "CONFIG RESETSTAT") == "+OK"
        await trio.sleep(1.5)
        looks, lists = await calls(world, "evalsha"), await calls(world, "xinfo")
        took = trio.current_time() - began
        assert 1 <= lists <= took / (settings.reclaim_interval / 2) + 2
        assert looks <= 30 * (took / (0.8 * settings.reclaim_interval) + 1)
        nursery.cancel_scope.cancel()
