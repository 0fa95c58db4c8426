"""Meter readings: the dashboard shows them at once, billing comes at night, nobody keeps them."""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from trio_bus import (
    Bus,
    Delivery,
    Message,
    Retention,
    Subscription,
    SubscriptionConfig,
    open_bus,
    open_subscription,
)

# The last three stay, for whoever wants to look back. In earnest: max_age=3600, say.
KEPT = Retention(max_length=3)


def config(group: str) -> SubscriptionConfig:
    return SubscriptionConfig(
        "readings", group, max_in_flight=1, reclaim_interval=0.02, retention=KEPT
    )


async def handle(group: str, delivery: Delivery) -> None:
    print(f"{group}: {delivery.message.payload.decode()}")


def show(group: str) -> Callable[[Delivery], Awaitable[None]]:
    return partial(handle, group)


async def all_handled(subscription: Subscription) -> None:
    while subscription.statistics().handled < 5:
        await trio.sleep(0.01)
    await trio.sleep(0.5)  # it is looked at once in ten reclaim_intervals


async def left(bus: Bus) -> str:
    return f"{(await bus.info('readings')).length} readings are left"


async def main() -> None:
    async with open_bus("memory:") as bus:
        async with open_subscription(bus, config("billing")):
            pass  # opened once, the group exists: what is published from now on waits for it
        async with open_subscription(bus, config("dashboard"), show("dashboard")) as live:
            for kwh in range(5):
                await bus.publish(Message("readings", f"{kwh} kWh".encode()))
            await all_handled(live)
            print(await left(bus))
            async with open_subscription(bus, config("billing"), show("billing")) as nightly:
                await all_handled(nightly)
                while (await bus.info("readings")).length > 3:
                    await trio.sleep(0.01)
                print(await left(bus))
                print(live.statistics().trimmed + nightly.statistics().trimmed, "were removed")


if __name__ == "__main__":
    trio.run(main)
