"""Cancelled at every step of every task, a subscription leaves nothing behind; in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import Recorder, World, publish
from trio_bus import (
    AckMode,
    Delivery,
    MemoryBackend,
    SubscriptionConfig,
    SubscriptionState,
    SubscriptionStatistics,
    open_subscription,
    run_subscription,
)

PUBLISHED = 4
CONFIG = SubscriptionConfig("orders", "billing", max_in_flight=2, reclaim_interval=0.05)


@attrs.define(slots=False, eq=False)
class CancelAt(trio.abc.Instrument):
    """Cancels a scope when all tasks together have made so many steps."""

    left: int
    scope: trio.CancelScope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - of trio
        """Count."""
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


Statistics = Callable[[], SubscriptionStatistics]
Scenario = Callable[[World, list[Statistics]], Awaitable[None]]


async def handle(delivery: Delivery) -> None:
    """Succeed, fail, release and retry by hand, in turn."""
    await trio.sleep(0.01)
    if delivery.message.payload == b"1":
        raise OSError("fails")
    if delivery.message.payload == b"2" and not delivery.state.redelivered:
        await delivery.retry("later", delay=0.01)


async def push(world: World, seen: list[Statistics]) -> None:
    """Have a handler."""
    async with open_subscription(world.bus(), CONFIG, handle) as subscription:
        seen.append(subscription.statistics)
        await trio.sleep(0.2)


async def at_most_once(world: World, seen: list[Statistics]) -> None:
    """Ack before handling."""
    once = attrs.evolve(CONFIG, ack_mode=AckMode.AUTO_ON_RECEIVE)

    async def receive(_: Delivery) -> None:
        await trio.sleep(0.01)

    async with open_subscription(world.bus(), once, receive) as subscription:
        seen.append(subscription.statistics)
        await trio.sleep(0.1)


async def pull(world: World, seen: list[Statistics]) -> None:
    """Iterate, in two tasks, and drain in the end."""
    async with (
        open_subscription(world.bus(), CONFIG) as deliveries,
        trio.open_nursery() as nursery,
    ):
        seen.append(deliveries.statistics)

        async def work() -> None:
            async for delivery in deliveries:
                async with delivery:
                    await handle(delivery)

        nursery.start_soon(work)
        nursery.start_soon(work)
        await trio.sleep(0.1)
        await deliveries.drain()


async def run_and_drain(world: World, seen: list[Statistics]) -> None:
    """Use the form for `nursery.start`."""
    async with trio.open_nursery() as nursery:
        subscription = await nursery.start(run_subscription, world.bus(), CONFIG, handle)
        seen.append(subscription.statistics)
        await trio.sleep(0.05)
        await subscription.drain()


@pytest.mark.parametrize("scenario", [push, at_most_once, pull, run_and_drain])
async def test_cancelled_at_any_step_it_leaves_nothing(
    autojump_clock: MockClock, scenario: Scenario
) -> None:
    """No entry is stranded, no consumer stays, nothing is held; steps are tried one by one."""
    step = 0
    finished = False
    while not finished:
        step += 1
        finished = not await cancelled_at(step, scenario)
    assert step > 50, "the sweep met real work"


async def cancelled_at(step: int, scenario: Scenario) -> bool:
    """Run it, cancel it there, and look; say whether there was such a step."""
    world = World("memory:", MemoryBackend(), Recorder())
    await world.backend.create_group("orders", "billing", None)
    await publish(world.bus(), PUBLISHED)
    seen: list[Statistics] = []
    scope = trio.CancelScope()
    instrument = CancelAt(step, scope)
    with scope:
        trio.lowlevel.add_instrument(instrument)
        try:
            await scenario(world, seen)
        finally:
            trio.lowlevel.remove_instrument(instrument)
    group = await world.group()
    assert (group.pending, group.consumers) == (0, ()), step
    for statistics in seen:
        assert statistics().state is SubscriptionState.CLOSED, step
        assert (statistics().in_flight, statistics().pending_acks) == (0, 0), step
    return instrument.left <= 0
