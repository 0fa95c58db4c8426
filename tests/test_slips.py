"""Mistakes in the life of a subscription that no other test here would notice."""

# pyright: reportPrivateUsage=false
# An entry is deleted behind the back of who holds it.

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, publish
from tests.redis_world import GROUP, TOPIC, US, command, ids, receipts
from tests.redis_world import publish as append
from trio_bus import AckMode, Bus, BusOptions, Delivery, RedisBackend, Transition, open_subscription
from trio_bus._backend import Retry
from trio_bus._memory.stream_commands import xdel
from trio_bus._names import own_key
from trio_bus._observer import ErrorEvent, TransitionEvent


@pytest.mark.guards("results of a batch are swapped")
async def test_each_settlement_of_a_batch_gets_its_own_result(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """One of the entries is gone, and only that one is told as such."""
    manual = attrs.evolve(config(), ack_mode=AckMode.MANUAL)
    async with open_subscription(world.bus(), manual) as subscription:
        await publish(world.bus(), 3)
        first, kept, deleted = [await subscription.receive() for _ in range(3)]
        xdel(flaky.inner._server.store, "orders", [str(deleted.entry_id)])
        flaky.delay("settle", 1.0)  # meanwhile the other two become one batch
        async with trio.open_nursery() as nursery:
            for settle in (first.ack, kept.release, deleted.release):
                nursery.start_soon(settle)
                await trio.sleep(0.1)
    assert world.recorder.ids(Transition.VANISHED) == [deleted.entry_id]
    assert kept.entry_id in world.recorder.ids(Transition.RELEASED)


@pytest.mark.guards("a cursor is stale")
async def test_a_search_finds_what_comes_behind_it(backend: RedisBackend) -> None:
    """An entry whose due time was lost is found, wherever the search before it ended."""
    await append(backend, 2)
    async with backend.join(US) as us:
        older, newer = receipts(await us.read(2, 1))
        for receipt in (newer, older):
            await us.settle([Retry(receipt)])
            await command(backend, "DEL", own_key(TOPIC, "due", GROUP))
            await us.look()
            assert ids((await us.take_over(10)).entries) == [receipt.id]


class Arrival:
    """An observer that is told when something arrives."""

    def __init__(self) -> None:
        self.happened = trio.Event()

    def on_error(self, _event: ErrorEvent, /) -> None:
        """Leave it."""

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Tell."""
        if event.transition is Transition.RECEIVED:
            self.happened.set()


@pytest.mark.guards("a drain starts handlers")
async def test_what_has_arrived_is_not_started_after_the_end(world: World) -> None:
    """It is given back, also if it was on its way to its handler."""
    started: list[Delivery] = []

    async def handler(delivery: Delivery) -> None:
        started.append(delivery)

    await publish(world.bus(), 3)
    arrival = Arrival()
    bus = Bus(world.backend, BusOptions(observer=arrival))
    with trio.fail_after(10):
        async with open_subscription(bus, config(), handler) as subscription:
            await arrival.happened.wait()
            await subscription.drain()
    assert not started
    assert (await world.group()).pending == 0
