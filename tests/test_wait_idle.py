"""``wait_idle``: nothing that was received is open."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, publish, until
from trio_bus import ConnectionLost, Delivery, SubscriptionState, open_subscription


async def slow(_: Delivery) -> None:
    """Take two seconds."""
    await trio.sleep(2)


async def test_it_returns_at_once_where_nothing_is_held(
    autojump_clock: MockClock, world: World
) -> None:
    """As long as it is open, and for ever after."""
    async with open_subscription(world.bus(), config(), slow) as subscription:
        before = trio.current_time()
        with trio.testing.assert_checkpoints():
            await subscription.wait_idle()
    await subscription.wait_idle()
    assert subscription.statistics().state is SubscriptionState.CLOSED
    assert trio.current_time() == before


async def test_several_may_wait_and_one_may_leave(autojump_clock: MockClock, world: World) -> None:
    """Who is cancelled takes nothing from the others."""
    ends: list[float] = []

    async with open_subscription(world.bus(), config(), slow) as subscription:

        async def wait() -> None:
            await subscription.wait_idle()
            ends.append(trio.current_time())

        await publish(world.bus(), 3)
        await until(lambda: subscription.statistics().in_flight == 3)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            with trio.move_on_after(1) as scope:
                await subscription.wait_idle()
            assert scope.cancelled_caught
        assert subscription.statistics().handled == 3
    assert len(ends) == 3
    assert all(end - began == pytest.approx(2, abs=0.1) for end in ends)


async def test_it_waits_for_what_is_not_confirmed(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """A settlement that is under way is held."""
    async with open_subscription(world.bus(), config(), slow) as subscription:
        flaky.fail("settle", *[ConnectionLost("away") for _ in range(5)])
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().pending_acks == 1)
        assert subscription.statistics().handled == 0
        await subscription.wait_idle()
        assert subscription.statistics().handled == 1
        assert flaky.calls["settle"] == 6


@pytest.mark.parametrize("verb", ["retry", "release"])
async def test_what_waits_for_its_time_is_not_held(
    autojump_clock: MockClock, world: World, verb: str
) -> None:
    """It is with the group, and any consumer may get it."""
    async with open_subscription(world.bus(), config()) as deliveries:
        await publish(world.bus(), 1)
        delivery = await deliveries.receive()
        before = trio.current_time()
        await (delivery.release(500) if verb == "release" else delivery.retry("later", 500))
        await deliveries.wait_idle()
        assert trio.current_time() - before < 1
        assert (await world.group()).delayed == 1


async def test_it_waits_while_draining(autojump_clock: MockClock, world: World) -> None:
    """As `drain` does."""
    settings = attrs.evolve(config(), drain_timeout=10.0)
    async with open_subscription(world.bus(), settings, slow) as subscription:
        await publish(world.bus(), 1)
        await until(lambda: subscription.statistics().in_flight == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.drain)
            await until(lambda: subscription.statistics().state is SubscriptionState.DRAINING)
            await subscription.wait_idle()
            assert subscription.statistics().handled == 1
