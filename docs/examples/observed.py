"""Publish, wait until it is handled, and ask what happened."""

import trio

from trio_bus import (
    BusOptions,
    Delivery,
    Message,
    Scope,
    SubscriptionConfig,
    Transition,
    open_bus,
    open_subscription,
)
from trio_bus.testing import RecordingObserver, publish_and_wait


async def bill(delivery: Delivery) -> None:
    if delivery.message.payload == b"free":
        await delivery.reject("nothing to bill")
    elif delivery.state.attempt == 1:
        raise ConnectionError("the bank is away")


async def main() -> None:
    observer = RecordingObserver()
    billing = SubscriptionConfig("orders", "billing", dead_letter_topic="{orders}.dead")
    async with (
        open_bus("memory:", BusOptions(observer=observer)) as bus,
        open_subscription(bus, billing, bill),
    ):
        await publish_and_wait(bus, Message("orders", b"book"))
        await publish_and_wait(bus, Message("orders", b"free"))
        await observer.wait_for(Transition.ACKED, lambda it: it.attempt == 2)
    for failure in observer.of(Scope.HANDLER):
        print(f"attempt {failure.attempt} failed: {failure.error}")
    for death in observer.of(Transition.DEAD_LETTERED):
        print(f"dead-lettered: {death.reason}")


if __name__ == "__main__":
    trio.run(main)
