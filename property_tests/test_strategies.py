"""What the strategies make can be used as it is."""

from __future__ import annotations

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_bus import (
    Bus,
    BusOptions,
    Delivery,
    MemoryBackend,
    Message,
    SubscriptionConfig,
    open_subscription,
)
from trio_bus.testing import RecordingObserver
from trio_bus.testing.strategies import messages, subscription_configs


@settings(max_examples=40)
@given(config=subscription_configs(), message=messages())
def test_any_subscription_can_be_opened_and_left(
    config: SubscriptionConfig, message: Message
) -> None:
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)
        await trio.lowlevel.checkpoint()

    async def main() -> None:
        bus = Bus(MemoryBackend(), BusOptions(observer=RecordingObserver()))
        with trio.fail_after(600):
            async with open_subscription(bus, config, handle):
                await bus.publish(message)
                await trio.sleep(1)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert set(handled) <= {message.payload}


@given(messages())
def test_any_message_can_be_published(message: Message) -> None:
    """A header may fill the key: an empty one is refused."""
    assert message.idempotency_key != ""


@given(st.data())
def test_topic_and_group_can_be_chosen(data: st.DataObject) -> None:
    config = data.draw(subscription_configs(st.just("orders"), st.just("billing")))
    assert (config.topic, config.group) == ("orders", "billing")
    assert config.dead_letter_topic in {None, "orders.dead"}
    assert data.draw(messages(topic=st.just("orders"), payload=st.just(b"x"))).topic == "orders"
