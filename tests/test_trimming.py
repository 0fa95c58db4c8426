"""Retention, by whole subscriptions: what they remove, and what becomes of what is gone."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, publish, until
from tests.harness import config as soon
from tests.test_rights import allow, few_url
from trio_bus import (
    AckMode,
    Delivery,
    Message,
    PermissionDenied,
    Redriven,
    Retention,
    SubscriptionConfig,
    Transition,
    open_bus,
    open_subscription,
)
from trio_bus._redis.rights import OPTIONAL, RETAINING, SUBSCRIBING

pytestmark = pytest.mark.every_server

__all__ = ["few_url"]

NOTHING_KEPT = Retention(max_length=0)
KEEPING = attrs.evolve(soon(), retention=NOTHING_KEPT)
SHIPPING = attrs.evolve(KEEPING, group="shipping")


async def handle(_: Delivery) -> None:
    """Handle at once."""


async def reject(delivery: Delivery) -> None:
    """Give up."""
    await delivery.reject("no such customer")


async def length(world: World, topic: str = "orders") -> int:
    """Return how many entries a topic has."""
    return (await world.backend.info(topic)).length


async def until_trimmed(world: World, left: int) -> None:
    """Wait until so many entries are left."""
    with trio.fail_after(20):
        while await length(world) > left:
            await trio.sleep(0.01)
    assert await length(world) == left


async def test_what_all_have_handled_goes(any_world: World) -> None:
    """By whichever of them looks; the one that is away holds back what it has not handled."""
    bus = any_world.bus()
    async with open_subscription(bus, SHIPPING, handle) as away:
        await publish(bus, 2)
        await until(lambda: away.statistics().handled == 2)
    async with open_subscription(bus, KEEPING, handle) as here:
        await until_trimmed(any_world, 0)
        await publish(bus, 3)
        await until(lambda: here.statistics().handled == 5)
        await trio.sleep(0.5)
        assert await length(any_world) == 3
        async with open_subscription(bus, SHIPPING, handle) as back:
            await until_trimmed(any_world, 0)
            trimmed = back.statistics().trimmed + here.statistics().trimmed
        assert trimmed + away.statistics().trimmed == 5


async def test_with_acks_on_arrival_too(any_world: World) -> None:
    """It is finished when it is acked."""
    config = SubscriptionConfig(
        *("orders", "billing"),
        ack_mode=AckMode.AUTO_ON_RECEIVE,
        reclaim_interval=0.02,
        retention=NOTHING_KEPT,
    )
    async with open_subscription(any_world.bus(), config, handle):
        await publish(any_world.bus(), 3)
        await until_trimmed(any_world, 0)


async def test_a_dead_letter_outlives_its_entry(any_world: World) -> None:
    """Sent back, it is a copy for the group that gave it up; the others have it done unseen."""
    bus = any_world.bus()
    handled: list[tuple[str, bytes]] = []

    async def note(delivery: Delivery) -> None:
        handled.append(("billing", delivery.message.payload))

    async def note_too(delivery: Delivery) -> None:
        handled.append(("shipping", delivery.message.payload))

    async with open_subscription(bus, SHIPPING, note_too):
        async with open_subscription(bus, KEEPING, reject) as failing:
            await publish(bus, 1)
            await until(lambda: failing.statistics().rejected == 1)
            await until_trimmed(any_world, 0)
        async with open_subscription(bus, KEEPING, note):
            outcome = await bus.redrive("{orders}.dead", everything=True)
            assert [it.result for it in outcome.results] == [Redriven.COPIED]
            await until_trimmed(any_world, 0)
    assert handled == [("shipping", b"0"), ("billing", b"0")]


async def test_what_is_kept_as_dead_is_kept(any_world: World) -> None:
    """Where there is no dead-letter topic; sent back and handled, it goes."""
    bus = any_world.bus()
    config = attrs.evolve(KEEPING, dead_letter_topic=None)
    async with open_subscription(bus, config, reject) as failing:
        await publish(bus, 2)
        await until(lambda: failing.statistics().rejected == 2)
        await trio.sleep(0.5)
        assert await length(any_world) == 2
    async with open_subscription(bus, config, handle):
        outcome = await bus.redrive("orders", group="billing", everything=True)
        assert [it.result for it in outcome.results] == [Redriven.DONE] * 2
        await until_trimmed(any_world, 0)


async def test_a_declared_loss_is_told(any_world: World) -> None:
    """What is held ends as vanished, once; what was not read never comes."""
    bus, begun = any_world.bus(), trio.Event()
    retention = Retention(max_length=1, finished=False)
    config = attrs.evolve(KEEPING, retention=retention, max_in_flight=1, claim_idle_timeout=2.0)

    async def work(_: Delivery) -> None:
        begun.set()
        await until(lambda: subscription.statistics().vanished == 1)

    async with open_subscription(bus, config, work) as subscription:
        ids = await publish(bus, 1)
        await begun.wait()
        ids += await publish(bus, 3)
        await until(lambda: subscription.statistics().vanished == 1)
        await until(lambda: subscription.statistics().handled == 1)
        assert subscription.statistics().received == 2
        assert subscription.statistics().trimmed == 3
        with trio.fail_after(20):
            await subscription.wait_idle()
    assert any_world.recorder.ids(Transition.VANISHED) == ids[:1]
    assert any_world.recorder.ids(Transition.ACKED) == ids[3:]


async def test_a_lack_of_rights_is_no_secret(few_url: str) -> None:
    """It ends the subscription: nothing heals that."""
    allow(few_url, *SUBSCRIBING, *OPTIONAL)
    async with open_bus(few_url) as bus:
        with trio.fail_after(20), pytest.raises(PermissionDenied):
            async with open_subscription(bus, KEEPING, handle):
                await publish(bus, 1)
                await trio.sleep_forever()
        allow(few_url, *SUBSCRIBING, *OPTIONAL, *RETAINING)
        async with open_subscription(bus, KEEPING, handle):
            with trio.fail_after(20):
                while (await bus.info("orders")).length:
                    await trio.sleep(0.01)


async def test_an_idle_topic_is_looked_at_seldom(autojump_clock: MockClock, world: World) -> None:
    """Once in ten ticks, and by one member for all; a look of its own is never needed."""
    bus = world.bus()
    async with open_subscription(bus, KEEPING, handle), open_subscription(bus, SHIPPING, handle):
        await bus.publish(Message("orders", b"1"))
        await trio.sleep(0.3)
        assert await length(world) == 0
        await bus.publish(Message("orders", b"2"))
        await trio.sleep(0.05)
        assert await length(world) == 1, "it was handled at once, and is left alone for a while"
        await trio.sleep(0.3)
        assert await length(world) == 0
