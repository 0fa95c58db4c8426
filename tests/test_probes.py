"""How an outage is probed: in bounded numbers, whatever is there, and whatever the server says."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import GHOST, World, config, lose_twice, publish, until
from trio_bus import (
    Backoff,
    ConnectionLost,
    Delivery,
    EntryId,
    MemoryBackend,
    Message,
    Scope,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus.abc import Release


async def fail(_: Delivery) -> None:
    """Fail, as everything does."""
    await trio.lowlevel.checkpoint()
    raise OSError("the database is down")


def guarded() -> SubscriptionConfig:
    """Return settings with a threshold, and with ordinary ticks."""
    return attrs.evolve(config(), failure_threshold=2, reclaim_interval=0.5)


async def test_probes_that_find_nothing_wait_for_a_tick(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """Where other consumers took everything, an outage asks no more than is asked otherwise."""
    async with open_subscription(world.bus(), guarded(), fail) as subscription:
        await publish(world.bus(), 2)
        await until(lambda: subscription.statistics().outage)
        flaky.inner.trim("orders", 0)
        await trio.sleep(10)
        before = dict(flaky.calls)
        await trio.sleep(100)
        asked = {name: flaky.calls[name] - before[name] for name in ("read", "take_over")}
    assert max(asked.values()) <= 200


async def test_probes_that_fail_wait_longer_and_longer(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend
) -> None:
    """The server may be away with everything else, for hours."""
    async with open_subscription(world.bus(), guarded(), fail) as subscription:
        await publish(world.bus(), 20)
        await until(lambda: subscription.statistics().outage)
        for operation in ("read", "take_over"):
            flaky.fail(operation, *[ConnectionLost("away")] * 10_000)
        await trio.sleep(600)
        flaky.heal()
    told = [it for it in world.recorder.errors if it.scope is Scope.READ]
    assert 100 < len(told) < 400


async def test_a_suspect_is_probed_where_nothing_else_is_left(
    autojump_clock: MockClock, memory: World
) -> None:
    """And while nothing else runs; or an outage without other messages would have no end."""
    starts: list[tuple[bytes, bool]] = []
    down, running = True, 0

    async def handle(delivery: Delivery) -> None:
        nonlocal running
        payload = delivery.message.payload
        starts.append((payload, running > 0))
        running += 1
        try:
            await trio.sleep(30 if payload == b"2" else 0.1)
        finally:
            running -= 1
        if payload == b"suspect" and down:
            raise OSError("the database is down")
        if payload in {b"0", b"1"}:
            if not subscription.statistics().outage:
                raise OSError("the database is down")
            await delivery.reject("no good")

    settings = attrs.evolve(
        guarded(), retry_backoff=Backoff(first=20.0, jitter=0.0), claim_idle_timeout=5.0
    )
    bus = memory.bus()
    await lose_twice(memory)
    await publish(bus, 3)
    async with open_subscription(bus, settings, handle) as subscription:
        await until(lambda: (b"suspect", False) in starts, 60)
        await until(lambda: subscription.statistics().outage)
        down = False
        await until(lambda: subscription.statistics().handled == 2, 60)
        assert not subscription.statistics().outage
    assert subscription.statistics().rejected == 2
    assert (b"suspect", True) not in starts


@pytest.mark.parametrize("dies", [True, False], ids=["abandoned", "released"])
async def test_poison_does_not_keep_the_others_from_being_tried(
    autojump_clock: MockClock, memory: World, *, dies: bool
) -> None:
    """What was released, or lost its consumer, comes before what has failed and is due again."""

    async def handle(delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        if delivery.message.payload != b"good":
            raise OSError("poison looks like an outage")

    bus, settings = memory.bus(), attrs.evolve(guarded(), claim_idle_timeout=1.0)
    async with open_subscription(bus, settings, handle) as subscription:
        await publish(bus, 6)
        await until(lambda: subscription.statistics().failed > 6)
        subscription.pause()
        async with memory.backend.join(GHOST) as other:
            await bus.publish(Message("orders", b"good"))
            (entry,) = await other.read(1, 0.1)
            if not dies:
                await other.settle([Release(entry.receipt)])
        subscription.resume()
        await until(lambda: subscription.statistics().handled == 1, 60)
    assert memory.recorder.ids(Transition.OUTAGE_ENDED)


async def test_what_cannot_be_buried_does_not_hold_up_what_is_due(
    autojump_clock: MockClock, memory: World
) -> None:
    """However much it is, and although it comes first."""
    dead = "{orders}.dead"
    us = attrs.evolve(GHOST, consumer="us", max_attempt=1, dead_letter_topic=dead)
    assert isinstance(memory.backend, MemoryBackend)
    memory.backend.use_up(dead)
    await memory.backend.create_group("orders", "billing", EntryId(0))
    await publish(memory.bus(), 201)
    async with memory.backend.join(GHOST) as ghost, memory.backend.join(us) as member:
        first, *_ = await ghost.read(201, 0.1)
        await ghost.settle([Release(first.receipt, 0.01)])
        await trio.sleep(1)
        await member.look()
        assert [it.id for it in (await member.take_over(10)).entries] == [first.id]
