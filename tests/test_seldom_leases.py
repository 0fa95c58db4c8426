"""Moments of leases, settlements and outages that other tests come to by chance only."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, publish, until
from tests.test_gaps import Stop
from tests.test_ordering import BRIEF, Work
from tests.test_ordering import publish as publish_keys
from tests.test_probes import fail, guarded
from trio_bus import (
    AckMode,
    Backoff,
    Batch,
    Delivery,
    GroupMissing,
    RemoteError,
    Scope,
    SubscriptionConfig,
    Transition,
    open_subscription,
)

LEASE = 6.0
LEASED = attrs.evolve(config(), claim_idle_timeout=LEASE)


async def test_what_an_earlier_settlement_may_have_hit_is_given_back(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """It was released, and came again with the same receipt before we heard of that."""
    starts: list[float] = []

    async def handle(delivery: Delivery) -> None:
        starts.append(trio.current_time())
        if len(starts) == 1:
            flaky.delay("settle", 3.0)
            await delivery.release()

    await publish(world.bus(), 1)
    async with open_subscription(world.bus(), LEASED, handle) as subscription:
        await until(lambda: bool(world.recorder.ids(Transition.ACKED)))
        assert subscription.statistics().in_flight == 0
    assert len(starts) == 2
    assert starts[1] - starts[0] >= 3.0
    assert len(world.recorder.ids(Transition.TAKEN_OVER)) == 2
    assert len(world.recorder.ids(Transition.STARTED)) == 2


async def test_whoever_leaves_handles_nothing_whose_ack_is_under_way(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """With AUTO_ON_RECEIVE: it is acked, and at most once is never."""
    handled: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(delivery)

    receiving = attrs.evolve(
        LEASED, ack_mode=AckMode.AUTO_ON_RECEIVE, retry_backoff=Backoff(), drain_timeout=0.0
    )
    flaky.delay("settle", 3.0)
    await publish(world.bus(), 1)
    async with open_subscription(world.bus(), receiving, handle):
        await until(lambda: bool(world.recorder.ids(Transition.RECEIVED)))
    assert not handled
    assert (await world.group()).pending == 0


async def test_a_batch_that_came_late_is_renewed_before_it_starts(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    sizes: list[int] = []
    began = trio.current_time()

    async def handle(batch: Batch) -> None:
        await trio.lowlevel.checkpoint()
        sizes.append(len(batch))

    flaky.delay("read", 4.0)
    flaky.delay("renew", 0.5)
    await publish(world.bus(), 2)
    async with open_subscription(world.bus(), LEASED, batch_handler=handle) as subscription:
        await until(lambda: subscription.statistics().handled == 2)
    assert sizes == [2]
    assert trio.current_time() - began >= 4.5


async def test_what_somebody_took_from_whoever_keeps_the_order_stands_in_line_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """As soon as that one gives it back."""
    stop, work = Stop(autojump_clock, flaky, seconds=0.0, steal=1), Work({"a1": 4.0})
    await publish_keys(world.bus(), "a1", "a2")
    async with open_subscription(world.bus(), BRIEF, work) as subscription:
        await until(lambda: work.started == ["a1"])
        stop()
        await until(lambda: subscription.statistics().lost_leases == 1)
        assert work.started == ["a1"]
        await stop.check_untouched()
        await until(lambda: work.started == ["a1", "a2"])


async def test_a_group_that_is_gone_in_an_outage_is_made_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """By whoever tries one entry after another."""
    settings = attrs.evolve(guarded(), reclaim_interval=1000.0)
    async with open_subscription(world.bus(), settings, fail) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().outage)
        flaky.inner.destroy_group("orders", "billing")
        await until(lambda: bool(world.recorder.ids(Transition.GROUP_RECREATED)), 2000.0)
    assert Scope.READ in {it.scope for it in world.recorder.errors}


async def test_a_private_group_that_is_there_all_the_same_is_not_made_again(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The answer that it is missing came too late."""
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(delivery.message.payload)

    flaky.fail("read", GroupMissing("NOGROUP no such group"))
    async with open_subscription(world.bus(), SubscriptionConfig.fan_out("orders"), handle):
        await publish(world.bus(), 2)
        await until(lambda: len(handled) == 2)
    assert not world.recorder.ids(Transition.GROUP_RECREATED)
    assert [type(it.error) for it in world.recorder.errors] == [GroupMissing]


async def test_what_is_refused_in_the_end_is_told(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Of what was given up before; the lease returns it."""
    settings = attrs.evolve(LEASED, shutdown_timeout=1.0)
    (entry_id,) = await publish(world.bus(), 1)
    with pytest.raises(Exception, match="not confirmed"):
        async with open_subscription(world.bus(), settings) as deliveries:
            delivery = await deliveries.receive()
            flaky.delay("settle", 1.5)
            flaky.fail("settle", *[RemoteError("OOM full")] * 1000)
            with trio.move_on_after(0.0):
                await delivery.ack()
    told = [it for it in world.recorder.errors if it.scope is Scope.RELEASE]
    assert {str(it.error) for it in told} == {"OOM full"}
    assert told[0].entry_id in {None, entry_id}


async def test_a_batch_that_could_not_be_entered_is_given_back(
    autojump_clock: MockClock, world: World
) -> None:
    """Somebody was cancelled before its block began; what was settled stays settled."""
    await publish(world.bus(), 3)
    async with open_subscription(world.bus(), LEASED) as deliveries:
        batch = await anext(deliveries.batches(3, 1.0))
        await batch.ack(batch.deliveries[0])
        with trio.CancelScope() as scope:
            scope.cancel()
            async with batch:
                pytest.fail("it was entered")
        assert scope.cancelled_caught
        await until(lambda: deliveries.statistics().released == 2)


async def test_what_fails_in_a_batch_of_which_all_was_lost_is_told(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Somebody has to hear of it; and nothing is settled."""
    stop = Stop(autojump_clock, flaky, seconds=0.0, steal=2)
    await publish(world.bus(), 2)
    async with open_subscription(world.bus(), LEASED) as deliveries:
        batch = await anext(deliveries.batches(2, 1.0))
        stop()
        await until(lambda: deliveries.statistics().lost_leases == 2)
        async with batch:
            raise OSError("late")
        assert [str(it.error) for it in world.recorder.errors] == ["late"]
        await stop.check_untouched()
