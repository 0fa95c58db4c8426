"""Who publishes and waits knows that it was handled, or what keeps it."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import World, config
from trio_bus import (
    Bus,
    Delivery,
    MemoryBackend,
    Message,
    TopicInfo,
    ValidationError,
    open_subscription,
)
from trio_bus.testing import publish_and_wait


async def test_it_returns_when_all_groups_have_finished(any_world: World) -> None:
    bus, done = any_world.bus(), list[str]()

    async def bill(_: Delivery) -> None:
        await trio.sleep(0.02)
        done.append("billed")

    async def refuse(delivery: Delivery) -> None:
        await delivery.reject("no")
        done.append("refused")

    async with (
        open_subscription(bus, config(group="billing"), bill),
        open_subscription(bus, config(group="shipping"), refuse),
    ):
        with trio.fail_after(10):
            entry_id = await publish_and_wait(bus, Message("orders", b""))
    assert sorted(done) == ["billed", "refused"]
    assert (await bus.info("orders")).groups[0].last_delivered == entry_id


async def test_only_the_groups_that_are_named_are_waited_for(any_world: World) -> None:
    bus = any_world.bus()

    async def hang(_: Delivery) -> None:
        await trio.sleep_forever()

    async def succeed(_: Delivery) -> None:
        return

    async with (
        open_subscription(bus, attrs.evolve(config(), drain_timeout=0.0), hang),
        open_subscription(bus, config(group="shipping"), succeed),
    ):
        with trio.fail_after(10):
            await publish_and_wait(bus, Message("orders", b""), groups=["shipping"])
        with pytest.raises(trio.TooSlowError) as caught:
            await publish_and_wait(bus, Message("orders", b""), timeout=1.5)
    text = str(caught.value)
    assert "in 'orders' is not finished after 1.5 s by 'billing'" in text
    assert "is the oldest, 2 held" in text
    assert "shipping" not in text


async def test_what_the_last_look_finds_finished_is_finished(autojump_clock: MockClock) -> None:
    """The time is over in the middle of a look: the text would name no group that keeps it."""

    class Slow(MemoryBackend):
        async def info(self, topic: str) -> TopicInfo:
            await trio.sleep(5)
            return await super().info(topic)

    bus = Bus(Slow())

    async def succeed(_: Delivery) -> None:
        return

    async with open_subscription(bus, config(), succeed):
        entry_id = await publish_and_wait(bus, Message("orders", b""), timeout=3)
        assert (await bus.info("orders")).groups[0].last_delivered == entry_id


async def test_where_nobody_would_handle_it_nothing_is_published(any_world: World) -> None:
    bus = any_world.bus()
    with pytest.raises(ValidationError, match="groups: topic 'orders' has none"):
        await publish_and_wait(bus, Message("orders", b""))
    async with open_subscription(bus, config()):
        with pytest.raises(ValidationError, match="groups: 'nobody' is no group of topic 'orders'"):
            await publish_and_wait(bus, Message("orders", b""), groups=["nobody"])
    assert (await bus.info("orders")).length == 0
